//! The configuration that the recipe exports beside its weights.

use serde::{Deserialize, Serialize};
use spectrum::WarpedAxis;

use crate::VaeError;

/// Where magnitudes begin to count less.
const WEIGHT_CORNER_HZ: f64 = 3000.0;
/// Weight of the stereo parameters.
const STEREO_WEIGHT: f32 = 2.0;

/// Larger sizes overflow products of sizes, and no model comes near.
const LARGEST: usize = 1 << 20;

/// Sizes of the spectral autoencoder, as base files have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectralConfig {
    /// Sample rate in hertz.
    pub sample_rate_hz: u32,
    /// Samples of a short-time window.
    pub fft_size: usize,
    /// Samples from one short-time frame to the next.
    pub hop: usize,
    /// Short-time frames of a latent frame.
    pub frames_per_latent: usize,
    /// Bins kept one by one, from zero up.
    pub linear_bins: usize,
    /// Bands above them, at equal ratios.
    pub logarithmic_bins: usize,
    /// Added to magnitudes before the logarithm; a full-scale sine has magnitude one.
    pub magnitude_floor: f32,
    /// Bands of the stereo parameters.
    pub stereo_bands: usize,
    /// A band with less power than this in both channels is centred and coherent.
    pub stereo_energy_floor: f32,
    /// Whether a band of the warped axis holds the root of its mean power. Otherwise it holds its mean magnitude, as the first base has it:
    /// single partials among wide bands then lose the more of their level the wider the band is.
    #[serde(default)]
    pub averages_power: bool,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels inside the encoder.
    pub encoder_width: usize,
    /// ConvNeXt blocks of the encoder.
    pub encoder_blocks: usize,
    /// Channels inside the decoder.
    pub decoder_width: usize,
    /// ConvNeXt blocks of the decoder.
    pub decoder_blocks: usize,
    /// Hidden width of a block's network, in multiples of its width.
    pub hidden_ratio: usize,
}

impl SpectralConfig {
    /// From JSON; `origin` names it in errors.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, VaeError> {
        let config: Self = serde_json::from_str(text).map_err(|error| VaeError::Config {
            origin: origin.to_owned(),
            reason: error.to_string(),
        })?;
        config.validate(origin)?;
        Ok(config)
    }

    /// Refuses what describes no autoencoder.
    pub fn validate(&self, origin: &str) -> Result<(), VaeError> {
        let wrong = |reason: &str| {
            Err(VaeError::Config {
                origin: origin.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let sizes = [
            self.fft_size,
            self.hop,
            self.frames_per_latent,
            self.stereo_bands,
            self.latent_channels,
            self.encoder_width,
            self.decoder_width,
            self.hidden_ratio,
        ];
        if sizes.contains(&0) || self.sample_rate_hz == 0 {
            return wrong("a size or rate is 0");
        }
        let counts = [
            self.linear_bins,
            self.logarithmic_bins,
            self.encoder_blocks,
            self.decoder_blocks,
        ];
        if sizes.into_iter().chain(counts).any(|size| size > LARGEST) {
            return wrong(&format!("a size is above {LARGEST}"));
        }
        if self.stereo_bands > self.spectrum_bins() {
            return wrong("stereo_bands is more than the bins of a spectrum, fft_size / 2 + 1");
        }
        if self.magnitude_floor <= 0.0 || !self.magnitude_floor.is_finite() {
            return wrong("magnitude_floor is not a positive number");
        }
        Ok(())
    }

    /// Samples of a latent frame.
    pub fn latent_hop(&self) -> usize {
        self.hop * self.frames_per_latent
    }

    /// Bins of a short-time spectrum.
    pub fn spectrum_bins(&self) -> usize {
        self.fft_size / 2 + 1
    }

    /// Bins of the warped axis.
    pub fn warped_bins(&self) -> usize {
        self.linear_bins + self.logarithmic_bins
    }

    /// Log magnitudes in a feature vector; the stereo parameters follow.
    pub fn magnitude_features(&self) -> usize {
        self.frames_per_latent * self.warped_bins()
    }

    /// Length of a feature vector.
    pub fn features(&self) -> usize {
        self.magnitude_features() + 2 * self.stereo_bands
    }

    /// How much each feature counts, `[features]`: log magnitudes by `1 / (1 + f / 3 kHz)`, because three quarters of the
    /// bins lie above the range where pitch is heard; stereo parameters more, because they lie in -1 to 1 while log magnitudes spread over
    /// several nepers.
    ///
    /// # Errors
    /// When the sizes make no axis.
    pub fn feature_weights(&self) -> Result<Vec<f32>, VaeError> {
        let axis = WarpedAxis::new(
            self.spectrum_bins(),
            self.linear_bins,
            self.logarithmic_bins,
        )?;
        let bin_hz = f64::from(self.sample_rate_hz) / self.fft_size as f64;
        let weight = |centre: &f64| (1.0 / (1.0 + centre * bin_hz / WEIGHT_CORNER_HZ)) as f32;
        let of_frame: Vec<f32> = axis.centres().iter().map(weight).collect();
        let mut weights = of_frame.repeat(self.frames_per_latent);
        weights.resize(self.features(), STEREO_WEIGHT);
        Ok(weights)
    }
}
