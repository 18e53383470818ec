//! Stable Audio's network: masks, checkpoints, bad input. Goldens of diffusers and PEFT are cases of `parity`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use common::{fixture, golden};
use dit::stable_audio::{Inputs, StableAudioTransformer};
use nn::{Checkpoints, LoraWeights, Mode, Stream, VisitLinears};
use testing::{Golden, assert_close, assert_equal, device, pseudo_random_on};

fn model() -> StableAudioTransformer {
    let folder = fixture("b_stable_audio_dit/transformer");
    StableAudioTransformer::load_folder(&folder, &device()).unwrap()
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
fn masked_items_are_those_alone() {
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
    for arguments in [prompt, frames] {
        let found = model
            .forward(&arguments.inputs(), &Mode::Inference)
            .unwrap();
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
        global: Tensor::zeros((2, 7), DType::F32, &device()).unwrap(),
        ..Arguments::new(&golden, "t1")
    };
    let error = model.forward(&arguments.inputs(), &Mode::Inference);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("global has shape [2, 7], expected [2, 48]"),
        "{message}"
    );
}

/// A made up adapter on the attentions of both kinds: variables by layer and part.
fn attach(model: &mut StableAudioTransformer) -> Vec<(String, Var)> {
    let mut variables = Vec::new();
    model.visit_linears(&mut |linear| {
        if !linear.name().contains("to_") {
            return;
        }
        let mut factor = |part: &str, shape: [usize; 2]| {
            let seed = variables.len() as u64;
            let values = (pseudo_random_on(&shape[..], seed, &device()) * 0.2).unwrap();
            let variable = Var::from_tensor(&values).unwrap();
            variables.push((format!("{}.{part}", linear.name()), variable.clone()));
            variable.as_tensor().clone()
        };
        let (a, b) = (
            factor("a", [3, linear.in_features()]),
            factor("b", [linear.out_features(), 3]),
        );
        linear
            .attach(LoraWeights {
                a,
                b,
                scale: 2.0,
                dropout: 0.25,
            })
            .unwrap();
    });
    variables
}

fn gradients(model: &StableAudioTransformer, checkpointed: bool) -> GradStore {
    let golden = golden("d_lora_dit");
    let checkpoints = Checkpoints::default();
    let mode = Mode::Training {
        dropout: Stream::new(1),
        checkpoints: checkpointed.then(|| checkpoints.clone()),
    };
    let arguments = Arguments::new(&golden, "t");
    let found = model.forward(&arguments.inputs(), &mode).unwrap();
    let difference = (found - golden.tensor("target")).unwrap();
    let loss = difference.sqr().unwrap().mean_all().unwrap();
    checkpoints.backward(&loss).unwrap()
}

#[test]
fn gradients_are_bit_identical_with_checkpoints() {
    let mut model = model();
    let variables = attach(&mut model);
    assert!(!variables.is_empty());
    let (plain, checkpointed) = (gradients(&model, false), gradients(&model, true));
    for (name, variable) in &variables {
        let (plain, checkpointed) = (
            plain.get(variable).unwrap(),
            checkpointed.get(variable).unwrap(),
        );
        assert_equal(name, checkpointed, plain);
    }
}
