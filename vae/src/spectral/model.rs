//! The whole autoencoder.

use candle_core::{D, Device, Tensor};
use nn::Scope;

use super::network::{Half, HalfSize};
use super::{SpectralConfig, SpectralFeatures, Synthesis};
use crate::error::check_shape;
use crate::identity::Source;
use crate::tiling::{Tile, pasted_tiles, tiles};
use crate::{Autoencoder, Posterior, Tiling, VaeError};

/// The spectral autoencoder with its weights, see the [module](super).
#[derive(Debug, Clone)]
pub struct SpectralAutoencoder {
    config: SpectralConfig,
    features: SpectralFeatures,
    synthesis: Synthesis,
    encoder: Half,
    decoder: Half,
    feature_mean: Tensor,
    feature_weight: Tensor,
    latent_mean: Tensor,
    latent_scale: Tensor,
    device: Device,
    id: String,
}

impl SpectralAutoencoder {
    /// From tensors named as the recipe names them, below `scope`.
    pub fn load(config: &SpectralConfig, scope: &Scope) -> Result<Self, VaeError> {
        config.validate(&format!("{}, {}", scope.weights().origin(), scope.path()))?;
        let source = Source::new(
            scope.clone(),
            &serde_json::to_string(config).unwrap_or_default(),
        );
        let (features, channels) = (config.features(), config.latent_channels);
        let hidden_ratio = config.hidden_ratio;
        let (width, blocks) = (config.encoder_width, config.encoder_blocks);
        let encoder = HalfSize {
            inputs: features,
            outputs: channels,
            width,
            blocks,
            hidden_ratio,
        };
        let (width, blocks) = (config.decoder_width, config.decoder_blocks);
        let decoder = HalfSize {
            inputs: channels,
            outputs: features,
            width,
            blocks,
            hidden_ratio,
        };
        let feature_mean = source.get("feature_mean", &[features])?;
        Ok(Self {
            features: SpectralFeatures::new(config)?,
            synthesis: Synthesis::new(config)?,
            encoder: Half::load(&source.pp("encoder"), encoder)?,
            decoder: Half::load(&source.pp("decoder"), decoder)?,
            feature_weight: source.get("feature_weight", &[features])?,
            latent_mean: source.get("latent_mean", &[channels])?,
            latent_scale: source.get("latent_scale", &[channels])?,
            device: feature_mean.device().clone(),
            feature_mean,
            config: config.clone(),
            id: source.identity("spectral"),
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &SpectralConfig {
        &self.config
    }

    /// Feature vectors `[batch, latent_frames, features]` to latents `[batch, latent_channels, latent_frames]`.
    pub fn encode_features(&self, features: &Tensor) -> Result<Tensor, VaeError> {
        let raw = self.encode_weighted(&self.weigh(features)?)?;
        let latents = raw
            .broadcast_sub(&self.latent_mean)?
            .broadcast_div(&self.latent_scale)?;
        Ok(latents.transpose(1, 2)?.contiguous()?)
    }

    /// Latents `[batch, latent_channels, latent_frames]` to feature vectors `[batch, latent_frames, features]`.
    pub fn decode_features(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        let latents = latents.transpose(1, 2)?.contiguous()?;
        let raw = latents
            .broadcast_mul(&self.latent_scale)?
            .broadcast_add(&self.latent_mean)?;
        self.unweigh(&self.decode_weighted(&raw)?)
    }

    /// What the encoder sees of features `[batch, latent_frames, features]`: centred, and emphasised by how much the ear needs them.
    pub fn weigh(&self, features: &Tensor) -> Result<Tensor, VaeError> {
        Ok(features
            .broadcast_sub(&self.feature_mean)?
            .broadcast_mul(&self.feature_weight)?)
    }

    /// The inverse of [`weigh`](Self::weigh).
    pub fn unweigh(&self, weighted: &Tensor) -> Result<Tensor, VaeError> {
        Ok(weighted
            .broadcast_div(&self.feature_weight)?
            .broadcast_add(&self.feature_mean)?)
    }

    /// The encoder alone: weighted features `[batch, latent_frames, features]` to what latents are before they are
    /// brought to a common scale, `[batch, latent_frames, latent_channels]`. Trainable where the tensors are variables.
    pub fn encode_weighted(&self, weighted: &Tensor) -> Result<Tensor, VaeError> {
        self.encoder.forward(weighted)
    }

    /// The decoder alone, the other way round.
    pub fn decode_weighted(&self, raw: &Tensor) -> Result<Tensor, VaeError> {
        self.decoder.forward(raw)
    }

    /// Features of a whole stereo sound, `[latent_frames, features]` row by row; its end is cut to whole latent frames.
    pub fn features_of(&self, left: &[f32], right: &[f32]) -> Result<Vec<f32>, VaeError> {
        let frames = left.len().min(right.len()) / self.features.latent_hop();
        self.features.extract(left, right, 0..frames)
    }

    /// Latents of some frames, from a window of frames around them.
    fn encode_tile(&self, channels: &[Vec<f32>], tile: &Tile) -> Result<Tensor, VaeError> {
        let mut vectors = Vec::new();
        for pair in channels.chunks_exact(2) {
            vectors.extend(
                self.features
                    .extract(&pair[0], &pair[1], tile.window.clone())?,
            );
        }
        let shape = (
            channels.len() / 2,
            tile.window.len(),
            self.config.features(),
        );
        let latents = self.encode_features(&Tensor::from_vec(vectors, shape, &self.device)?)?;
        Ok(latents.narrow(
            D::Minus1,
            tile.core.start - tile.window.start,
            tile.core.len(),
        )?)
    }

    fn encode_tiles(
        &self,
        audio: &Tensor,
        whole: impl IntoIterator<Item = Tile>,
    ) -> Result<Posterior, VaeError> {
        let (_, samples) = check_shape("sound", audio, 2)?;
        let hop = self.hop();
        if samples < hop {
            return Err(VaeError::TooShort { samples, hop });
        }
        let channels = audio.flatten(0, 1)?.to_vec2()?;
        let parts = whole
            .into_iter()
            .map(|tile| self.encode_tile(&channels, &tile));
        let mean = Tensor::cat(&parts.collect::<Result<Vec<_>, _>>()?, D::Minus1)?;
        Ok(Posterior {
            std: mean.zeros_like()?,
            mean,
        })
    }

    fn decode_tiles(
        &self,
        latents: &Tensor,
        whole: impl IntoIterator<Item = Tile>,
    ) -> Result<Tensor, VaeError> {
        let (batch, frames) = check_shape("latents", latents, self.latent_channels())?;
        if frames == 0 {
            return Err(VaeError::TooShort {
                samples: 0,
                hop: self.hop(),
            });
        }
        let mut parts = Vec::new();
        for Tile { window, core } in whole {
            let features =
                self.decode_features(&latents.narrow(D::Minus1, window.start, window.len())?)?;
            parts.push(features.narrow(1, core.start - window.start, core.len())?);
        }
        // Phases run through the whole sound, so only the network works tile by tile.
        let features = Tensor::cat(&parts, 1)?;
        let mut sound = Vec::with_capacity(batch * 2 * frames * self.hop());
        for item in 0..batch {
            let vectors = features.get(item)?.flatten_all()?.to_vec1::<f32>()?;
            let [left, right] = self.synthesis.render(&vectors)?;
            sound.extend(left);
            sound.extend(right);
        }
        Ok(Tensor::from_vec(
            sound,
            (batch, 2, frames * self.hop()),
            &self.device,
        )?)
    }
}

impl Autoencoder for SpectralAutoencoder {
    fn sample_rate_hz(&self) -> u32 {
        self.config.sample_rate_hz
    }

    fn hop(&self) -> usize {
        self.config.latent_hop()
    }

    fn latent_channels(&self) -> usize {
        self.config.latent_channels
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn encode(&self, audio: &Tensor) -> Result<Posterior, VaeError> {
        let frames = audio.dim(D::Minus1)? / self.hop();
        self.encode_tiles(audio, tiles(frames, usize::MAX, 0))
    }

    fn decode(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        self.decode_tiles(latents, tiles(latents.dim(D::Minus1)?, usize::MAX, 0))
    }

    fn encode_tiled(&self, audio: &Tensor, tiling: Tiling) -> Result<Posterior, VaeError> {
        let samples = audio.dim(D::Minus1)?;
        let whole = tiles_of(tiling, samples, self.hop(), self.encoder.context_frames())?;
        self.encode_tiles(audio, whole)
    }

    fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<Tensor, VaeError> {
        let frames = latents.dim(D::Minus1)?;
        let whole = tiles_of(tiling, frames, 1, self.decoder.context_frames())?;
        self.decode_tiles(latents, whole)
    }
}

/// The tiles of an input of length `total`, `unit` of its own units to a latent frame.
fn tiles_of(
    tiling: Tiling,
    total: usize,
    unit: usize,
    exact_context: usize,
) -> Result<Vec<Tile>, VaeError> {
    let frames = total / unit;
    let (core, context) = match tiling {
        Tiling::Pasted { chunk, overlap } => return pasted_tiles(frames, chunk, overlap),
        Tiling::Exact { chunk_frames } => (chunk_frames, exact_context),
        // One tile is the whole, whatever its overlap would be.
        Tiling::Reference { chunk, .. } if total <= chunk => (usize::MAX, 0),
        Tiling::Reference { chunk, overlap } => {
            let core = (chunk / unit)
                .checked_sub(2 * (overlap / unit))
                .filter(|&core| core > 0);
            let core = core.ok_or(VaeError::Tiling { chunk, overlap })?;
            (core, overlap / unit)
        }
    };
    Ok(tiles(frames, core, context).collect())
}
