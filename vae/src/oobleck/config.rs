//! The configuration, as diffusers stores it.

use serde::{Deserialize, Serialize};

use crate::VaeError;

/// `config.json` of diffusers' `AutoencoderOobleck`; the defaults are those of Stable Audio Open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OobleckConfig {
    /// Channels of the encoder's first convolution.
    #[serde(default = "default_width")]
    pub encoder_hidden_size: usize,
    /// Stride of each encoder block; the decoder uses them in reverse.
    #[serde(default = "default_ratios")]
    pub downsampling_ratios: Vec<usize>,
    /// Width of each block, in multiples of the first.
    #[serde(default = "default_multiples")]
    pub channel_multiples: Vec<usize>,
    /// Channels of the decoder's last block.
    #[serde(default = "default_width")]
    pub decoder_channels: usize,
    /// Channels of the latents.
    #[serde(default = "default_latents")]
    pub decoder_input_channels: usize,
    /// Channels of the sound.
    #[serde(default = "default_audio_channels")]
    pub audio_channels: usize,
    /// Sample rate in hertz.
    #[serde(default = "default_rate")]
    pub sampling_rate: u32,
    /// The class that wrote the file.
    #[serde(rename = "_class_name", default, skip_serializing)]
    pub class_name: Option<String>,
    /// The version that wrote the file.
    #[serde(rename = "_diffusers_version", default, skip_serializing)]
    pub diffusers_version: Option<String>,
    /// Where the writer had loaded it from.
    #[serde(rename = "_name_or_path", default, skip_serializing)]
    pub name_or_path: Option<String>,
}

fn default_width() -> usize {
    128
}

fn default_ratios() -> Vec<usize> {
    vec![2, 4, 4, 8, 8]
}

fn default_multiples() -> Vec<usize> {
    vec![1, 2, 4, 8, 16]
}

fn default_latents() -> usize {
    64
}

fn default_audio_channels() -> usize {
    2
}

fn default_rate() -> u32 {
    44_100
}

impl Default for OobleckConfig {
    fn default() -> Self {
        Self {
            encoder_hidden_size: default_width(),
            downsampling_ratios: default_ratios(),
            channel_multiples: default_multiples(),
            decoder_channels: default_width(),
            decoder_input_channels: default_latents(),
            audio_channels: default_audio_channels(),
            sampling_rate: default_rate(),
            class_name: None,
            diffusers_version: None,
            name_or_path: None,
        }
    }
}

impl OobleckConfig {
    /// From JSON; `origin` names it in errors.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, VaeError> {
        let config: Self = serde_json::from_str(text).map_err(|error| VaeError::Config {
            origin: origin.to_owned(),
            reason: error.to_string(),
        })?;
        config.validate(origin)?;
        Ok(config)
    }

    /// Samples of a latent frame.
    pub fn hop(&self) -> usize {
        self.downsampling_ratios.iter().product()
    }

    /// Refuses what describes no autoencoder.
    pub fn validate(&self, origin: &str) -> Result<(), VaeError> {
        let wrong = |reason: String| {
            Err(VaeError::Config {
                origin: origin.to_owned(),
                reason,
            })
        };
        if let Some(name) = self
            .class_name
            .as_deref()
            .filter(|&name| name != "AutoencoderOobleck")
        {
            return wrong(format!(
                "_class_name is {name}, expected AutoencoderOobleck"
            ));
        }
        let (ratios, multiples) = (&self.downsampling_ratios, &self.channel_multiples);
        if ratios.is_empty() || ratios.len() != multiples.len() {
            return wrong(format!(
                "downsampling_ratios has {} entries and channel_multiples {}, expected equal numbers above 0",
                ratios.len(),
                multiples.len()
            ));
        }
        let sizes = [
            self.encoder_hidden_size,
            self.decoder_channels,
            self.decoder_input_channels,
            self.audio_channels,
        ];
        if sizes
            .iter()
            .chain(ratios)
            .chain(multiples)
            .any(|&size| size == 0)
            || self.sampling_rate == 0
        {
            return wrong("a size, ratio or rate is 0".to_owned());
        }
        Ok(())
    }

    /// Channels between encoder blocks: before the first, after the first, ...
    pub(crate) fn encoder_widths(&self) -> Vec<usize> {
        widths(self.encoder_hidden_size, &self.channel_multiples)
    }

    /// Channels between decoder blocks, from the latents' end.
    pub(crate) fn decoder_widths(&self) -> Vec<usize> {
        let mut widths = widths(self.decoder_channels, &self.channel_multiples);
        widths.reverse();
        widths
    }
}

fn widths(base: usize, multiples: &[usize]) -> Vec<usize> {
    std::iter::once(&1)
        .chain(multiples)
        .map(|multiple| base * multiple)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_stable_audio_open() {
        let config = OobleckConfig::from_json("{}", "test").unwrap();
        assert_eq!(config, OobleckConfig::default());
        assert_eq!(config.hop(), 2048);
        assert_eq!(config.decoder_widths(), [2048, 1024, 512, 256, 128, 128]);
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| {
            OobleckConfig::from_json(text, "config.json")
                .unwrap_err()
                .to_string()
        };
        assert!(error(r#"{"colour": 3}"#).contains("colour"));
        assert!(error(r#"{"_class_name": "AutoencoderKL"}"#).contains("AutoencoderKL"));
        assert!(
            error(r#"{"downsampling_ratios": [2]}"#).contains("1 entries and channel_multiples 5")
        );
        assert!(error(r#"{"audio_channels": 0}"#).starts_with("config.json: "));
    }
}
