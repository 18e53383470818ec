//! What several tests of the transformer need.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use candle_core::{DType, Tensor};
use dit::diffrhythm::{Config, DiffusionTransformer, Drops, Inputs};
use nn::{Linear, VisitLinears, Weights};
use std::path::{Path, PathBuf};
use testing::{Golden, device, pseudo_random_on};

pub fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(case)
}

pub fn golden(case: &str) -> Golden {
    Golden::open(fixture(case))
}

/// The configuration of a case, which the reference splits over two levels.
pub fn config(case: &str, causal: bool) -> Config {
    let text = std::fs::read_to_string(fixture(case).join("config.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut flat = file["model"].clone();
    flat["max_frames"] = file["max_frames"].clone();
    flat["cond_dim"] = file["cond_dim"].clone();
    flat["causal"] = causal.into();
    Config::from_json(&flat.to_string()).unwrap()
}

/// The model of a case; every tensor of its file is used.
pub fn model(case: &str, causal: bool) -> DiffusionTransformer {
    let weights =
        Weights::from_file(fixture(case).join("cfm_model.safetensors"), &device()).unwrap();
    let model =
        DiffusionTransformer::load(&config(case, causal), &weights.root().pp("transformer"))
            .unwrap();
    weights.finish().unwrap();
    model
}

/// Tokens of a golden, which are stored as i64.
pub fn tokens(golden: &Golden, name: &str) -> Tensor {
    golden.tensor(name).to_dtype(DType::U32).unwrap()
}

/// Arguments of a call that a test can change one by one.
#[derive(Clone)]
pub struct Arguments {
    pub x: Tensor,
    pub audio_condition: Tensor,
    pub text: Tensor,
    pub style: Tensor,
    pub time: Tensor,
    pub start_time: Tensor,
    pub duration: Option<Tensor>,
    pub drops: Drops,
}

impl Arguments {
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            audio_condition: &self.audio_condition,
            text: &self.text,
            style: &self.style,
            time: &self.time,
            start_time: &self.start_time,
            duration: self.duration.as_ref(),
            drops: self.drops.clone(),
        }
    }

    /// Made up ones for a model.
    pub fn example(config: &Config, batch: usize, frames: usize) -> Self {
        let text: Vec<u32> = (0..batch * frames)
            .map(|place| (place * 7 % (config.text_num_embeds + 1)) as u32)
            .collect();
        let tensor = |shape: &[usize], seed| pseudo_random_on(shape, seed, &device());
        let unit = |seed| tensor(&[batch], seed).affine(0.5, 0.5).unwrap();
        Self {
            x: tensor(&[batch, frames, config.mel_dim], 1),
            audio_condition: tensor(&[batch, frames, config.mel_dim], 2),
            text: Tensor::from_vec(text, (batch, frames), &device()).unwrap(),
            style: tensor(&[batch, config.cond_dim], 3),
            time: unit(4),
            start_time: unit(5),
            duration: config.has_duration().then(|| unit(6)),
            drops: Drops::default(),
        }
    }

    /// One item of the batch.
    pub fn item(&self, item: usize) -> Self {
        let one = |tensor: &Tensor| tensor.narrow(0, item, 1).unwrap();
        Self {
            x: one(&self.x),
            audio_condition: one(&self.audio_condition),
            text: one(&self.text),
            style: one(&self.style),
            time: one(&self.time),
            start_time: one(&self.start_time),
            duration: self.duration.as_ref().map(one),
            drops: self.drops.clone(),
        }
    }
}

/// Whether a layer is one of the original LoRA project's targets.
pub fn is_target(name: &str) -> bool {
    [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "time_mlp.0",
        "time_mlp.2",
        "norm_out.linear",
        "proj_out",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

/// Calls `change` with every target layer.
pub fn for_targets(model: &mut DiffusionTransformer, mut change: impl FnMut(&mut Linear)) {
    model.visit_linears(&mut |linear| {
        if is_target(linear.name()) {
            change(linear);
        }
    });
}
