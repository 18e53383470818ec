//! Hot operations at small fixed sizes, once each: what instruction counts are kept of (`bench/instructions.json`).

use anyhow::Result;
use candle_core::{Tensor, Var};
use clap::ValueEnum;
use nn::ops::{
    AttentionOptions, Conv1dOptions, FrozenConv1d, Fused, attention, layer_norm, swiglu,
};
use nn::{Linear, LoraWeights, Mode, WeightPrecision};
use testing::pseudo_random;

use crate::Run;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hot {
    /// A linear layer with an adapter, forward and backward.
    LoraLinear,
    /// A linear layer of 8-bit weights, forward.
    Int8Linear,
    /// Attention, forward and backward.
    Attention,
    /// A convolution of seven taps after snake, with a residual.
    FrozenConvolution,
    /// Layer norm and the gated activation, forward and backward.
    Elementwise,
}

const ROWS: usize = 96;
const FEATURES: usize = 128;

pub(crate) fn run(hot: Hot) -> Result<Run> {
    match hot {
        Hot::LoraLinear => lora_linear(),
        Hot::Int8Linear => int8_linear(),
        Hot::Attention => self_attention(),
        Hot::FrozenConvolution => frozen_convolution(),
        Hot::Elementwise => elementwise(),
    }
}

fn variable(seed: u64) -> Result<Var> {
    Ok(Var::from_tensor(&pseudo_random((1, ROWS, FEATURES), seed))?)
}

fn backward(y: &Tensor) -> Result<()> {
    y.sum_all()?.backward()?;
    Ok(())
}

fn lora_linear() -> Result<Run> {
    let mut layer = Linear::new("layer", pseudo_random((FEATURES, FEATURES), 1), None)?;
    let (a, b) = (
        Var::from_tensor(&pseudo_random((8, FEATURES), 2))?,
        Var::from_tensor(&pseudo_random((FEATURES, 8), 3))?,
    );
    layer.attach(LoraWeights {
        a: a.as_tensor().clone(),
        b: b.as_tensor().clone(),
        scale: 2.0,
        dropout: 0.0,
    })?;
    let x = variable(4)?;
    Ok(Run::new(move || {
        backward(&layer.forward(&x, &Mode::Inference)?)
    }))
}

fn int8_linear() -> Result<Run> {
    let mut layer = Linear::new("layer", pseudo_random((FEATURES, FEATURES), 1), None)?;
    layer.store(WeightPrecision::Int8)?;
    let x = pseudo_random((1, ROWS, FEATURES), 4);
    Ok(Run::new(move || {
        layer.forward(&x, &Mode::Inference)?;
        Ok(())
    }))
}

fn self_attention() -> Result<Run> {
    let (q, k, v) = (variable(1)?, variable(2)?, variable(3)?);
    let options = AttentionOptions::new(4);
    Ok(Run::new(move || {
        backward(&attention(&q, &k, &v, &options)?)
    }))
}

fn frozen_convolution() -> Result<Run> {
    const CHANNELS: usize = 64;
    const FRAMES: usize = 900;
    let options = Conv1dOptions {
        padding: 9,
        dilation: 3,
        ..Conv1dOptions::default()
    };
    let weight = pseudo_random((CHANNELS, CHANNELS, 7), 1);
    let layer = FrozenConv1d::new(&weight, None, options)?;
    let x = pseudo_random((1, CHANNELS, FRAMES), 2);
    let (alpha, beta) = (
        (pseudo_random(CHANNELS, 3) + 1.5)?,
        (pseudo_random(CHANNELS, 4) + 1.5)?,
    );
    Ok(Run::new(move || {
        let fused = Fused {
            snake: Some((&alpha, &beta)),
            residual: Some(&x),
        };
        layer.forward(&x, fused)?;
        Ok(())
    }))
}

fn elementwise() -> Result<Run> {
    let (gate, up) = (variable(1)?, variable(2)?);
    Ok(Run::new(move || {
        backward(&layer_norm(&swiglu(&gate, &up)?, None, 1e-5)?)
    }))
}
