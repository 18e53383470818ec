//! One transformer block: self-attention, attention over the prompt, gated MLP, each after a layer norm.

use super::config::Config;
use candle_core::{Result, Tensor};
use nn::ops::{AttentionOptions, Mask, RotaryTable, attention, layer_norm, rotary, swiglu_packed};
use nn::{Linear, Mode, Scope, VisitLinears, WeightsError, checkpointed};

const NORM_EPSILON: f64 = 1e-5;
/// Inner width of the MLP over the block's.
const EXPANSION: usize = 4;

/// One block; clones share their weights.
#[derive(Clone)]
pub(super) struct Block {
    self_norm: Norm,
    self_attention: Attention,
    cross_norm: Norm,
    cross_attention: Attention,
    mlp_norm: Norm,
    /// To the MLP's values, then its gates.
    mlp_in: Linear,
    mlp_out: Linear,
}

/// What every block of a call sees.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) positions: RotaryTable,
    /// Frames that are not padding, the global token among them.
    pub(super) frames: Mask,
    /// Tokens of the prompt that are not padding.
    pub(super) tokens: Mask,
}

impl Block {
    pub(super) fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, WeightsError> {
        let (dim, heads) = (config.dim(), config.num_attention_heads);
        let norm = |name: &str| Norm::load(&scope.pp(name), dim);
        let mlp = scope.pp("ff.net");
        Ok(Self {
            self_norm: norm("norm1")?,
            self_attention: Attention::load(&scope.pp("attn1"), dim, dim, heads, heads)?,
            cross_norm: norm("norm2")?,
            cross_attention: Attention::load(
                &scope.pp("attn2"),
                dim,
                config.cross_attention_dim,
                heads,
                config.cross_heads(),
            )?,
            mlp_norm: norm("norm3")?,
            mlp_in: Linear::load(&mlp.pp("0.proj"), dim, 2 * EXPANSION * dim, true)?,
            mlp_out: Linear::load(&mlp.pp("2"), EXPANSION * dim, dim, true)?,
        })
    }

    /// `x`: `[batch, frames, dim]` to the same; `prompt`: `[batch, tokens, cross_attention_dim]`.
    ///
    /// Each of its three parts is a checkpoint of its own if the mode asks for them: every part that runs again saves its
    /// last product, and one part's intermediates are less than a block's.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        prompt: &Tensor,
        around: &Surroundings,
        mode: &Mode,
    ) -> Result<Tensor> {
        let (block, nearby) = (self.clone(), around.clone());
        let x = checkpointed(&[x], mode, move |inputs, mode| {
            let x = &inputs[0];
            let normal = block.self_norm.forward(x)?;
            let positions = Some(&nearby.positions);
            let mixed =
                block
                    .self_attention
                    .forward(&normal, &normal, positions, &nearby.frames, mode)?;
            mixed + x
        })?;
        let (block, nearby) = (self.clone(), around.clone());
        let x = checkpointed(&[&x, prompt], mode, move |inputs, mode| {
            let (x, prompt) = (&inputs[0], &inputs[1]);
            let normal = block.cross_norm.forward(x)?;
            let mixed =
                block
                    .cross_attention
                    .forward(&normal, prompt, None, &nearby.tokens, mode)?;
            mixed + x
        })?;
        let block = self.clone();
        checkpointed(&[&x], mode, move |inputs, mode| {
            let x = &inputs[0];
            let normal = block.mlp_norm.forward(x)?;
            let gated = swiglu_packed(&block.mlp_in.forward(&normal, mode)?)?;
            block.mlp_out.forward_last(&gated, mode)? + x
        })
    }
}

impl VisitLinears for Block {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        self.self_attention.visit_linears(visit);
        self.cross_attention.visit_linears(visit);
        visit(&mut self.mlp_in);
        visit(&mut self.mlp_out);
    }
}

#[derive(Clone)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn load(scope: &Scope, dim: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            weight: scope.get("weight", &[dim])?,
            bias: scope.get("bias", &[dim])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, Some((&self.weight, &self.bias)), NORM_EPSILON)
    }
}

#[derive(Clone)]
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
    key_heads: usize,
}

impl Attention {
    fn load(
        scope: &Scope,
        dim: usize,
        key_dim: usize,
        heads: usize,
        key_heads: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let linear = |name: &str, from, to| Linear::load(&scope.pp(name), from, to, false);
        // Keys and values have as many features a head as queries do.
        let key_features = dim / heads * key_heads;
        Ok(Self {
            q: linear("to_q", dim, dim)?,
            k: linear("to_k", key_dim, key_features)?,
            v: linear("to_v", key_dim, key_features)?,
            out: linear("to_out.0", dim, dim)?,
            heads,
            key_heads,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        keys_from: &Tensor,
        positions: Option<&RotaryTable>,
        mask: &Mask,
        mode: &Mode,
    ) -> Result<Tensor> {
        let mut q = self.q.forward(x, mode)?;
        let mut k = self.k.forward(keys_from, mode)?;
        let v = self.v.forward(keys_from, mode)?;
        if let Some(positions) = positions {
            (q, k) = (rotary(&q, positions)?, rotary(&k, positions)?);
        }
        let options = AttentionOptions {
            heads: self.heads,
            key_heads: self.key_heads,
            mask: mask.clone(),
        };
        self.out
            .forward_last(&attention(&q, &k, &v, &options)?, mode)
    }
}

impl VisitLinears for Attention {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        for linear in [&mut self.q, &mut self.k, &mut self.v, &mut self.out] {
            visit(linear);
        }
    }
}
