//! The sizes of a base's two networks.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vae::SpectralConfig;

use crate::base::check_pulses;
use crate::error::LoraError;

/// Sizes of both networks, as a JSON file that a user may write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseSizes {
    /// The spectral autoencoder.
    pub autoencoder: SpectralConfig,
    /// The transformer; its latent channels are the autoencoder's.
    pub transformer: dit::diffrhythm::Config,
    /// Positions within a beat that its tokens tell apart.
    pub pulses_per_beat: usize,
}

impl Default for BaseSizes {
    /// 11.4 million numbers, which fit into a program.
    fn default() -> Self {
        Self {
            autoencoder: SpectralConfig {
                sample_rate_hz: 44_100,
                fft_size: 2048,
                hop: 512,
                frames_per_latent: 4,
                // Bin by bin up to 4.0 kHz, where pitch lives.
                linear_bins: 186,
                logarithmic_bins: 166,
                // 90 dB under a full-scale sine: a higher floor hides quiet highs, a lower one spends the latent on inaudible noise.
                magnitude_floor: 3e-5,
                stereo_bands: 24,
                stereo_energy_floor: 1e-9,
                averages_power: true,
                latent_channels: 128,
                encoder_width: 192,
                encoder_blocks: 2,
                decoder_width: 288,
                decoder_blocks: 4,
                hidden_ratio: 3,
            },
            transformer: dit::diffrhythm::Config {
                dim: 256,
                depth: 8,
                heads: None,
                ff_mult: 3,
                text_dim: 128,
                conv_layers: 2,
                mel_dim: 128,
                // 24 pulses in each of up to six beats.
                text_num_embeds: 144,
                max_frames: 2048,
                cond_dim: 128,
                attention_heads: 4,
                causal: false,
            },
            pulses_per_beat: 24,
        }
    }
}

impl BaseSizes {
    /// From a JSON file.
    ///
    /// # Errors
    /// When it cannot be read, has unknown or missing keys, or its sizes do not go together.
    pub fn from_file(path: &Path) -> Result<Self, LoraError> {
        let text = std::fs::read_to_string(path).map_err(LoraError::file(path))?;
        let bad = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            problem: format!("{problem}; `lora-train base print-sizes` shows sizes that work"),
        };
        let sizes: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        sizes.check().map_err(bad)?;
        Ok(sizes)
    }

    /// Whether the sizes go together.
    pub(super) fn check(&self) -> Result<(), String> {
        let autoencoder = self.autoencoder.validate("autoencoder");
        autoencoder.map_err(|error| error.to_string())?;
        let transformer = self.transformer.validate();
        transformer.map_err(|error| error.to_string())?;
        if self.transformer.mel_dim != self.autoencoder.latent_channels {
            return Err(format!(
                "the transformer's mel_dim is {}, the autoencoder's latent_channels {}",
                self.transformer.mel_dim, self.autoencoder.latent_channels
            ));
        }
        check_pulses(self.pulses_per_beat, &self.transformer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sizes_go_together_and_survive_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sizes.json");
        let sizes = BaseSizes::default();
        std::fs::write(&path, serde_json::to_string(&sizes).unwrap()).unwrap();
        assert_eq!(BaseSizes::from_file(&path).unwrap(), sizes);
        for pulses in [0, 32] {
            let mut other = sizes.clone();
            other.pulses_per_beat = pulses;
            assert!(other.check().unwrap_err().contains("pulses"));
        }
        let mut other = sizes;
        other.transformer.mel_dim = 64;
        std::fs::write(&path, serde_json::to_string(&other).unwrap()).unwrap();
        let error = BaseSizes::from_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("sizes.json") && error.contains("mel_dim is 64"),
            "{error}"
        );
    }
}
