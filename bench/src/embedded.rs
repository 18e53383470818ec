//! The base that ships inside of the programs: its network alone, without the rest of the commands, as a peer would build it.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use dit::diffrhythm::{DiffusionTransformer, Drops, Inputs};
use dit::flow::{self, Sampling, Solver};
use lora::adapter::Targets;
use lora::base::BaseModel;
use nn::{AdamW, AdamWOptions, Mode, Stream, VisitLinears, Weights};
use testing::pseudo_random;
use vae::{SpectralAutoencoder, SpectralConfig};

use crate::Run;
use crate::transformer::attach;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../lora/base/lorelei-base.safetensors"
);
/// 6 s.
const FRAMES: usize = 130;
const BATCH: usize = 8;
const STEPS: usize = 24;
const GUIDANCE: f64 = 3.0;
const DROPOUT: f64 = 0.25;
const LEARNING_RATE: f64 = 2e-3;

fn load() -> Result<(DiffusionTransformer, SpectralAutoencoder)> {
    let weights = Weights::from_file(Path::new(FILE), &Device::Cpu)?;
    let metadata = weights.metadata();
    let text = metadata
        .get("lorelei_base")
        .context("the base file has no description")?;
    let description: serde_json::Value = serde_json::from_str(text)?;
    let transformer = dit::diffrhythm::Config::from_json(&description["transformer"].to_string())?;
    let autoencoder = SpectralConfig::from_json(&description["autoencoder"].to_string(), FILE)?;
    let root = weights.root();
    Ok((
        DiffusionTransformer::load(&transformer, &root.pp("transformer"))?,
        SpectralAutoencoder::load(&autoencoder, &root.pp("autoencoder"))?,
    ))
}

pub(crate) fn step() -> Result<Run> {
    let (mut model, _) = load()?;
    let targets = Targets::default();
    let (mut variables, mut attached) = (Vec::<(String, Var)>::new(), Ok(()));
    model.visit_linears(&mut |linear| {
        if attached.is_ok() && targets.matches(linear.name()) {
            attached = attach(linear, DROPOUT, &mut variables);
        }
    });
    attached?;
    let mut optimizer = AdamW::new(variables, AdamWOptions::default())?;
    let config = model.config().clone();
    let x = pseudo_random((BATCH, FRAMES, config.mel_dim), 1);
    let nothing = x.zeros_like()?;
    let text = Tensor::zeros((BATCH, FRAMES), DType::U32, &Device::Cpu)?;
    let style = pseudo_random((BATCH, config.cond_dim), 2);
    let time = Tensor::full(0.5f32, BATCH, &Device::Cpu)?;
    let mut number = 0;
    // Backward computes gradients for what enters each layer, and none for frozen weights.
    let operations = 2.0 * operations(&mut model, BATCH);
    let run = Run::new(move || {
        number += 1;
        // As the trainer does it.
        let (_, gradients) = nn::gradients_in_shares(BATCH, &Device::Cpu, |share, items| {
            let of = |tensor: &Tensor| tensor.narrow(0, items.start, items.len());
            let (x, nothing, text) = (of(&x)?, of(&nothing)?, of(&text)?);
            let (style, time) = (of(&style)?, of(&time)?);
            let mode = Mode::Training {
                dropout: Stream::new(1).at(number).at(share as u64),
                checkpoints: None,
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
            let part = items.len() as f64 / BATCH as f64;
            let loss = (flow::masked_loss(&predicted, &nothing, None)? * part)?;
            Ok::<_, candle_core::Error>((0.0, loss.backward()?))
        })?;
        if let Some(gradients) = gradients {
            optimizer.step(&gradients, LEARNING_RATE, 1.0)?;
        }
        Ok(())
    });
    Ok(run.costing(operations))
}

/// Of the layers and attentions for crops of 6 s.
fn operations(model: &mut DiffusionTransformer, batch: usize) -> f64 {
    let (mut layers, width) = (0.0, model.config().dim);
    let depth = model.config().depth;
    model.visit_linears(&mut |linear| {
        let once = linear.name().contains("time_mlp") || linear.name().contains("norm_out");
        let rows = if once { 1 } else { FRAMES };
        layers += 2.0 * (rows * linear.in_features() * linear.out_features()) as f64;
    });
    let attention = (4 * FRAMES * FRAMES * width * depth) as f64;
    (layers + attention) * batch as f64
}

pub(crate) fn clip() -> Result<Run> {
    let (mut model, autoencoder) = load()?;
    let operations = 2.0 * STEPS as f64 * operations(&mut model, 1);
    let run = Run::new(move || {
        let latents = sample(&model, STEPS)?;
        autoencoder.decode_features(&latents.transpose(1, 2)?.contiguous()?)?;
        Ok(())
    });
    Ok(run.costing(operations))
}

/// Loads the base as the programs do and computes one guided step of a clip.
pub(crate) fn first_step() -> Result<Run> {
    Ok(Run::new(|| {
        let base = BaseModel::embedded(&Device::Cpu)?;
        sample(&base.transformer, 1)?;
        Ok(())
    }))
}

/// Latents of a clip of 6 s, `[1, frames, channels]`.
fn sample(model: &DiffusionTransformer, steps: usize) -> Result<Tensor> {
    let config = model.config();
    let noise = pseudo_random((1, FRAMES, config.mel_dim), 1);
    let style = pseudo_random((1, config.cond_dim), 2);
    let whole = 0..FRAMES;
    let request = flow::Request {
        noise: &noise,
        audio_condition: &noise.zeros_like()?,
        spans: std::slice::from_ref(&whole),
        text: &Tensor::zeros((1, FRAMES), DType::U32, &Device::Cpu)?,
        style: &style,
        later_styles: &[],
        negative_style: &style.zeros_like()?,
        start_time: &Tensor::full(0.3f32, 1, &Device::Cpu)?,
        duration: None,
    };
    let sampling = Sampling {
        points: steps + 1,
        solver: Solver::Euler,
        sway: None,
        guidance: GUIDANCE,
        half_precision_times: false,
    };
    Ok(flow::sample(model, &request, &sampling, &mut |_, _, _| Ok(()))?.latents)
}
