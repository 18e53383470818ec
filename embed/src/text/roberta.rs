//! XLM-RoBERTa (Conneau et al. 2020; transformers' `modeling_xlm_roberta.py`), an encoder with norms after each part.

use candle_core::Tensor;
use nn::ops::{AttentionOptions, Mask, attention, gelu_erf, silu};
use nn::{Linear, Scope};

use super::table::Table;
use crate::EmbedError;
use crate::config::{Activation, XlmRobertaConfig};
use crate::layers::{LayerNorm, linear};

/// Tokens `[batch, length]` to hidden states `[batch, length, hidden_size]`.
#[derive(Debug)]
pub(super) struct XlmRoberta {
    words: Table,
    positions: Table,
    /// Every token is of the first segment.
    segment: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    padding: u32,
    heads: usize,
}

impl XlmRoberta {
    pub(super) fn load(config: &XlmRobertaConfig, scope: &Scope) -> Result<Self, EmbedError> {
        // A summary of the first token, and numbers that older versions of transformers saved.
        for unused in [
            "pooler",
            "embeddings.position_ids",
            "embeddings.token_type_ids",
        ] {
            scope.leave(unused);
        }
        let embeddings = scope.pp("embeddings");
        let width = config.hidden_size;
        let table = |name: &str, rows| Table::load(&embeddings.pp(name), rows, width);
        let segments = embeddings
            .pp("token_type_embeddings")
            .get("weight", &[config.type_vocab_size, width])?;
        let layers = scope.pp("encoder.layer");
        let layer = |index: usize| Layer::load(config, &layers.pp(index.to_string()));
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            segment: segments.get(0)?,
            norm: LayerNorm::load(&embeddings.pp("LayerNorm"), width, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, _>>()?,
            padding: config.pad_token_id,
            heads: config.num_attention_heads,
        })
    }

    pub(super) fn forward(&self, tokens: &Tensor, mask: &Tensor) -> Result<Tensor, EmbedError> {
        let embedded =
            (self.words.rows(tokens)? + self.positions.rows(&self.positions_of(tokens)?)?)?;
        let mut hidden = self.norm.forward(&embedded.broadcast_add(&self.segment)?)?;
        let options = AttentionOptions {
            mask: Mask::Keys(mask.contiguous()?),
            ..AttentionOptions::new(self.heads)
        };
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &options)?;
        }
        Ok(hidden)
    }

    /// Tokens are counted from the number after the padding's; padding itself stands at that.
    fn positions_of(&self, tokens: &Tensor) -> Result<Tensor, EmbedError> {
        let mut rows = tokens.to_vec2::<u32>()?;
        for row in &mut rows {
            let mut position = self.padding;
            for token in row.iter_mut() {
                let is_padding = *token == self.padding;
                position += u32::from(!is_padding);
                *token = if is_padding { self.padding } else { position };
            }
        }
        Ok(Tensor::new(rows, tokens.device())?)
    }
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    norm: LayerNorm,
    activation: Activation,
}

impl Layer {
    fn load(config: &XlmRobertaConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let (width, hidden) = (config.hidden_size, config.intermediate_size);
        let square = |name: &str| Linear::load(&scope.pp(name), width, width, true);
        let norm = |name: &str| LayerNorm::load(&scope.pp(name), width, config.layer_norm_eps);
        Ok(Self {
            query: square("attention.self.query")?,
            key: square("attention.self.key")?,
            value: square("attention.self.value")?,
            output: square("attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            expand: Linear::load(&scope.pp("intermediate.dense"), width, hidden, true)?,
            contract: Linear::load(&scope.pp("output.dense"), hidden, width, true)?,
            norm: norm("output.LayerNorm")?,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor, options: &AttentionOptions) -> Result<Tensor, EmbedError> {
        let (query, key) = (linear(&self.query, x)?, linear(&self.key, x)?);
        let seen = attention(&query, &key, &linear(&self.value, x)?, options)?;
        let x = self
            .attention_norm
            .forward(&(x + linear(&self.output, &seen)?)?)?;
        let hidden = linear(&self.expand, &x)?;
        let hidden = match self.activation {
            Activation::Gelu => gelu_erf(&hidden)?,
            Activation::Silu => silu(&hidden)?,
        };
        self.norm.forward(&(&x + linear(&self.contract, &hidden)?)?)
    }
}
