//! The audio tower: mel levels, convolutions, a conformer, and MuLan's own transformer on top.

mod attention;
mod conformer;
mod convolution;
mod muq;
mod subsampling;

pub use muq::MuQ;

use candle_core::{Device, Tensor};
use nn::{Linear, Weights};

use crate::EmbedError;
use crate::clips::clips;
use crate::config::{MuLanConfig, MuQConfig};
use crate::layers::linear;
use crate::mel::{MelLevels, SAMPLE_RATE_HZ};
use crate::pooled::{PooledTransformer, to_vector};

/// Sound to a vector (`AudioSpectrogramTransformerPretrained` of `models/audio.py`).
#[derive(Debug)]
pub struct AudioEncoder {
    muq: MuQ,
    layer: usize,
    projection: Linear,
    head: PooledTransformer,
    clip_secs: f64,
    clip_samples: usize,
    device: Device,
}

impl AudioEncoder {
    /// Loads the audio half of a model; the text half is left alone.
    ///
    /// # Errors
    /// When a tensor is missing, unused or does not fit, or the two configurations do not fit together.
    pub fn load(
        config: &MuLanConfig,
        muq: &MuQConfig,
        weights: &Weights,
    ) -> Result<Self, EmbedError> {
        let root = weights.root().pp("mulan");
        // The other tower, what both are trained with, and parts of the audio tower that its forward pass never asks for.
        for unused in [
            "text",
            "text_to_latents",
            "contrast",
            "multi_layer_contrastive_learning",
        ] {
            root.leave(unused);
        }
        for unused in [
            "text_layers_indices",
            "audio_layers_indices",
            "audio.aggregator",
        ] {
            root.leave(unused);
        }
        let width = config.audio_width();
        if width != muq.encoder_dim {
            return Err(EmbedError::Config {
                origin: weights.origin().to_owned(),
                reason: format!(
                    "audio_model.model_dim is {width}, but the audio model's encoder_dim is {}; use the config.json of {}",
                    muq.encoder_dim, config.audio_model.name
                ),
            });
        }
        let layer = hidden_state(config.audio_model.use_layer_idx, muq.encoder_depth).ok_or_else(|| {
            EmbedError::Config {
                origin: weights.origin().to_owned(),
                reason: format!(
                    "use_layer_idx is {}, but the audio model has {} layers; use the config.json of {}",
                    config.audio_model.use_layer_idx, muq.encoder_depth, config.audio_model.name
                ),
            }
        })?;
        let audio = root.pp("audio");
        let sizes = &config.audio_transformer;
        let encoder = Self {
            muq: MuQ::load(muq, &audio.pp("model"))?,
            layer,
            projection: Linear::load(&audio.pp("proj"), width, sizes.dim, true)?,
            head: PooledTransformer::load(
                sizes,
                &audio.pp("transformer"),
                &root.pp("audio_to_latents"),
                config.mulan.dim_latent,
            )?,
            clip_secs: config.mulan.clip_secs,
            clip_samples: config.clip_samples(),
            device: weights.device().clone(),
        };
        weights.finish()?;
        Ok(encoder)
    }

    /// Rate of the sound it takes, in hertz.
    pub fn sample_rate_hz(&self) -> u32 {
        SAMPLE_RATE_HZ
    }

    /// Seconds it takes at a time.
    pub fn clip_secs(&self) -> f64 {
        self.clip_secs
    }

    /// Width of its vectors.
    pub fn width(&self) -> usize {
        self.head.width()
    }

    /// The model below the tower.
    pub fn muq(&self) -> &MuQ {
        &self.muq
    }

    /// The vector of a sound of one channel at [`sample_rate_hz`](Self::sample_rate_hz): the mean of its clips' vectors
    /// (`extract_audio_latents`). Each of those has length one, so the mean of several is shorter than that.
    ///
    /// # Errors
    /// When the sound is too short to have a spectrum, or holds samples that are not finite.
    pub fn embed(&self, samples: &[f32]) -> Result<Vec<f32>, EmbedError> {
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(EmbedError::Sample {
                index,
                value: samples[index],
            });
        }
        let clips = clips(samples, self.clip_samples);
        if clips.iter().any(|clip| clip.len() < MelLevels::shortest()) || clips.is_empty() {
            // Sounds of less than half a clip are doubled.
            let needed = self.clip_samples.min(MelLevels::shortest().div_ceil(2));
            return Err(EmbedError::TooShort {
                actual_secs: samples.len() as f64 / f64::from(SAMPLE_RATE_HZ),
                needed_secs: needed as f64 / f64::from(SAMPLE_RATE_HZ),
            });
        }
        let mut sum = vec![0f32; self.width()];
        for clip in &clips {
            let clip = Tensor::from_slice(clip, (1, clip.len()), &self.device)?;
            for (sum, value) in sum.iter_mut().zip(to_vector(&self.forward(&clip)?)?) {
                *sum += value;
            }
        }
        sum.iter_mut()
            .for_each(|value| *value /= clips.len() as f32);
        Ok(sum)
    }

    /// Clips of equal length to vectors of length one.
    ///
    /// # Shapes
    /// `samples`: `[batch, samples]`; result: `[batch, width]`.
    ///
    /// # Errors
    /// When a clip is too short to have a spectrum.
    pub fn forward(&self, samples: &Tensor) -> Result<Tensor, EmbedError> {
        let features = self.muq.features(&self.muq.mel(samples)?)?;
        let hidden = self.muq.hidden_state(features, self.layer)?;
        self.head.vectors(&self.pooled(&hidden)?)
    }

    /// Hidden states of the audio model in the width of the tower's transformer.
    ///
    /// # Shapes
    /// `hidden`: `[batch, frames, model_dim]`; result: `[batch, frames, dim]`.
    ///
    /// # Errors
    /// When the width does not fit.
    pub fn projected(&self, hidden: &Tensor) -> Result<Tensor, EmbedError> {
        linear(&self.projection, hidden)
    }

    /// The mean over time of what the tower's transformer makes of hidden states.
    ///
    /// # Shapes
    /// `hidden`: `[batch, frames, model_dim]`; result: `[batch, dim]`.
    ///
    /// # Errors
    /// When the width does not fit.
    pub fn pooled(&self, hidden: &Tensor) -> Result<Tensor, EmbedError> {
        self.head.pooled(&self.projected(hidden)?)
    }
}

/// Which of the `depth + 1` hidden states an index of Python means.
fn hidden_state(index: isize, depth: usize) -> Option<usize> {
    let states = depth + 1;
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => states.checked_sub(index.unsigned_abs())?,
    };
    (index < states).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::hidden_state;

    #[test]
    fn negative_layers_count_from_the_last() {
        assert_eq!(
            [-1, 0, 12, -13, 13, -14].map(|index| hidden_state(index, 12)),
            [Some(12), Some(0), Some(12), Some(0), None, None]
        );
    }
}
