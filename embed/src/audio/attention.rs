//! The conformer's self-attention (`Wav2Vec2ConformerSelfAttention`).

use candle_core::Tensor;
use nn::ops::{AttentionOptions, RotaryTable, attention, rotary};
use nn::{Linear, Scope};

use crate::EmbedError;
use crate::layers::linear;

/// Attention whose rotation comes before the projections to queries and keys, and leaves the values alone.
#[derive(Debug)]
pub(super) struct RotaryAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    options: AttentionOptions,
}

impl RotaryAttention {
    pub(super) fn load(scope: &Scope, width: usize, heads: usize) -> Result<Self, EmbedError> {
        let layer = |name: &str| Linear::load(&scope.pp(name), width, width, true);
        Ok(Self {
            query: layer("linear_q")?,
            key: layer("linear_k")?,
            value: layer("linear_v")?,
            output: layer("linear_out")?,
            options: AttentionOptions::new(heads),
        })
    }

    pub(super) fn forward(&self, x: &Tensor, table: &RotaryTable) -> Result<Tensor, EmbedError> {
        let rotated = rotary(x, table)?;
        let (query, key) = (linear(&self.query, &rotated)?, linear(&self.key, &rotated)?);
        let value = linear(&self.value, x)?;
        linear(
            &self.output,
            &attention(&query, &key, &value, &self.options)?,
        )
    }
}
