//! MuLan's own transformer on top of each tower (`modules/transformer.py`), its mean over time, and the way into the
//! common space.

use candle_core::{D, Tensor};
use nn::ops::{AttentionOptions, attention, gelu_erf, rms_norm};
use nn::{Linear, Scope};

use crate::EmbedError;
use crate::config::HeadConfig;
use crate::layers::{LayerNorm, linear, unit_length};

/// What products of queries and keys of length one are multiplied by.
const ATTENTION_SCALE: f64 = 8.0;
/// Keeps features that are all zero at zero, as the least length of `torch.nn.functional.normalize`, 1e-12, does.
const SMALLEST_SQUARE: f64 = 1e-24;

/// `[batch, frames, dim]` to `[batch, width]`.
#[derive(Debug)]
pub(crate) struct PooledTransformer {
    layers: Vec<Layer>,
    to_latents: Linear,
}

#[derive(Debug)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
}

impl PooledTransformer {
    pub(crate) fn load(
        config: &HeadConfig,
        transformer: &Scope,
        to_latents: &Scope,
        width: usize,
    ) -> Result<Self, EmbedError> {
        let layers = transformer.pp("layers");
        let layer = |index: usize| {
            let scope = layers.pp(index.to_string());
            Ok::<_, EmbedError>(Layer {
                attention: Attention::load(config, &scope.pp("0"))?,
                feed_forward: FeedForward::load(config, &scope.pp("1"))?,
            })
        };
        Ok(Self {
            layers: (0..config.depth).map(layer).collect::<Result<_, _>>()?,
            to_latents: Linear::load(to_latents, config.dim, width, true)?,
        })
    }

    /// Width of the common space.
    pub(crate) fn width(&self) -> usize {
        self.to_latents.out_features()
    }

    /// The transformer's mean over time, `[batch, dim]`. There is no norm at its end, and no mask.
    pub(crate) fn pooled(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = (layer.attention.forward(&x)? + &x)?;
            x = (layer.feed_forward.forward(&x)? + &x)?;
        }
        Ok(x.mean(1)?)
    }

    /// Means to vectors of length one, `[batch, dim]` to `[batch, width]`.
    pub(crate) fn vectors(&self, pooled: &Tensor) -> Result<Tensor, EmbedError> {
        unit_length(&linear(&self.to_latents, pooled)?)
    }
}

/// The one vector of `[1, width]`, checked.
pub(crate) fn to_vector(vectors: &Tensor) -> Result<Vec<f32>, EmbedError> {
    let values: Vec<f32> = vectors.squeeze(0)?.to_vec1()?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(EmbedError::NotFinite),
    }
}

/// Attention with queries and keys of length one (Dehghani et al. 2023, "Scaling Vision Transformers to 22 Billion
/// Parameters").
#[derive(Debug)]
struct Attention {
    norm: LayerNorm,
    query: Linear,
    key_value: Linear,
    output: Linear,
    query_gain: Tensor,
    key_gain: Tensor,
    options: AttentionOptions,
}

impl Attention {
    fn load(config: &HeadConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let (dim, head_dim) = (config.dim, config.dim_head);
        let inner = config.heads * head_dim;
        // The norm brings a head's features to the root of their number and not to one. Of the two divisions by it, the
        // queries' is undone again: `attention` divides by the root once more.
        let root = (head_dim as f64).sqrt();
        let gain = |name, scale: f64| Ok::<_, EmbedError>((scope.get(name, &[head_dim])? * scale)?);
        Ok(Self {
            norm: LayerNorm::load_gain(&scope.pp("norm"), dim)?,
            query: Linear::load(&scope.pp("to_q"), dim, inner, false)?,
            key_value: Linear::load(&scope.pp("to_kv"), dim, 2 * inner, false)?,
            output: Linear::load(&scope.pp("to_out.0"), inner, dim, false)?,
            query_gain: gain("q_scale", ATTENTION_SCALE)?,
            key_gain: gain("k_scale", 1.0 / root)?,
            options: AttentionOptions::new(config.heads),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        let x = self.norm.forward(x)?;
        let (query, key_value) = (linear(&self.query, &x)?, linear(&self.key_value, &x)?);
        let inner = query.dim(D::Minus1)?;
        let half = |first| key_value.narrow(D::Minus1, first, inner)?.contiguous();
        let (key, value) = (half(0)?, half(inner)?);
        let query = self.of_unit_length(&query, &self.query_gain)?;
        let key = self.of_unit_length(&key, &self.key_gain)?;
        linear(
            &self.output,
            &attention(&query, &key, &value, &self.options)?,
        )
    }

    fn of_unit_length(&self, x: &Tensor, gain: &Tensor) -> Result<Tensor, EmbedError> {
        let (batch, frames, _) = x.dims3()?;
        let head_dim = gain.dim(0)?;
        let heads = x.reshape((batch, frames, self.options.heads, head_dim))?;
        let unit = rms_norm(&heads, gain, SMALLEST_SQUARE / head_dim as f64)?;
        Ok(unit.reshape(x.dims())?)
    }
}

/// `value * gelu(gate)` between two projections (Shazeer 2020, "GLU Variants Improve Transformer").
#[derive(Debug)]
struct FeedForward {
    norm: LayerNorm,
    gated: Linear,
    output: Linear,
}

impl FeedForward {
    fn load(config: &HeadConfig, scope: &Scope) -> Result<Self, EmbedError> {
        let (dim, hidden) = (config.dim, config.hidden());
        Ok(Self {
            norm: LayerNorm::load_gain(&scope.pp("0"), dim)?,
            gated: Linear::load(&scope.pp("1"), dim, 2 * hidden, false)?,
            output: Linear::load(&scope.pp("4"), hidden, dim, false)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        let gated = linear(&self.gated, &self.norm.forward(x)?)?;
        let hidden = gated.dim(D::Minus1)? / 2;
        let gate = gated.narrow(D::Minus1, hidden, hidden)?.contiguous()?;
        linear(
            &self.output,
            &(gated.narrow(D::Minus1, 0, hidden)? * gelu_erf(&gate)?)?,
        )
    }
}
