//! One transformer block, as in Llama (Touvron et al. 2023): RMS norm, rotary self-attention, RMS norm, gated MLP.

use super::config::Config;
use super::model::Trace;
use candle_core::{Result, Tensor};
use nn::ops::{AttentionOptions, RotaryTable, attention, rms_norm, rotary, swiglu};
use nn::{Linear, Mode, Scope, VisitLinears, WeightsError, checkpointed};

const NORM_EPSILON: f64 = 1e-6;

/// One block; clones share their weights.
#[derive(Clone)]
pub(crate) struct Block {
    input_norm: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    mlp_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
    attention: AttentionOptions,
}

impl Block {
    pub(crate) fn load(config: &Config, scope: &Scope) -> std::result::Result<Self, WeightsError> {
        let (dim, inner) = (config.dim, config.dim * config.ff_mult);
        let (heads, mlp) = (scope.pp("self_attn"), scope.pp("mlp"));
        let square = |name: &str| Linear::load(&heads.pp(name), dim, dim, false);
        let norm = |name: &str| scope.pp(name).get("weight", &[dim]);
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            q: square("q_proj")?,
            k: square("k_proj")?,
            v: square("v_proj")?,
            o: square("o_proj")?,
            mlp_norm: norm("post_attention_layernorm")?,
            gate: Linear::load(&mlp.pp("gate_proj"), dim, inner, false)?,
            up: Linear::load(&mlp.pp("up_proj"), dim, inner, false)?,
            down: Linear::load(&mlp.pp("down_proj"), inner, dim, false)?,
            attention: AttentionOptions::new(config.attention_heads).causal(config.causal),
        })
    }

    /// `[batch, frames, dim]` to the same. Attention and MLP are checkpoints of their own if the mode asks for them.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        positions: &RotaryTable,
        mode: &Mode,
        name: &str,
        trace: Trace<'_>,
    ) -> Result<Tensor> {
        let (block, table) = (self.clone(), positions.clone());
        let mixed = checkpointed(&[x], mode, move |inputs, mode| {
            block.attend(&inputs[0], &table, mode)
        })?;
        trace(&format!("{name}.self_attn"), &mixed);
        let x = (x + mixed)?;
        let block = self.clone();
        let changed = checkpointed(&[&x], mode, move |inputs, mode| {
            block.transform(&inputs[0], mode)
        })?;
        let x = (x + changed)?;
        trace(name, &x);
        Ok(x)
    }

    fn attend(&self, x: &Tensor, positions: &RotaryTable, mode: &Mode) -> Result<Tensor> {
        let normal = rms_norm(x, &self.input_norm, NORM_EPSILON)?;
        let q = rotary(&self.q.forward(&normal, mode)?, positions)?;
        let k = rotary(&self.k.forward(&normal, mode)?, positions)?;
        let v = self.v.forward(&normal, mode)?;
        self.o
            .forward_last(&attention(&q, &k, &v, &self.attention)?, mode)
    }

    fn transform(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let normal = rms_norm(x, &self.mlp_norm, NORM_EPSILON)?;
        let gated = swiglu(
            &self.gate.forward(&normal, mode)?,
            &self.up.forward(&normal, mode)?,
        )?;
        self.down.forward_last(&gated, mode)
    }
}

impl Block {
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        [
            &self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down,
        ]
        .into_iter()
    }
}

impl VisitLinears for Block {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        for linear in [
            &mut self.q,
            &mut self.k,
            &mut self.v,
            &mut self.o,
            &mut self.gate,
            &mut self.up,
            &mut self.down,
        ] {
            visit(linear);
        }
    }
}
