//! What holds for every size: batches, causality, drops, and the adapter contract.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::{Tensor, Var};
use common::{Arguments, for_targets, is_target};
use dit::diffrhythm::{Config, DiffusionTransformer, Drops, Presence};
use nn::{Linear, LoraWeights, Mode, Stream, VisitLinears, Weights};
use std::collections::{BTreeMap, HashMap};
use testing::{assert_close, assert_equal, device, pseudo_random_on};

/// The embedded base's proportions, smaller.
fn config(causal: bool) -> Config {
    let text = format!(
        r#"{{ "dim": 32, "depth": 3, "ff_mult": 3, "text_dim": 16, "conv_layers": 1, "mel_dim": 6,
        "text_num_embeds": 48, "cond_dim": 16, "attention_heads": 2, "causal": {causal} }}"#
    );
    Config::from_json(&text).unwrap()
}

/// Made up weights under the reference's names.
fn tensors(config: &Config) -> HashMap<String, Tensor> {
    let Config {
        dim,
        cond_dim,
        text_dim,
        mel_dim,
        ..
    } = *config;
    let inner = config.ff_mult * dim;
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut linear = |name: String, out: usize, width: usize, bias: bool| {
        shapes.push((format!("{name}.weight"), vec![out, width]));
        if bias {
            shapes.push((format!("{name}.bias"), vec![out]));
        }
    };
    for time in ["time_embed", "start_time_embed"] {
        linear(format!("{time}.time_mlp.0"), cond_dim, 256, true);
        linear(format!("{time}.time_mlp.2"), cond_dim, cond_dim, true);
    }
    for block in 0..config.conv_layers {
        linear(
            format!("text_embed.text_blocks.{block}.pwconv1"),
            2 * text_dim,
            text_dim,
            true,
        );
        linear(
            format!("text_embed.text_blocks.{block}.pwconv2"),
            text_dim,
            2 * text_dim,
            true,
        );
    }
    linear(
        "input_embed.proj".into(),
        dim,
        2 * mel_dim + text_dim + 2 * cond_dim,
        true,
    );
    for block in 0..config.depth {
        let scope = format!("transformer_blocks.{block}");
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            linear(format!("{scope}.self_attn.{name}"), dim, dim, false);
        }
        linear(format!("{scope}.mlp.gate_proj"), inner, dim, false);
        linear(format!("{scope}.mlp.up_proj"), inner, dim, false);
        linear(format!("{scope}.mlp.down_proj"), dim, inner, false);
    }
    for block in 0..config.depth / 2 {
        linear(
            format!("text_fusion_linears.{block}.0"),
            dim,
            cond_dim,
            true,
        );
    }
    linear("norm_out.linear".into(), 2 * dim, cond_dim, true);
    linear("proj_out".into(), mel_dim, dim, true);
    shapes.push((
        "text_embed.text_embed.weight".into(),
        vec![config.text_num_embeds + 1, text_dim],
    ));
    for block in 0..config.conv_layers {
        let scope = format!("text_embed.text_blocks.{block}");
        shapes.push((format!("{scope}.dwconv.weight"), vec![text_dim, 1, 7]));
        shapes.push((format!("{scope}.grn.gamma"), vec![1, 1, 2 * text_dim]));
        shapes.push((format!("{scope}.grn.beta"), vec![1, 1, 2 * text_dim]));
        for name in ["dwconv.bias", "norm.weight", "norm.bias"] {
            shapes.push((format!("{scope}.{name}"), vec![text_dim]));
        }
    }
    for name in ["0", "2"] {
        let scope = format!("input_embed.conv_pos_embed.conv1d.{name}");
        shapes.push((format!("{scope}.weight"), vec![dim, dim / 16, 31]));
        shapes.push((format!("{scope}.bias"), vec![dim]));
    }
    for block in 0..config.depth {
        for name in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((
                format!("transformer_blocks.{block}.{name}.weight"),
                vec![dim],
            ));
        }
    }
    let noise = Stream::new(1);
    let value = |name: &str, shape: Vec<usize>| {
        let spread = 1.0 / (shape[1..].iter().product::<usize>() as f64).sqrt();
        (noise.named(name).normal(shape, &device()).unwrap() * spread).unwrap()
    };
    shapes
        .into_iter()
        .map(|(name, shape)| (name.clone(), value(&name, shape)))
        .collect()
}

fn load(causal: bool) -> DiffusionTransformer {
    let config = config(causal);
    let weights = Weights::from_tensors(tensors(&config), "made up");
    let model = DiffusionTransformer::load(&config, &weights.root()).unwrap();
    weights.finish().unwrap();
    model
}

fn run(model: &DiffusionTransformer, arguments: &Arguments) -> Tensor {
    model
        .forward(&arguments.inputs(), &Mode::Inference)
        .unwrap()
}

/// Attaches adapters to all targets; B is zero or not.
fn attach(model: &mut DiffusionTransformer, zero: bool, dropout: f64) -> BTreeMap<String, Var> {
    let mut vars = BTreeMap::new();
    for_targets(model, |linear| {
        let noise = Stream::new(2).named(linear.name());
        let normal = |part: &str, shape: (usize, usize)| {
            (noise.named(part).normal(shape, &device()).unwrap() * 0.2).unwrap()
        };
        let a = Var::from_tensor(&normal("a", (4, linear.in_features()))).unwrap();
        let b = normal("b", (linear.out_features(), 4));
        let b = Var::from_tensor(&if zero { b.zeros_like().unwrap() } else { b }).unwrap();
        linear
            .attach(LoraWeights {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scale: 2.0,
                dropout,
            })
            .unwrap();
        vars.insert(format!("{}.a", linear.name()), a);
        vars.insert(format!("{}.b", linear.name()), b);
    });
    vars
}

#[test]
fn a_batch_equals_its_items() {
    for causal in [false, true] {
        let model = load(causal);
        let mut arguments = Arguments::example(model.config(), 2, 19);
        for drops in [
            Drops::default(),
            Drops {
                audio: Presence::Dropped,
                text: Presence::Dropped,
                style: Presence::Dropped,
            },
        ] {
            arguments.drops = drops;
            let together = run(&model, &arguments);
            for item in 0..2 {
                let alone = run(&model, &arguments.item(item));
                assert_close("item", &together.narrow(0, item, 1).unwrap(), &alone, 1e-5);
            }
        }
    }
}

#[test]
fn conditions_are_dropped_item_by_item() {
    let model = load(false);
    let whole = Arguments::example(model.config(), 2, 19);
    let base = run(&model, &whole);
    let second = Presence::DroppedFor(vec![false, true]);
    let cases = [
        Drops {
            audio: second.clone(),
            ..Drops::default()
        },
        Drops {
            text: second.clone(),
            ..Drops::default()
        },
        Drops {
            style: second.clone(),
            ..Drops::default()
        },
    ];
    for drops in cases {
        let mixed = run(
            &model,
            &Arguments {
                drops: drops.clone(),
                ..whole.clone()
            },
        );
        let all = |presence: Presence| {
            if presence == second {
                Presence::Dropped
            } else {
                Presence::Kept
            }
        };
        let dropped = Drops {
            audio: all(drops.audio),
            text: all(drops.text),
            style: all(drops.style),
        };
        let dropped = run(
            &model,
            &Arguments {
                drops: dropped,
                ..whole.clone()
            },
        );
        let item = |t: &Tensor, item| t.narrow(0, item, 1).unwrap();
        assert_close("kept", &item(&mixed, 0), &item(&base, 0), 1e-6);
        assert_close("dropped", &item(&mixed, 1), &item(&dropped, 1), 1e-6);
        assert!(testing::compare("effect", &item(&mixed, 1), &item(&base, 1), 1e-3).is_err());
    }
    let wrong = Drops {
        text: Presence::DroppedFor(vec![true]),
        ..Drops::default()
    };
    assert!(
        model
            .forward(
                &Arguments {
                    drops: wrong,
                    ..whole
                }
                .inputs(),
                &Mode::Inference
            )
            .is_err()
    );
}

/// The positional convolution reaches 15 frames each way in both of its layers, so attention alone is causal: frames
/// earlier than a change by more than 30 do not notice it, unless attention looks ahead.
#[test]
fn causal_attention_leaves_early_frames_alone() {
    for causal in [true, false] {
        let model = load(causal);
        let arguments = Arguments::example(model.config(), 1, 60);
        let mut changed = arguments.clone();
        let late = pseudo_random_on((1, 5, 6), 9, &device());
        changed.x = Tensor::cat(&[&arguments.x.narrow(1, 0, 55).unwrap(), &late], 1).unwrap();
        let early = |t: Tensor| t.narrow(1, 0, 25).unwrap();
        let (one, other) = (early(run(&model, &arguments)), early(run(&model, &changed)));
        assert_eq!(
            testing::compare("early frames", &one, &other, 1e-7).is_ok(),
            causal
        );
    }
}

#[test]
fn an_adapter_without_b_has_no_effect() {
    let mut model = load(false);
    let arguments = Arguments::example(model.config(), 2, 19);
    let base = run(&model, &arguments);
    attach(&mut model, true, 0.25);
    assert_equal("attached", &run(&model, &arguments), &base);
    let training = Mode::Training {
        dropout: Stream::new(1),
        checkpoints: None,
    };
    assert_equal(
        "training",
        &model.forward(&arguments.inputs(), &training).unwrap(),
        &base,
    );
}

/// Candle itself keeps gradients of constants that were added to something; they are tensors of no layer.
#[test]
fn gradients_reach_all_of_the_adapter_and_nothing_else() {
    let config = config(false);
    let base = tensors(&config);
    let weights = Weights::from_tensors(base.clone(), "made up");
    let mut model = DiffusionTransformer::load(&config, &weights.root()).unwrap();
    let vars = attach(&mut model, false, 0.25);
    let arguments = Arguments::example(&config, 2, 19);
    let mode = Mode::Training {
        dropout: Stream::new(1),
        checkpoints: None,
    };
    let loss = model
        .forward(&arguments.inputs(), &mode)
        .unwrap()
        .sqr()
        .unwrap()
        .mean_all()
        .unwrap();
    let gradients = loss.backward().unwrap();
    for (name, var) in &vars {
        let gradient = gradients
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        let most = gradient
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(most > 0.0 && most.is_finite(), "{name}: {most}");
    }
    for (name, tensor) in &base {
        assert!(
            gradients.get(tensor).is_none(),
            "{name} is frozen and has a gradient"
        );
    }
}

#[test]
fn merging_equals_attaching() {
    let mut model = load(true);
    let arguments = Arguments::example(model.config(), 2, 19);
    let base = run(&model, &arguments);
    attach(&mut model, false, 0.25);
    attach(&mut model, false, 0.0);
    let attached = run(&model, &arguments);
    assert!(testing::compare("effect", &attached, &base, 1e-2).is_err());
    let mut merged = 0;
    model.visit_linears(&mut |linear: &mut Linear| {
        merged += linear.adapters().len();
        linear.merge().unwrap();
    });
    assert_eq!(merged, 2 * (3 * 4 + 4 + 2));
    assert_close("merged", &run(&model, &arguments), &attached, 1e-5);
}

#[test]
fn detaching_restores_the_base() {
    let mut model = load(true);
    let arguments = Arguments::example(model.config(), 1, 7);
    let base = run(&model, &arguments);
    attach(&mut model, false, 0.25);
    model.visit_linears(&mut |linear| linear.detach_all());
    assert_equal("detached", &run(&model, &arguments), &base);
}

#[test]
fn every_linear_is_visited_once_under_its_full_name() {
    let config = config(false);
    let base = tensors(&config);
    let mut model = load(false);
    let mut names = Vec::new();
    model.visit_linears(&mut |linear| {
        let weight = &base[&format!("{}.weight", linear.name())];
        assert_eq!(
            weight.dims(),
            [linear.out_features(), linear.in_features()],
            "{}",
            linear.name()
        );
        names.push(linear.name().to_string());
    });
    let mut expected: Vec<String> = base
        .iter()
        .filter(|(_, tensor)| tensor.rank() == 2)
        .filter_map(|(name, _)| name.strip_suffix(".weight").map(str::to_string))
        .filter(|name| name != "text_embed.text_embed")
        .collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(
        names.iter().filter(|name| is_target(name)).count(),
        3 * 4 + 4 + 2
    );
}

#[test]
fn a_base_made_of_variables_can_be_trained() {
    let config = config(false);
    let vars: HashMap<String, Var> = tensors(&config)
        .into_iter()
        .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
        .collect();
    let base = vars
        .iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect();
    let weights = Weights::from_tensors(base, "variables");
    let model = DiffusionTransformer::load(&config, &weights.root()).unwrap();
    let loss = run(&model, &Arguments::example(&config, 2, 19))
        .sqr()
        .unwrap()
        .mean_all()
        .unwrap();
    let gradients = loss.backward().unwrap();
    for (name, var) in &vars {
        let gradient = gradients
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(gradient.dims(), var.dims(), "{name}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let model = load(false);
    let arguments = Arguments::example(model.config(), 2, 19);
    let fails = |arguments: Arguments, expected: &str| {
        let message = model
            .forward(&arguments.inputs(), &Mode::Inference)
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    };
    let cut = |t: &Tensor| t.narrow(0, 0, 1).unwrap();
    fails(
        Arguments {
            style: cut(&arguments.style),
            ..arguments.clone()
        },
        "style has shape [1, 16], expected [2, 16]",
    );
    fails(
        Arguments {
            time: cut(&arguments.time),
            ..arguments.clone()
        },
        "time has shape [1]",
    );
    let unknown = Tensor::full(49u32, (2, 19), &device()).unwrap();
    fails(
        Arguments {
            text: unknown,
            ..arguments
        },
        "token 49, the model knows 0 to 48",
    );
}
