//! The whole autoencoder.

use std::path::Path;

use candle_core::{D, Device, Tensor};
use nn::{Scope, Weights};

use super::OobleckConfig;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::layout::Layout;
use super::receptive_field::{decoder_context, encoder_context};
use crate::error::check_shape;
use crate::identity::Source;
use crate::tiling::{run_reference, tiles};
use crate::{Autoencoder, Posterior, Tiling, VaeError};

/// Added to the standard deviation, so that its logarithm stays finite.
const SMALLEST_STD: f64 = 1e-4;

/// Oobleck with its weights, see the [module](super).
#[derive(Debug, Clone)]
pub struct OobleckAutoencoder {
    config: OobleckConfig,
    encoder: Encoder,
    decoder: Decoder,
    id: String,
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
        let encoder = Encoder::load(config, &source.pp("encoder"), layout)?;
        let decoder = Decoder::load(config, &source.pp("decoder"), layout)?;
        Ok(Self {
            config: config.clone(),
            encoder,
            decoder,
            id: source.identity("oobleck"),
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
        self.check_audio(audio)?;
        self.encoder.forward(&audio.contiguous()?)
    }

    /// As [`OobleckAutoencoder::encode_parameters`], in tiles.
    pub fn encode_parameters_tiled(
        &self,
        audio: &Tensor,
        tiling: Tiling,
    ) -> Result<Tensor, VaeError> {
        let samples = self.check_audio(audio)?;
        match tiling {
            Tiling::Exact { chunk_frames } => self.encode_exact(audio, samples, chunk_frames),
            Tiling::Reference { chunk, overlap } => run_reference(audio, chunk, overlap, |tile| {
                self.encoder.forward(&tile.contiguous()?)
            }),
        }
    }

    fn encode_exact(
        &self,
        audio: &Tensor,
        samples: usize,
        chunk_frames: usize,
    ) -> Result<Tensor, VaeError> {
        let hop = self.hop();
        let frames = samples / hop;
        let mut parts = Vec::new();
        for tile in tiles(frames, chunk_frames, encoder_context(&self.config)) {
            // Samples past the last whole frame belong to the tiles that reach it.
            let end = if tile.window.end == frames {
                samples
            } else {
                tile.window.end * hop
            };
            let window = audio.narrow(
                D::Minus1,
                tile.window.start * hop,
                end - tile.window.start * hop,
            )?;
            let output = self.encoder.forward(&window.contiguous()?)?;
            let skip = tile.core.start - tile.window.start;
            let rest = output.dim(D::Minus1)? - skip;
            let length = if tile.core.end == frames {
                rest
            } else {
                tile.core.len()
            };
            parts.push(output.narrow(D::Minus1, skip, length)?);
        }
        Ok(Tensor::cat(&parts, D::Minus1)?)
    }

    fn decode_exact(
        &self,
        latents: &Tensor,
        frames: usize,
        chunk_frames: usize,
    ) -> Result<Tensor, VaeError> {
        let hop = self.hop();
        let mut parts = Vec::new();
        for tile in tiles(frames, chunk_frames, decoder_context(&self.config)) {
            let window = latents.narrow(D::Minus1, tile.window.start, tile.window.len())?;
            let output = self.decoder.forward(&window.contiguous()?)?;
            let skip = (tile.core.start - tile.window.start) * hop;
            let rest = output.dim(D::Minus1)? - skip;
            let length = if tile.core.end == frames {
                rest
            } else {
                tile.core.len() * hop
            };
            parts.push(output.narrow(D::Minus1, skip, length)?);
        }
        Ok(Tensor::cat(&parts, D::Minus1)?)
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
        self.check_latents(latents)?;
        self.decoder.forward(&latents.contiguous()?)
    }

    fn encode_tiled(&self, audio: &Tensor, tiling: Tiling) -> Result<Posterior, VaeError> {
        self.posterior(&self.encode_parameters_tiled(audio, tiling)?)
    }

    fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<Tensor, VaeError> {
        let frames = self.check_latents(latents)?;
        match tiling {
            Tiling::Exact { chunk_frames } => self.decode_exact(latents, frames, chunk_frames),
            Tiling::Reference { chunk, overlap } => {
                run_reference(latents, chunk, overlap, |tile| {
                    self.decoder.forward(&tile.contiguous()?)
                })
            }
        }
    }
}

/// `ln(1 + e^x)` without overflow: `max(x, 0) + ln(1 + e^-|x|)`.
fn softplus(x: &Tensor) -> Result<Tensor, VaeError> {
    let tail = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok((x.relu()? + tail)?)
}
