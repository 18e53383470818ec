//! The configuration of weights that come without one: read off the tensors' shapes.

use nn::Scope;

use super::OobleckConfig;
use crate::VaeError;

/// Releases without a configuration are of Stable Audio's and DiffRhythm's rate.
const SAMPLE_RATE_HZ: u32 = 44_100;
/// A step down by `stride` is a convolution over twice as many samples.
const KERNEL_OVER_STRIDE: usize = 2;

impl OobleckConfig {
    /// The sizes of tensors named as in stable-audio-tools (`encoder.layers.0.weight_v`), with weight norm or without.
    ///
    /// # Errors
    /// [`VaeError::Config`] when the tensors are not those of an Oobleck.
    pub fn of_weights(scope: &Scope) -> Result<Self, VaeError> {
        let origin = scope.weights().origin();
        let wrong = |reason: String| VaeError::Config {
            origin: origin.to_owned(),
            reason,
        };
        let shape = |layer: &str| {
            let names = [format!("{layer}.weight_v"), format!("{layer}.weight")];
            let found = names.iter().find_map(|name| scope.shape(name));
            let shape: Option<[usize; 3]> = found.and_then(|shape| shape.try_into().ok());
            shape.ok_or_else(|| {
                wrong(format!(
                    "this is no Oobleck autoencoder: it has no convolution {layer}"
                ))
            })
        };
        let [encoder_hidden_size, audio_channels, _] = shape("encoder.layers.0")?;
        let mut downsampling_ratios = Vec::new();
        let mut channel_multiples = Vec::new();
        let blocks =
            (1..).take_while(|number| scope.contains(&format!("encoder.layers.{number}.layers.4")));
        for number in blocks {
            let [outputs, _, kernel] = shape(&format!("encoder.layers.{number}.layers.4"))?;
            if encoder_hidden_size == 0
                || outputs % encoder_hidden_size != 0
                || kernel % KERNEL_OVER_STRIDE != 0
            {
                return Err(wrong(format!(
                    "block {number} of the encoder has {outputs} channels and a kernel of {kernel}, which no Oobleck has"
                )));
            }
            downsampling_ratios.push(kernel / KERNEL_OVER_STRIDE);
            channel_multiples.push(outputs / encoder_hidden_size);
        }
        let [_, decoder_input_channels, _] = shape("decoder.layers.0")?;
        let [_, decoder_channels, _] =
            shape(&format!("decoder.layers.{}", downsampling_ratios.len() + 2))?;
        let config = Self {
            encoder_hidden_size,
            downsampling_ratios,
            channel_multiples,
            decoder_channels,
            decoder_input_channels,
            audio_channels,
            sampling_rate: SAMPLE_RATE_HZ,
            class_name: None,
            diffusers_version: None,
            name_or_path: None,
        };
        config.validate(origin)?;
        Ok(config)
    }
}
