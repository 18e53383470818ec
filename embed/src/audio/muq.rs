//! MuQ, the model that listens.

use candle_core::Tensor;
use nn::Scope;
use nn::ops::RotaryTable;

use super::conformer::ConformerLayer;
use super::subsampling::Subsampling;
use crate::EmbedError;
use crate::config::MuQConfig;
use crate::layers::LayerNorm;
use crate::mel::MelLevels;

/// Mel levels to features of music, 25 or 50 a second (`MuQModel` of `muq_model.py`).
#[derive(Debug)]
pub struct MuQ {
    mel: MelLevels,
    subsampling: Subsampling,
    layers: Vec<ConformerLayer>,
    norm: LayerNorm,
    head_dim: usize,
    rotary_base: f64,
}

impl MuQ {
    /// Loads from the scope of the reference's `MuQ`.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn load(config: &MuQConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let model = scope.pp("model");
        // Targets of its training, and a token and position embedding that its forward pass never asks for.
        for unused in [
            "rvq",
            "quantizer_melspec_2048",
            "linear",
            "recon_proj",
            "cls_token",
        ] {
            model.leave(unused);
        }
        let conformer = model.pp("conformer");
        conformer.leave("pos_conv_embed");
        // The rotary frequencies, which follow from the configuration.
        conformer.leave("embed_positions.inv_freq");
        let layers = conformer.pp("layers");
        let layer = |index: usize| ConformerLayer::load(config, &layers.pp(index.to_string()));
        Ok(Self {
            mel: MelLevels::new(&config.stat)?,
            subsampling: Subsampling::load(config, &model.pp("conv"))?,
            layers: (0..config.encoder_depth)
                .map(layer)
                .collect::<Result<_, _>>()?,
            norm: LayerNorm::load(
                &conformer.pp("layer_norm"),
                config.encoder_dim,
                config.conformer.layer_norm_eps,
            )?,
            head_dim: config.encoder_dim / config.conformer.num_attention_heads,
            rotary_base: config.conformer.rotary_embedding_base,
        })
    }

    /// Mel levels in decibels, before they are normalised.
    ///
    /// # Shapes
    /// `samples`: `[batch, samples]` at 24 kHz; result: `[batch, bands, samples / 240]`.
    ///
    /// # Errors
    /// When there are no samples.
    pub fn mel_decibels(&self, samples: &Tensor) -> Result<Tensor, EmbedError> {
        self.mel.decibels(samples)
    }

    /// Normalised mel levels.
    ///
    /// # Shapes
    /// As [`mel_decibels`](Self::mel_decibels).
    ///
    /// # Errors
    /// When there are no samples.
    pub fn mel(&self, samples: &Tensor) -> Result<Tensor, EmbedError> {
        self.mel.normalised(samples)
    }

    /// What enters the conformer.
    ///
    /// # Shapes
    /// `mel`: `[batch, bands, mel_frames]`; result: `[batch, frames, encoder_dim]`.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn features(&self, mel: &Tensor) -> Result<Tensor, EmbedError> {
        self.subsampling.forward(mel)
    }

    /// Hidden state number `layer`, from what entered the conformer: 0 is just that, the one after the last layer has
    /// gone through the final norm too.
    ///
    /// # Shapes
    /// `features`: `[batch, frames, encoder_dim]`; result: the same.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn hidden_state(&self, features: Tensor, layer: usize) -> Result<Tensor, EmbedError> {
        let rotary = RotaryTable::new(features.dim(1)?, self.head_dim, self.rotary_base)?;
        let mut hidden = features;
        for layer in self.layers.iter().take(layer) {
            hidden = layer.forward(&hidden, &rotary)?;
        }
        if layer < self.layers.len() {
            return Ok(hidden);
        }
        self.norm.forward(&hidden)
    }
}
