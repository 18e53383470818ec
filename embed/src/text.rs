//! The text tower: a tokenizer, XLM-RoBERTa, and MuLan's own transformer on top.

mod roberta;
mod table;
mod tokenizer;

pub use tokenizer::Tokenizer;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use nn::{Linear, Weights};

use crate::EmbedError;
use crate::config::{MuLanConfig, XlmRobertaConfig};
use crate::layers::linear;
use crate::pooled::{PooledTransformer, to_vector};
use roberta::XlmRoberta;

/// Words to a vector (`TextTransformerPretrained` of `models/text.py`).
#[derive(Debug)]
pub struct TextEncoder {
    tokenizer: Option<Tokenizer>,
    roberta: XlmRoberta,
    projection: Option<Linear>,
    head: PooledTransformer,
    max_tokens: usize,
    device: Device,
}

impl TextEncoder {
    /// Loads the text half of a model; the audio half is left alone. Without a tokenizer it takes token numbers only.
    ///
    /// # Errors
    /// When a tensor is missing, unused or does not fit, the two configurations do not fit together, or the tokenizer
    /// has tokens that the model has not.
    pub fn load(
        config: &MuLanConfig,
        roberta: &XlmRobertaConfig,
        weights: &Weights,
        tokenizer: Option<&Path>,
    ) -> Result<Self, EmbedError> {
        let root = weights.root().pp("mulan");
        // The other tower, and what both are trained with.
        for unused in [
            "audio",
            "audio_to_latents",
            "contrast",
            "multi_layer_contrastive_learning",
        ] {
            root.leave(unused);
        }
        for unused in ["text_layers_indices", "audio_layers_indices"] {
            root.leave(unused);
        }
        let sizes = &config.text_transformer;
        let width = config.text_model.model_dim.unwrap_or(sizes.dim);
        if width != roberta.hidden_size {
            return Err(EmbedError::Config {
                origin: weights.origin().to_owned(),
                reason: format!(
                    "the text tower expects a text model {width} wide, but its hidden_size is {}; use the config.json of {}",
                    roberta.hidden_size, config.text_model.name
                ),
            });
        }
        let tokenizer = tokenizer
            .map(|path| Tokenizer::load(path, roberta.vocab_size))
            .transpose()?;
        let text = root.pp("text");
        let projection = match config.has_text_projection() {
            true => Some(Linear::load(&text.pp("proj"), width, sizes.dim, true)?),
            false => None,
        };
        let encoder = Self {
            tokenizer,
            roberta: XlmRoberta::load(roberta, &text.pp("model"))?,
            projection,
            head: PooledTransformer::load(
                sizes,
                &text.pp("transformer"),
                &root.pp("text_to_latents"),
                config.mulan.dim_latent,
            )?,
            max_tokens: roberta.max_tokens(),
            device: weights.device().clone(),
        };
        weights.finish()?;
        Ok(encoder)
    }

    /// Width of its vectors.
    pub fn width(&self) -> usize {
        self.head.width()
    }

    /// The vector of a text, of length one.
    ///
    /// One text at a time: the reference averages over the padding of a batch too, so that a text's vector would depend
    /// on its neighbours.
    ///
    /// # Errors
    /// When there is no tokenizer or the text is longer than the model takes.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(EmbedError::NoTokenizer)?;
        self.embed_tokens(&tokenizer.tokens(text)?)
    }

    /// The vector of a text that is tokens already, with its marks of start and end.
    ///
    /// # Errors
    /// When there are none or more than the model takes.
    pub fn embed_tokens(&self, tokens: &[u32]) -> Result<Vec<f32>, EmbedError> {
        if tokens.is_empty() || tokens.len() > self.max_tokens {
            return Err(EmbedError::TextTooLong {
                actual: tokens.len(),
                limit: self.max_tokens,
            });
        }
        let tokens = Tensor::from_slice(tokens, (1, tokens.len()), &self.device)?;
        let mask = tokens.ones_like()?.to_dtype(DType::U8)?;
        to_vector(&self.forward(&tokens, &mask)?)
    }

    /// Texts of equal length, filled up with padding, to vectors of length one.
    ///
    /// # Shapes
    /// `tokens`: `[batch, length]`, u32; `mask`: the same, u8, 0 where a token is padding; result: `[batch, width]`.
    ///
    /// # Errors
    /// When a token or the length is beyond the model's tables.
    pub fn forward(&self, tokens: &Tensor, mask: &Tensor) -> Result<Tensor, EmbedError> {
        self.head
            .vectors(&self.pooled(&self.hidden_state(tokens, mask)?)?)
    }

    /// The last hidden state of XLM-RoBERTa.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); result: `[batch, length, hidden_size]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn hidden_state(&self, tokens: &Tensor, mask: &Tensor) -> Result<Tensor, EmbedError> {
        self.roberta.forward(tokens, mask)
    }

    /// The mean over tokens, padding included, of what the tower's transformer makes of hidden states.
    ///
    /// # Shapes
    /// `hidden`: `[batch, length, hidden_size]`; result: `[batch, dim]`.
    ///
    /// # Errors
    /// When the width does not fit.
    pub fn pooled(&self, hidden: &Tensor) -> Result<Tensor, EmbedError> {
        match &self.projection {
            Some(projection) => self.head.pooled(&linear(projection, hidden)?),
            None => self.head.pooled(hidden),
        }
    }
}
