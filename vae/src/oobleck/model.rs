//! The whole autoencoder.

use std::path::Path;
use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use nn::{Scope, Weights};

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::layout::Layout;
use super::receptive_field::{decoder_context, encoder_context};
use super::{OobleckConfig, WHOLE_VALUES};
use crate::error::check_shape;
use crate::identity::Source;
use crate::tiling::{
    pasted_tiles, run_exact_down, run_exact_up, run_reference, run_tiles_down, run_tiles_up,
};
use crate::{Autoencoder, Posterior, Tiling, VaeError};

/// Added to the standard deviation, so that its logarithm stays finite.
const SMALLEST_STD: f64 = 1e-4;

/// Oobleck with its weights, see the [module](super).
///
/// Encoder and decoder are each kept in memory from their first use on: generating needs one of them, training the other.
#[derive(Clone)]
pub struct OobleckAutoencoder {
    config: OobleckConfig,
    weights: Scope,
    encoder: OnceLock<Encoder>,
    decoder: OnceLock<Decoder>,
    id: String,
}

impl std::fmt::Debug for OobleckAutoencoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OobleckAutoencoder")
            .field("config", &self.config)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl OobleckAutoencoder {
    /// From a folder that diffusers' `AutoencoderOobleck.save_pretrained` wrote.
    pub fn load_folder(folder: impl AsRef<Path>, device: &Device) -> Result<Self, VaeError> {
        let path = folder.as_ref().join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| VaeError::Read {
            path: path.clone(),
            source,
        })?;
        let config = OobleckConfig::from_json(&text, &path.display().to_string())?;
        let weights = Weights::from_file(
            folder.as_ref().join("diffusion_pytorch_model.safetensors"),
            device,
        )?;
        let model = Self::load(&config, &weights.root())?;
        weights.finish()?;
        tracing::debug!(id = model.id, path = %path.display(), "autoencoder loaded");
        Ok(model)
    }

    /// From tensors named as in diffusers or as in stable-audio-tools, with weight norm or without.
    pub fn load(config: &OobleckConfig, scope: &Scope) -> Result<Self, VaeError> {
        config.validate(scope.path())?;
        let source = Source::new(
            scope.clone(),
            &serde_json::to_string(config).unwrap_or_default(),
        );
        let layout = Layout::detect(&source);
        // Everything is loaded once, one half after the other, so that what is wrong with a file shows now.
        drop(Encoder::load(config, &source.pp("encoder"), layout)?);
        drop(Decoder::load(config, &source.pp("decoder"), layout)?);
        Ok(Self {
            config: config.clone(),
            weights: scope.clone(),
            encoder: OnceLock::new(),
            decoder: OnceLock::new(),
            id: source.identity("oobleck"),
        })
    }

    fn encoder(&self) -> Result<&Encoder, VaeError> {
        kept(&self.encoder, || {
            let source = Source::new(self.weights.clone(), "");
            Encoder::load(&self.config, &source.pp("encoder"), Layout::detect(&source))
        })
    }

    fn decoder(&self) -> Result<&Decoder, VaeError> {
        kept(&self.decoder, || {
            let source = Source::new(self.weights.clone(), "");
            Decoder::load(&self.config, &source.pp("decoder"), Layout::detect(&source))
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &OobleckConfig {
        &self.config
    }

    /// Latent frames that exact tiles see beyond each end: of the encoder and of the decoder.
    pub fn context_frames(&self) -> (usize, usize) {
        (encoder_context(&self.config), decoder_context(&self.config))
    }

    /// Mean and scale before they become a distribution, `[batch, 2 * latent_channels, frames]`.
    pub fn encode_parameters(&self, audio: &Tensor) -> Result<Tensor, VaeError> {
        let frames = self.check_audio(audio)? / self.hop();
        let encoder = self.encoder()?;
        let context = encoder_context(&self.config);
        let core = self.longest_stretch(frames, context);
        each_item(audio, |item| {
            run_exact_down(item, core, context, self.hop(), |tile| {
                encoder.forward(&tile.contiguous()?)
            })
        })
    }

    /// As [`OobleckAutoencoder::encode_parameters`], in tiles.
    pub fn encode_parameters_tiled(
        &self,
        audio: &Tensor,
        tiling: Tiling,
    ) -> Result<Tensor, VaeError> {
        self.check_audio(audio)?;
        match tiling {
            Tiling::Exact { chunk_frames } => {
                let context = encoder_context(&self.config);
                let encoder = self.encoder()?;
                run_exact_down(audio, chunk_frames.max(1), context, self.hop(), |tile| {
                    encoder.forward(tile)
                })
            }
            Tiling::Reference { chunk, overlap } => run_reference(audio, chunk, overlap, |tile| {
                self.encoder()?.forward(&tile.contiguous()?)
            }),
            Tiling::Pasted { chunk, overlap } => {
                let tiles = pasted_tiles(audio.dim(2)? / self.hop(), chunk, overlap)?;
                let encoder = self.encoder()?;
                run_tiles_down(audio, tiles, self.hop(), |tile| encoder.forward(tile))
            }
        }
    }

    /// Latent frames that are computed at a time, of `frames` in all: so many that the levels of two and more blocks from
    /// the latents are computed whole, or all if that is too few beside what tiles must overlap by.
    fn longest_stretch(&self, frames: usize, context: usize) -> usize {
        const WORTH_OVERLAPS: usize = 4;
        let widths = self.config.decoder_widths();
        let strides = self.config.downsampling_ratios.iter().rev();
        let level = strides.len().min(2);
        let values = widths[level] * strides.take(level).product::<usize>();
        let core = (WHOLE_VALUES / values).saturating_sub(2 * context);
        match core >= WORTH_OVERLAPS * context {
            true => core,
            false => frames.max(1),
        }
    }

    fn posterior(&self, parameters: &Tensor) -> Result<Posterior, VaeError> {
        let channels = self.latent_channels();
        let mean = parameters.narrow(1, 0, channels)?.contiguous()?;
        let scale = parameters.narrow(1, channels, channels)?;
        Ok(Posterior {
            mean,
            std: (softplus(&scale)? + SMALLEST_STD)?,
        })
    }

    fn check_audio(&self, audio: &Tensor) -> Result<usize, VaeError> {
        let (_, samples) = check_shape("sound", audio, self.config.audio_channels)?;
        if samples < self.hop() {
            return Err(VaeError::TooShort {
                samples,
                hop: self.hop(),
            });
        }
        Ok(samples)
    }

    fn check_latents(&self, latents: &Tensor) -> Result<usize, VaeError> {
        let (_, frames) = check_shape("latents", latents, self.latent_channels())?;
        if frames == 0 {
            return Err(VaeError::TooShort {
                samples: 0,
                hop: self.hop(),
            });
        }
        Ok(frames)
    }
}

impl Autoencoder for OobleckAutoencoder {
    fn sample_rate_hz(&self) -> u32 {
        self.config.sampling_rate
    }

    fn hop(&self) -> usize {
        self.config.hop()
    }

    fn latent_channels(&self) -> usize {
        self.config.decoder_input_channels
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn encode(&self, audio: &Tensor) -> Result<Posterior, VaeError> {
        self.posterior(&self.encode_parameters(audio)?)
    }

    fn decode(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        let frames = self.check_latents(latents)?;
        let decoder = self.decoder()?;
        let context = decoder_context(&self.config);
        let core = self.longest_stretch(frames, context);
        each_item(latents, |item| {
            run_exact_up(item, core, context, self.hop(), |tile| {
                decoder.forward(&tile.contiguous()?)
            })
        })
    }

    fn encode_tiled(&self, audio: &Tensor, tiling: Tiling) -> Result<Posterior, VaeError> {
        self.posterior(&self.encode_parameters_tiled(audio, tiling)?)
    }

    fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<Tensor, VaeError> {
        self.check_latents(latents)?;
        match tiling {
            Tiling::Exact { chunk_frames } => {
                let context = decoder_context(&self.config);
                let decoder = self.decoder()?;
                run_exact_up(latents, chunk_frames.max(1), context, self.hop(), |tile| {
                    decoder.forward(tile)
                })
            }
            Tiling::Reference { chunk, overlap } => {
                run_reference(latents, chunk, overlap, |tile| {
                    self.decoder()?.forward(&tile.contiguous()?)
                })
            }
            Tiling::Pasted { chunk, overlap } => {
                let tiles = pasted_tiles(latents.dim(2)?, chunk, overlap)?;
                let decoder = self.decoder()?;
                run_tiles_up(latents, tiles, self.hop(), |tile| decoder.forward(tile))
            }
        }
    }
}

/// What is in the lock, or what `load` puts there.
fn kept<T>(lock: &OnceLock<T>, load: impl FnOnce() -> Result<T, VaeError>) -> Result<&T, VaeError> {
    match lock.get() {
        Some(value) => Ok(value),
        None => {
            let value = load()?;
            Ok(lock.get_or_init(|| value))
        }
    }
}

/// Runs the items of a batch one after another: each uses all threads, and a batch needs no more memory than an item.
fn each_item(
    batch: &Tensor,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let items = batch.dim(0)?;
    if items == 1 {
        return run(batch);
    }
    let results: Vec<Tensor> = (0..items)
        .map(|item| run(&batch.narrow(0, item, 1)?))
        .collect::<Result<_, _>>()?;
    Ok(Tensor::cat(&results, 0)?)
}

/// `ln(1 + e^x)` without overflow: `max(x, 0) + ln(1 + e^-|x|)`.
fn softplus(x: &Tensor) -> Result<Tensor, VaeError> {
    let tail = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok((x.relu()? + tail)?)
}
