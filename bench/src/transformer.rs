//! Stable Audio's transformer: forward, and training steps of adapters on it.

use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use dit::stable_audio::{Config, Inputs, StableAudioTransformer};
use nn::{AdamW, AdamWOptions, Checkpoints, Linear, LoraWeights, Mode, Stream, VisitLinears};
use testing::pseudo_random;

use crate::{Run, made_up};

const RANK: usize = 8;
const PROMPT_TOKENS: usize = 65;
const LEARNING_RATE: f64 = 1e-4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Wide,
}

fn model(size: Size) -> Result<StableAudioTransformer> {
    let (num_layers, num_attention_heads, attention_head_dim) = match size {
        Size::Small => (16, 8, 128),
        Size::Wide => (24, 24, 64),
    };
    let config = Config {
        num_layers,
        num_attention_heads,
        attention_head_dim,
        cross_attention_dim: num_attention_heads * attention_head_dim,
        global_states_input_dim: 768,
        ..Config::default()
    };
    Ok(StableAudioTransformer::load(
        &config,
        &made_up::weights().root(),
    )?)
}

struct Data {
    x: Tensor,
    time: Tensor,
    prompt: Tensor,
    global: Tensor,
}

impl Data {
    fn new(batch: usize, frames: usize) -> Result<Self> {
        Ok(Self {
            x: pseudo_random((batch, 64, frames), 1),
            time: Tensor::full(0.5f32, batch, &Device::Cpu)?,
            prompt: pseudo_random((batch, PROMPT_TOKENS, 768), 2),
            global: pseudo_random((batch, 768), 3),
        })
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            time: &self.time,
            prompt: &self.prompt,
            global: &self.global,
            frame_mask: None,
            prompt_mask: None,
        }
    }
}

pub(crate) fn forward(size: Size, batch: usize, frames: usize) -> Result<Run> {
    let (mut model, data) = (model(size)?, Data::new(batch, frames)?);
    let operations = operations(&mut model, batch, frames);
    let run = Run::new(move || {
        model.forward(&data.inputs(), &Mode::Inference)?;
        Ok(())
    });
    Ok(run.costing(operations))
}

/// Of the layers and attentions in a forward pass.
fn operations(model: &mut StableAudioTransformer, batch: usize, frames: usize) -> f64 {
    let config = model.config();
    let width = config.num_attention_heads * config.attention_head_dim;
    let keys = frames + 1 + PROMPT_TOKENS;
    let attention = (4 * (frames + 1) * keys * width * config.num_layers) as f64;
    let mut layers = 0.0;
    model.visit_linears(&mut |linear| {
        let name = linear.name();
        let rows = if name.contains("attn2.to_k")
            || name.contains("attn2.to_v")
            || name.contains("cross_attention_proj")
        {
            PROMPT_TOKENS
        } else if name.contains("timestep_proj") || name.contains("global_proj") {
            1
        } else {
            frames + 1
        };
        layers += 2.0 * (rows * linear.in_features() * linear.out_features()) as f64;
    });
    (layers + attention) * batch as f64
}

pub(crate) fn step(size: Size, batch: usize, frames: usize, checkpointed: bool) -> Result<Run> {
    let (mut model, data) = (model(size)?, Data::new(batch, frames)?);
    let target = pseudo_random((batch, 64, frames), 4);
    let mut optimizer = AdamW::new(adapt(&mut model)?, AdamWOptions::default())?;
    // Backward computes gradients for what enters each layer, none for frozen weights; a checkpoint computes forward twice.
    let passes = if checkpointed { 3.0 } else { 2.0 };
    let operations = passes * operations(&mut model, batch, frames);
    let run = Run::new(move || {
        let checkpoints = Checkpoints::default();
        let mode = Mode::Training {
            dropout: Stream::new(1),
            checkpoints: checkpointed.then(|| checkpoints.clone()),
        };
        let prediction = model.forward(&data.inputs(), &mode)?;
        let loss = (prediction - &target)?.sqr()?.mean_all()?;
        let gradients = checkpoints.backward(&loss)?;
        optimizer.step(&gradients, LEARNING_RATE, 1.0)?;
        Ok(())
    });
    Ok(run.costing(operations))
}

/// Attaches an adapter to every projection of the attentions; returns its variables.
fn adapt(model: &mut StableAudioTransformer) -> Result<Vec<(String, Var)>> {
    let (mut variables, mut result) = (Vec::new(), Ok(()));
    model.visit_linears(&mut |linear| {
        let targets = ["to_q", "to_k", "to_v", "to_out.0"];
        if result.is_ok() && targets.iter().any(|end| linear.name().ends_with(end)) {
            result = attach(linear, 0.0, &mut variables);
        }
    });
    result.map(|()| variables)
}

/// Attaches an adapter of rank 8 and adds its factors to the variables.
pub(crate) fn attach(
    linear: &mut Linear,
    dropout: f64,
    variables: &mut Vec<(String, Var)>,
) -> Result<()> {
    let a = Var::from_tensor(&(pseudo_random((RANK, linear.in_features()), 5) * 0.05)?)?;
    let b = Var::from_tensor(&(pseudo_random((linear.out_features(), RANK), 6) * 0.01)?)?;
    linear.attach(LoraWeights {
        a: a.as_tensor().clone(),
        b: b.as_tensor().clone(),
        scale: 2.0,
        dropout,
    })?;
    variables.push((format!("{}.a", linear.name()), a));
    variables.push((format!("{}.b", linear.name()), b));
    Ok(())
}
