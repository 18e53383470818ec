//! Stable Audio's network against diffusers, and adapters on it against PEFT.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{TOLERANCE, fixture, golden};
use dit::stable_audio::{Inputs, StableAudioTransformer};
use nn::{AdamW, AdamWOptions, Checkpoints, LoraWeights, Mode, Stream, VisitLinears};
use serde_json::Value;
use std::collections::HashMap;
use testing::{Golden, assert_close, assert_equal};

fn model() -> StableAudioTransformer {
    let folder = fixture("b_stable_audio_dit/transformer");
    StableAudioTransformer::load_folder(&folder, &Device::Cpu).unwrap()
}

#[derive(Clone)]
struct Arguments {
    x: Tensor,
    time: Tensor,
    prompt: Tensor,
    global: Tensor,
    frame_mask: Option<Tensor>,
    prompt_mask: Option<Tensor>,
}

impl Arguments {
    fn new(golden: &Golden, time: &str) -> Self {
        let x = golden.tensor("x");
        let time = golden.tensor(time).broadcast_as(x.dim(0).unwrap());
        Self {
            time: time.unwrap().contiguous().unwrap(),
            prompt: golden.tensor("enc"),
            global: golden.tensor("glob").squeeze(1).unwrap(),
            frame_mask: None,
            prompt_mask: None,
            x,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            time: &self.time,
            prompt: &self.prompt,
            global: &self.global,
            frame_mask: self.frame_mask.as_ref(),
            prompt_mask: self.prompt_mask.as_ref(),
        }
    }

    fn item(&self, item: usize) -> Self {
        let one = |tensor: &Tensor| tensor.narrow(0, item, 1).unwrap();
        Self {
            x: one(&self.x),
            time: one(&self.time),
            prompt: one(&self.prompt),
            global: one(&self.global),
            frame_mask: self.frame_mask.as_ref().map(one),
            prompt_mask: self.prompt_mask.as_ref().map(one),
        }
    }
}

#[test]
fn outputs_and_intermediates_match() {
    let (golden, model) = (golden("b_stable_audio_dit"), model());
    let mut seen = 0;
    for time in ["t0", "t1", "t2", "t3", "t_batch"] {
        let arguments = Arguments::new(&golden, time);
        // The reference's intermediates were stored at one time, those of the blocks at another.
        let mut trace = |name: &str, found: &Tensor| {
            let stored = match name {
                "block0" | "block1" => format!("{name}_t1"),
                name => name.to_string(),
            };
            let kept = if stored.ends_with("_t1") {
                "t1"
            } else {
                "t_batch"
            };
            if time == kept {
                let expected = golden.tensor(&stored).reshape(found.shape()).unwrap();
                assert_close(&stored, found, &expected, TOLERANCE);
                seen += 1;
            }
        };
        let found = model
            .forward_traced(&arguments.inputs(), &Mode::Inference, &mut trace)
            .unwrap();
        let name = format!("out_{time}");
        assert_close(&name, &found, &golden.tensor(&name), TOLERANCE);
    }
    assert_eq!(seen, 6, "intermediates compared");
}

#[test]
fn masked_outputs_match() {
    let (golden, model) = (golden("b_stable_audio_dit"), model());
    let mask = |name: &str| Some(golden.tensor(name));
    let plain = Arguments::new(&golden, "t1");
    let prompt = Arguments {
        prompt_mask: mask("enc_mask"),
        ..plain.clone()
    };
    let frames = Arguments {
        frame_mask: mask("self_mask"),
        ..plain
    };
    for (name, arguments) in [("out_encmask", prompt), ("out_selfmask", frames)] {
        let found = model
            .forward(&arguments.inputs(), &Mode::Inference)
            .unwrap();
        assert_close(name, &found, &golden.tensor(name), TOLERANCE);
        for item in 0..2 {
            let alone = arguments.item(item);
            let alone = model.forward(&alone.inputs(), &Mode::Inference).unwrap();
            let together = found.narrow(0, item, 1).unwrap();
            assert_close("an item alone", &alone, &together, 1e-5);
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let (golden, model) = (golden("b_stable_audio_dit"), model());
    let arguments = Arguments {
        global: Tensor::zeros((2, 7), DType::F32, &Device::Cpu).unwrap(),
        ..Arguments::new(&golden, "t1")
    };
    let error = model.forward(&arguments.inputs(), &Mode::Inference);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("global has shape [2, 7], expected [2, 48]"),
        "{message}"
    );
}

/// A PEFT adapter of a case: its factors by layer, and each layer's scale.
struct Adapter {
    factors: Vec<(String, Var, Var)>,
    scales: Vec<f64>,
}

impl Adapter {
    fn load(case: &str) -> Self {
        let folder = fixture(case).join("lora");
        let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        let file: HashMap<String, Tensor> =
            testing::golden::load(&folder.join("adapter_model.safetensors"));
        let mut layers: Vec<String> = file
            .keys()
            .filter_map(|name| name.strip_suffix(".lora_A.weight"))
            .map(str::to_string)
            .collect();
        layers.sort();
        let mut adapter = Self {
            factors: Vec::new(),
            scales: Vec::new(),
        };
        for layer in layers {
            let get =
                |part: &str| Var::from_tensor(&file[&format!("{layer}.{part}.weight")]).unwrap();
            let name = layer.strip_prefix("base_model.model.").unwrap().to_string();
            let (a, b) = (get("lora_A"), get("lora_B"));
            let alpha = pattern(&config, "alpha_pattern", "lora_alpha", &name);
            let rank = pattern(&config, "rank_pattern", "r", &name);
            assert_eq!(a.dim(0).unwrap() as f64, rank, "{name}");
            adapter
                .scales
                .push(match config["use_rslora"].as_bool().unwrap() {
                    true => alpha / rank.sqrt(),
                    false => alpha / rank,
                });
            adapter.factors.push((name, a, b));
        }
        assert_eq!(2 * adapter.factors.len(), file.len());
        adapter
    }

    fn attach(&self, model: &mut StableAudioTransformer, strength: f64) {
        let mut attached = 0;
        model.visit_linears(&mut |linear| {
            let place = self
                .factors
                .iter()
                .position(|(name, ..)| name == linear.name());
            if let Some(place) = place {
                let (_, a, b) = &self.factors[place];
                linear
                    .attach(LoraWeights {
                        a: a.as_tensor().clone(),
                        b: b.as_tensor().clone(),
                        scale: self.scales[place] * strength,
                        dropout: 0.0,
                    })
                    .unwrap();
                attached += 1;
            }
        });
        assert_eq!(attached, self.factors.len());
    }

    fn variables(&self) -> Vec<(String, Var)> {
        let parts = self.factors.iter().flat_map(|(name, a, b)| {
            [
                (format!("{name}.lora_A.weight"), a.clone()),
                (format!("{name}.lora_B.weight"), b.clone()),
            ]
        });
        parts.collect()
    }
}

/// PEFT's patterns match the end of a layer's name.
fn pattern(config: &Value, patterns: &str, default: &str, layer: &str) -> f64 {
    let matching = config[patterns]
        .as_object()
        .unwrap()
        .iter()
        .find(|(pattern, _)| {
            layer == pattern.as_str() || layer.ends_with(&format!(".{}", pattern.as_str()))
        });
    matching
        .map_or(&config[default], |(_, value)| value)
        .as_f64()
        .unwrap()
}

const CASES: [&str; 2] = ["d_lora_dit", "d2_lora_pattern_rslora"];

#[test]
fn adapted_outputs_match() {
    for case in CASES {
        let golden = golden(case);
        let (arguments, adapter) = (Arguments::new(&golden, "t"), Adapter::load(case));
        for (name, strength) in [
            ("out_base", None),
            ("out_s1", Some(1.0)),
            ("out_s0_5", Some(0.5)),
        ] {
            let mut model = model();
            if let Some(strength) = strength {
                adapter.attach(&mut model, strength);
            }
            let found = model.forward(&arguments.inputs(), &Mode::Inference);
            assert_close(name, &found.unwrap(), &golden.tensor(name), TOLERANCE);
        }
        let mut model = model();
        adapter.attach(&mut model, 1.0);
        let mut merged = 0;
        model.visit_linears(&mut |linear| {
            linear.merge().unwrap();
            let name = format!("merged.{}.weight", linear.name());
            if golden.contains(&name) {
                assert_close(
                    &name,
                    &linear.weight().unwrap(),
                    &golden.tensor(&name),
                    TOLERANCE,
                );
                merged += 1;
            }
        });
        assert_eq!(merged, golden.names("merged.").len());
        let found = model.forward(&arguments.inputs(), &Mode::Inference);
        assert_close(
            "merged",
            &found.unwrap(),
            &golden.tensor("out_merged"),
            TOLERANCE,
        );
    }
}

fn training(checkpoints: Option<&Checkpoints>) -> Mode {
    Mode::Training {
        dropout: Stream::new(1),
        checkpoints: checkpoints.cloned(),
    }
}

/// The loss of a case and its gradients.
fn gradients(
    golden: &Golden,
    model: &StableAudioTransformer,
    checkpointed: bool,
) -> (Tensor, GradStore) {
    let arguments = Arguments::new(golden, "t");
    let checkpoints = Checkpoints::default();
    let mode = training(checkpointed.then_some(&checkpoints));
    let found = model.forward(&arguments.inputs(), &mode).unwrap();
    let difference = (found - golden.tensor("target")).unwrap();
    let loss = difference.sqr().unwrap().mean_all().unwrap();
    let gradients = checkpoints.backward(&loss).unwrap();
    (loss, gradients)
}

#[test]
fn gradients_match_and_are_bit_identical_with_checkpoints() {
    for case in CASES {
        let (golden, adapter) = (golden(case), Adapter::load(case));
        let mut model = model();
        adapter.attach(&mut model, 1.0);
        let (loss, plain) = gradients(&golden, &model, false);
        assert_close("loss", &loss, &golden.tensor("loss"), TOLERANCE);
        let (_, checkpointed) = gradients(&golden, &model, true);
        for (name, variable) in adapter.variables() {
            let (plain, checkpointed) = (
                plain.get(&variable).unwrap(),
                checkpointed.get(&variable).unwrap(),
            );
            let expected = golden.tensor(&format!("grad.{name}"));
            assert_close(&name, plain, &expected, TOLERANCE);
            assert_equal(&name, checkpointed, plain);
        }
        let norm = optimizer(&adapter).gradient_norm(&plain).unwrap();
        let expected = golden.notes()["grad_norm"].as_f64().unwrap();
        assert!(
            (norm / expected - 1.0).abs() < TOLERANCE,
            "{norm} {expected}"
        );
    }
}

fn optimizer(adapter: &Adapter) -> AdamW {
    AdamW::new(adapter.variables(), AdamWOptions::default()).unwrap()
}

#[test]
fn ten_steps_follow_the_reference() {
    const LEARNING_RATE: f64 = 1e-3;
    for case in CASES {
        let (golden, adapter) = (golden(case), Adapter::load(case));
        let mut model = model();
        adapter.attach(&mut model, 1.0);
        let mut optimizer = optimizer(&adapter);
        for expected in golden.tensor("traj_loss").to_vec1::<f32>().unwrap() {
            let (loss, gradients) = gradients(&golden, &model, false);
            let found = loss.to_scalar::<f32>().unwrap();
            assert!(
                (f64::from(found / expected) - 1.0).abs() < TOLERANCE,
                "{case}: {found} {expected}"
            );
            optimizer.step(&gradients, LEARNING_RATE, 1.0).unwrap();
        }
        for (name, variable) in adapter.variables() {
            let expected = golden.tensor(&format!("traj_final.{name}"));
            assert_close(&name, variable.as_tensor(), &expected, TOLERANCE);
        }
    }
}
