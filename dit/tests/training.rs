//! LoRA training against the reference: losses, gradients, trajectories.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use common::{Arguments, TOLERANCE, fixture, for_targets, golden, model, tokens};
use dit::diffrhythm::{DiffusionTransformer, Drops, Presence};
use dit::flow::{interpolate, masked_loss, velocity};
use nn::{AdamW, AdamWOptions, LoraWeights, Mode, clip_factor};
use std::collections::HashMap;
use testing::{Golden, assert_close};

struct Trained {
    model: DiffusionTransformer,
    /// A `[rank, in]` and B `[out, rank]` of each target, under the reference's name of the layer.
    adapters: Vec<(String, Var, Var)>,
}

/// The golden's model with the golden's adapter attached.
fn adapted(causal: bool) -> Trained {
    let file: HashMap<String, Tensor> =
        testing::golden::load(&fixture("dr_train").join("peft/adapter_model.safetensors"));
    let mut model = model("dr_dit", causal);
    let mut adapters = Vec::new();
    for_targets(&mut model, |linear| {
        let name = linear.name().to_string();
        let get = |part: &str| {
            Var::from_tensor(&file[&format!("base_model.model.{name}.{part}.weight")]).unwrap()
        };
        let (a, b) = (get("lora_A"), get("lora_B"));
        linear
            .attach(LoraWeights {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scale: 2.0,
                dropout: 0.0,
            })
            .unwrap();
        adapters.push((name, a, b));
    });
    assert_eq!(
        2 * adapters.len(),
        file.len(),
        "every tensor of the adapter is attached"
    );
    Trained { model, adapters }
}

fn arguments(golden: &Golden, drops: Drops) -> Arguments {
    let (noise, latent) = (golden.tensor("in.noise"), golden.tensor("in.latent"));
    let time = golden.tensor("in.time_sigmoid");
    Arguments {
        x: interpolate(&noise, &latent, &time).unwrap(),
        audio_condition: latent.zeros_like().unwrap(),
        text: tokens(golden, "in.text"),
        style: golden.tensor("in.style"),
        time,
        start_time: golden.tensor("in.start_time"),
        duration: None,
        drops,
    }
}

fn loss(golden: &Golden, model: &DiffusionTransformer, drops: Drops) -> (Tensor, Tensor) {
    let prediction = model
        .forward(&arguments(golden, drops).inputs(), &Mode::Inference)
        .unwrap();
    let target = velocity(&golden.tensor("in.noise"), &golden.tensor("in.latent")).unwrap();
    let valid: Vec<usize> = golden
        .tensor("in.lens")
        .to_vec1::<i64>()
        .unwrap()
        .into_iter()
        .map(|frames| frames as usize)
        .collect();
    let loss = masked_loss(&prediction, &target, Some(&valid)).unwrap();
    (prediction, loss)
}

fn kinds() -> [(&'static str, bool); 2] {
    [("causal", true), ("noncausal", false)]
}

#[test]
fn losses_match_for_every_drop() {
    let golden = golden("dr_train");
    let drop = Presence::Dropped;
    for (kind, causal) in kinds() {
        let model = adapted(causal).model;
        let all = Drops {
            audio: drop.clone(),
            text: drop.clone(),
            style: drop.clone(),
        };
        let cases = [
            ("none", Drops::default()),
            (
                "audio",
                Drops {
                    audio: drop.clone(),
                    ..Drops::default()
                },
            ),
            (
                "text",
                Drops {
                    text: drop.clone(),
                    ..Drops::default()
                },
            ),
            (
                "prompt",
                Drops {
                    style: drop.clone(),
                    ..Drops::default()
                },
            ),
            ("all", all),
        ];
        assert_eq!(golden.names(&format!("{kind}.loss.")).len(), cases.len());
        for (name, drops) in cases {
            let (prediction, loss) = loss(&golden, &model, drops);
            let expected = golden.tensor(&format!("{kind}.loss.{name}"));
            assert_close(&format!("{kind} loss {name}"), &loss, &expected, TOLERANCE);
            if name == "none" {
                let expected = golden.tensor(&format!("{kind}.pred.none"));
                assert_close(
                    &format!("{kind} prediction"),
                    &prediction,
                    &expected,
                    TOLERANCE,
                );
            }
        }
    }
}

/// The reference's A is `[in, rank]` and its B `[rank, out]`.
fn stored(golden: &Golden, name: &str) -> Tensor {
    golden.tensor(name).t().unwrap().contiguous().unwrap()
}

#[test]
fn gradients_match() {
    let golden = golden("dr_train");
    for (kind, causal) in kinds() {
        let Trained { model, adapters } = adapted(causal);
        let gradients = loss(&golden, &model, Drops::default())
            .1
            .backward()
            .unwrap();
        let mut compared = 0;
        for (layer, a, b) in &adapters {
            for (part, var) in [("lora_A", a), ("lora_B", b)] {
                let name = format!("{kind}.grad.{layer}.{part}");
                if !golden.contains(&name) {
                    continue; // only some layers are stored for the second kind
                }
                let found = gradients.get(var.as_tensor()).unwrap();
                assert_close(&name, found, &stored(&golden, &name), TOLERANCE);
                compared += 1;
            }
        }
        assert_eq!(compared, golden.names(&format!("{kind}.grad.")).len());
        let norm = optimizer(&adapters).gradient_norm(&gradients).unwrap();
        let expected = golden.notes()["grad_norm"][kind].as_f64().unwrap();
        assert!(
            (norm / expected - 1.0).abs() < TOLERANCE,
            "{kind}: {norm} {expected}"
        );
    }
}

fn optimizer(adapters: &[(String, Var, Var)]) -> AdamW {
    let vars = adapters.iter().flat_map(|(name, a, b)| {
        [
            (format!("{name}.lora_A"), a.clone()),
            (format!("{name}.lora_B"), b.clone()),
        ]
    });
    AdamW::new(vars.collect(), AdamWOptions::default()).unwrap()
}

fn scalar(loss: &Tensor) -> f64 {
    f64::from(
        loss.to_dtype(DType::F32)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap(),
    )
}

#[test]
fn ten_steps_follow_the_reference() {
    let golden = golden("dr_train");
    for (kind, causal) in kinds() {
        for clip in [0.0, 1.0] {
            let Trained { model, adapters } = adapted(causal);
            let mut optimizer = optimizer(&adapters);
            let run = &golden.notes()["trajectory"][format!("{kind}.clip{clip:.1}")];
            let series = |key: &str| serde_json::from_value::<Vec<f64>>(run[key].clone()).unwrap();
            let (losses, rates, norms) = (series("loss"), series("lr_used"), series("grad_norm"));
            for (step, &rate) in rates.iter().enumerate() {
                let (_, loss) = loss(&golden, &model, Drops::default());
                let gradients: GradStore = loss.backward().unwrap();
                let norm = optimizer.gradient_norm(&gradients).unwrap();
                for (what, found, expected) in [
                    ("loss", scalar(&loss), losses[step]),
                    ("norm", norm, norms[step]),
                ] {
                    let relative = (found / expected - 1.0).abs();
                    assert!(
                        relative < TOLERANCE,
                        "{kind} clip {clip} step {step}: {what} {found}, expected {expected}"
                    );
                }
                optimizer
                    .step(&gradients, rate, clip_factor(norm, clip))
                    .unwrap();
            }
            if clip == 1.0 {
                check_final(&golden, kind, &adapters);
            }
        }
    }
}

fn check_final(golden: &Golden, kind: &str, adapters: &[(String, Var, Var)]) {
    for (layer, a, b) in adapters {
        for (part, var) in [("lora_A", a), ("lora_B", b)] {
            let name = format!("{kind}.final.{layer}.{part}");
            if golden.contains(&name) {
                assert_close(&name, var.as_tensor(), &stored(golden, &name), TOLERANCE);
            }
        }
    }
}

/// The adapted model at time 0.4, given clean latents.
#[test]
fn adapted_outputs_match() {
    let golden = golden("dr_train");
    for (kind, causal) in kinds() {
        let mut call = arguments(&golden, Drops::default()).item(0);
        call.x = golden.tensor("in.latent").narrow(0, 0, 1).unwrap();
        call.time = Tensor::new(&[0.4f32], call.x.device()).unwrap();
        let found = adapted(causal)
            .model
            .forward(&call.inputs(), &Mode::Inference)
            .unwrap();
        let name = format!("{kind}.lora_out_t0.4");
        assert_close(&name, &found, &golden.tensor(&name), TOLERANCE);
    }
}
