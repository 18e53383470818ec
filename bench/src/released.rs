//! A training step on DiffRhythm's 1B model, with made-up weights that layers of one shape share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use dit::diffrhythm::{DiffusionTransformer, Drops, Inputs};
use dit::flow;
use lora::adapter::Targets;
use lora::base::Outline;
use lora::models::KnownModel;
use nn::{AdamW, AdamWOptions, Checkpoints, Mode, Stream, VisitLinears, Weights};
use testing::pseudo_random;

use crate::Run;
use crate::transformer::attach;

const MODEL: &str = "diffrhythm-v1.2";
const LEARNING_RATE: f64 = 2e-4;

/// Whose layers keep the scale of what enters.
fn weights() -> Weights {
    let made: Mutex<HashMap<Vec<usize>, Tensor>> = Mutex::default();
    Weights::made_up(move |_, shape| {
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = made.get(shape) {
            return Ok(tensor.clone());
        }
        let inputs: usize = shape.iter().skip(1).product();
        let tensor = (pseudo_random(shape, 7) * (1.7 / (inputs.max(1) as f64).sqrt()))?;
        made.insert(shape.to_vec(), tensor.clone());
        Ok(tensor)
    })
}

/// Forward, backward with gradient checkpointing, and AdamW, as `lora-train` does them for a model of this size.
pub(crate) fn step(batch: usize, frames: usize) -> Result<Run> {
    let known = KnownModel::named(MODEL).context("the model is not in the list")?;
    let config = Outline::of_known(known, None, None)?.transformer;
    let mut model = DiffusionTransformer::load(&config, &weights().root())?;
    let targets = Targets::default();
    let (mut variables, mut attached) = (Vec::<(String, Var)>::new(), Ok(()));
    model.visit_linears(&mut |linear| {
        if attached.is_ok() && targets.matches(linear.name()) {
            attached = attach(linear, 0.25, &mut variables);
        }
    });
    attached?;
    let mut optimizer = AdamW::new(variables, AdamWOptions::default())?;
    let x = pseudo_random((batch, frames, config.mel_dim), 1);
    let nothing = x.zeros_like()?;
    let text = Tensor::zeros((batch, frames), DType::U32, &Device::Cpu)?;
    let style = pseudo_random((batch, config.cond_dim), 2);
    let time = Tensor::full(0.5f32, batch, &Device::Cpu)?;
    Ok(Run::new(move || {
        let checkpoints = Checkpoints::default();
        let mode = Mode::Training {
            dropout: Stream::new(1),
            checkpoints: Some(checkpoints.clone()),
        };
        let inputs = Inputs {
            x: &x,
            audio_condition: &nothing,
            text: &text,
            style: &style,
            time: &time,
            start_time: &time,
            duration: None,
            drops: Drops::default(),
        };
        let predicted = model.forward(&inputs, &mode)?;
        let loss = flow::masked_loss(&predicted, &nothing, None)?;
        let gradients = checkpoints.backward(&loss)?;
        optimizer.step(&gradients, LEARNING_RATE, 1.0)?;
        Ok(())
    }))
}
