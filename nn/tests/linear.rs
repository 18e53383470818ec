//! The linear layer: gradients, adapters, dropout.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use nn::{
    Delta, Linear, LoraWeights, Magnitude, Mode, Stream, TimeInterval, WeightChange,
    WeightPrecision, Weights,
};
use testing::{assert_close, assert_equal, assert_gradients, pseudo_random};

fn adapter(a: Tensor, b: Tensor, dropout: f64) -> LoraWeights {
    LoraWeights {
        a,
        b,
        scale: 1.5,
        dropout,
    }
}

fn layer(in_features: usize, out_features: usize, bias: bool) -> Linear {
    let bias = bias.then(|| pseudo_random(out_features, 12));
    Linear::new(
        "layer",
        pseudo_random((out_features, in_features), 11),
        bias,
    )
    .unwrap()
}

fn training() -> Mode {
    Mode::Training {
        dropout: Stream::new(3),
        checkpoints: None,
    }
}

#[test]
fn forward_matches_stock_products() {
    for (batch, frames, bias) in [(1, 1, false), (2, 5, true), (1, 70, true)] {
        let (layer, x) = (layer(7, 3, bias), pseudo_random((batch, frames, 7), 1));
        let flat = x.reshape((batch * frames, 7)).unwrap();
        let mut expected = flat.matmul(&layer.weight().unwrap().t().unwrap()).unwrap();
        if let Some(bias) = layer.bias() {
            expected = expected.broadcast_add(bias).unwrap();
        }
        let expected = expected.reshape((batch, frames, 3)).unwrap();
        let found = layer.forward(&x, &Mode::Inference).unwrap();
        assert_close("linear", &found, &expected, 1e-6);
    }
}

#[test]
fn a_transposed_input_gives_the_same_result() {
    let (layer, x) = (layer(5, 3, true), pseudo_random((2, 4, 5), 1));
    let strided = x
        .transpose(1, 2)
        .unwrap()
        .contiguous()
        .unwrap()
        .transpose(1, 2)
        .unwrap();
    let expected = layer.forward(&x, &Mode::Inference).unwrap();
    assert_equal(
        "strided",
        &layer.forward(&strided, &Mode::Inference).unwrap(),
        &expected,
    );
}

#[test]
fn gradients_of_a_frozen_layer() {
    for (batch, frames) in [(1, 1), (2, 3)] {
        let layer = layer(5, 4, true);
        assert_gradients("x", &[pseudo_random((batch, frames, 5), 1)], |t| {
            layer.forward(&t[0], &Mode::Inference)
        });
    }
}

#[test]
fn gradients_of_a_trained_layer() {
    for (batch, frames) in [(1, 1), (2, 3)] {
        let inputs = [
            pseudo_random((batch, frames, 5), 1),
            pseudo_random((4, 5), 2),
            pseudo_random(4, 3),
        ];
        assert_gradients("x, W, b", &inputs, |t| {
            Linear::new("layer", t[1].clone(), Some(t[2].clone()))?.forward(&t[0], &Mode::Inference)
        });
        assert_gradients("x, W", &inputs[..2], |t| {
            Linear::new("layer", t[1].clone(), None)?.forward(&t[0], &Mode::Inference)
        });
        assert_gradients("W", &inputs[1..2], |t| {
            Linear::new("layer", t[0].clone(), None)?.forward(&inputs[0], &Mode::Inference)
        });
    }
}

#[test]
fn gradients_of_adapters_with_dropout() {
    for (batch, frames) in [(1, 1), (2, 3), (1, 17)] {
        let inputs = [
            pseudo_random((batch, frames, 5), 1),
            pseudo_random((2, 5), 2),
            pseudo_random((4, 2), 3),
            pseudo_random((3, 5), 4),
            pseudo_random((4, 3), 5),
        ];
        for mode in [Mode::Inference, training()] {
            assert_gradients("two adapters", &inputs, |t| {
                let mut layer = layer(5, 4, true);
                layer.attach(adapter(t[1].clone(), t[2].clone(), 0.25))?;
                layer.attach(adapter(t[3].clone(), t[4].clone(), 0.5))?;
                layer.forward(&t[0], &mode)
            });
        }
    }
}

#[test]
fn a_frozen_weight_gets_no_gradient() {
    let mut layer = layer(5, 4, true);
    let (a, b) = (
        Var::from_tensor(&pseudo_random((2, 5), 2)).unwrap(),
        Var::from_tensor(&pseudo_random((4, 2), 3)).unwrap(),
    );
    layer
        .attach(adapter(a.as_tensor().clone(), b.as_tensor().clone(), 0.0))
        .unwrap();
    let y = layer
        .forward(&pseudo_random((2, 3, 5), 1), &Mode::Inference)
        .unwrap();
    let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&a).is_some() && gradients.get(&b).is_some());
    assert!(
        gradients.get(&layer.weight().unwrap()).is_none()
            && gradients.get(layer.bias().unwrap()).is_none()
    );
}

#[test]
fn zero_b_changes_nothing_and_detaching_restores() {
    let (mut layer, x) = (layer(5, 4, true), pseudo_random((2, 3, 5), 1));
    let base = layer.forward(&x, &Mode::Inference).unwrap();
    let zeros = pseudo_random((4, 2), 3).zeros_like().unwrap();
    layer
        .attach(adapter(pseudo_random((2, 5), 2), zeros, 0.25))
        .unwrap();
    assert_equal(
        "zero B",
        &layer.forward(&x, &Mode::Inference).unwrap(),
        &base,
    );
    assert_equal(
        "zero B in training",
        &layer.forward(&x, &training()).unwrap(),
        &base,
    );
    layer
        .attach(adapter(
            pseudo_random((2, 5), 2),
            pseudo_random((4, 2), 3),
            0.0,
        ))
        .unwrap();
    assert!(
        testing::compare(
            "on",
            &layer.forward(&x, &Mode::Inference).unwrap(),
            &base,
            1e-3
        )
        .is_err()
    );
    layer.detach_all();
    assert_equal(
        "detached",
        &layer.forward(&x, &Mode::Inference).unwrap(),
        &base,
    );
}

#[test]
fn merging_equals_attaching() {
    let (mut layer, x) = (layer(5, 4, true), pseudo_random((2, 3, 5), 1));
    for seed in [2, 4] {
        layer
            .attach(adapter(
                pseudo_random((2, 5), seed),
                pseudo_random((4, 2), seed + 1),
                0.25,
            ))
            .unwrap();
    }
    let attached = layer.forward(&x, &Mode::Inference).unwrap();
    let before = layer.clone();
    layer.merge().unwrap();
    assert!(layer.adapters().len() == 0);
    assert_close(
        "merged",
        &layer.forward(&x, &Mode::Inference).unwrap(),
        &attached,
        1e-6,
    );
    assert_equal(
        "a copy",
        &before.forward(&x, &Mode::Inference).unwrap(),
        &attached,
    );
}

#[test]
fn dropout_acts_on_the_adapter_alone_and_keeps_the_mean() {
    let (mut layer, x) = (layer(5, 4, true), pseudo_random((1, 2, 5), 1));
    layer
        .attach(adapter(
            pseudo_random((2, 5), 2),
            pseudo_random((4, 2), 3),
            0.25,
        ))
        .unwrap();
    let without = layer.forward(&x, &Mode::Inference).unwrap();
    let runs = 4000;
    let at = |step: u64| {
        let mode = Mode::Training {
            dropout: Stream::new(9).at(step),
            checkpoints: None,
        };
        layer.forward(&x, &mode).unwrap()
    };
    assert_equal("same step", &at(5), &at(5));
    assert!(testing::compare("other step", &at(5), &at(6), 1e-6).is_err());
    let mut sum = at(0);
    for step in 1..runs {
        sum = (sum + at(step)).unwrap();
    }
    assert_close("mean", &(sum / runs as f64).unwrap(), &without, 0.03);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let mut layer = layer(5, 4, true);
    for (a, b) in [((2, 4), (4, 2)), ((2, 5), (3, 2)), ((2, 5), (4, 3))] {
        let error = layer
            .attach(adapter(pseudo_random(a, 1), pseudo_random(b, 2), 0.0))
            .unwrap_err();
        assert!(error.to_string().contains("layer: adapter A"), "{error}");
    }
    let fitting = adapter(pseudo_random((2, 5), 1), pseudo_random((4, 2), 2), 1.0);
    assert!(layer.attach(fitting).is_err());
    assert!(
        layer
            .forward(&pseudo_random((2, 3, 4), 1), &Mode::Inference)
            .is_err()
    );
}

const PRECISIONS: [WeightPrecision; 5] = [
    WeightPrecision::F32,
    WeightPrecision::F16,
    WeightPrecision::Bf16,
    WeightPrecision::Int8,
    WeightPrecision::Nf4,
];

/// Sizes with whole and broken tiles and blocks.
const SIZES: [(usize, usize); 4] = [(5, 3), (64, 16), (130, 33), (700, 530)];

#[test]
fn stored_weights_multiply_as_they_are_when_widened() {
    for precision in PRECISIONS {
        for (in_features, out_features) in SIZES {
            for batch in [1, 2] {
                let mut layer = layer(in_features, out_features, true);
                layer.store(precision).unwrap();
                let x = pseudo_random((batch, 7, in_features), 3);
                let found = layer.forward(&x, &Mode::Inference).unwrap();
                let plain = Linear::new("x", layer.weight().unwrap(), layer.bias().cloned());
                let expected = plain.unwrap().forward(&x, &Mode::Inference).unwrap();
                let name = format!("{precision:?} {in_features} {out_features} {batch}");
                assert_close(&name, &found, &expected, 1e-5);
            }
        }
    }
}

#[test]
fn gradients_through_stored_weights() {
    for precision in PRECISIONS {
        for batch in [1, 2] {
            let (in_features, out_features) = (67, 5);
            let tensors = [
                pseudo_random((batch, 3, in_features), 3),
                pseudo_random((2, in_features), 4),
                pseudo_random((out_features, 2), 5),
            ];
            assert_gradients(&format!("{precision:?} {batch}"), &tensors, |t| {
                let mut layer = layer(in_features, out_features, true);
                layer.store(precision)?;
                layer.attach(adapter(t[1].clone(), t[2].clone(), 0.0))?;
                layer.forward(&t[0], &Mode::Inference)
            });
        }
    }
}

#[test]
fn large_gradients_through_stored_weights_equal_those_through_the_widened_weight() {
    for precision in PRECISIONS {
        let mut stored = layer(700, 530, false);
        stored.store(precision).unwrap();
        let plain = Linear::new("x", stored.weight().unwrap(), None).unwrap();
        let x = Var::from_tensor(&pseudo_random((2, 9, 700), 3)).unwrap();
        let gradient = |layer: &Linear| {
            let y = layer.forward(&x, &Mode::Inference).unwrap();
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            gradients.get(&x).unwrap().clone()
        };
        let name = format!("{precision:?}");
        assert_close(&name, &gradient(&stored), &gradient(&plain), 1e-5);
    }
}

#[test]
fn storing_rounds_as_much_as_the_precision_says() {
    let relative = [0.0, 5e-4, 4e-3, 4e-3, 0.16];
    for (precision, relative) in PRECISIONS.into_iter().zip(relative) {
        let mut layer = layer(130, 33, false);
        let before = layer.weight().unwrap();
        layer.store(precision).unwrap();
        let difference = (layer.weight().unwrap() - &before).unwrap().abs().unwrap();
        let largest = |t: &Tensor| t.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>();
        let (worst, peak) = (
            largest(&difference).unwrap(),
            largest(&before.abs().unwrap()).unwrap(),
        );
        assert!(worst <= relative * peak, "{precision:?}: {worst} of {peak}");
        assert_eq!(worst == 0.0, precision == WeightPrecision::F32);
    }
}

#[test]
fn weights_are_kept_as_the_file_is_opened() {
    let tensors = HashMap::from([("layer.weight".to_string(), pseudo_random((4, 70), 1))]);
    for precision in PRECISIONS {
        let weights = Weights::from_tensors(tensors.clone(), "test").in_precision(precision);
        let loaded = Linear::load(&weights.root().pp("layer"), 70, 4, false).unwrap();
        let mut stored = Linear::new("x", tensors["layer.weight"].clone(), None).unwrap();
        stored.store(precision).unwrap();
        assert_equal(
            "weight",
            &loaded.weight().unwrap(),
            &stored.weight().unwrap(),
        );
    }
}

#[test]
fn what_does_not_fit_f16_is_named() {
    let tensors = HashMap::from([(
        "layer.weight".to_string(),
        Tensor::new(&[[1f32, 1e5]], &Device::Cpu).unwrap(),
    )]);
    let weights = Weights::from_tensors(tensors, "big.safetensors");
    let weights = weights.in_precision(WeightPrecision::F16);
    let error = Linear::load(&weights.root().pp("layer"), 2, 1, false).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(
        text.contains("layer.weight") && text.contains("bf16"),
        "{text}"
    );
}

#[test]
fn a_trained_weight_is_not_stored_in_fewer_bits() {
    let weight = Var::from_tensor(&pseudo_random((2, 3), 1)).unwrap();
    let mut layer = Linear::new("x", weight.as_tensor().clone(), None).unwrap();
    assert!(layer.store(WeightPrecision::Int8).is_err());
}

fn kronecker(scale: f64, strength: f64, magnitude: Option<Magnitude>) -> WeightChange {
    WeightChange {
        delta: Delta::Kronecker {
            outer: pseudo_random((2, 3), 21),
            inner: pseudo_random((2, 2), 22),
        },
        scale,
        magnitude,
        strength,
    }
}

fn low_rank(scale: f64, strength: f64, magnitude: Option<Magnitude>) -> WeightChange {
    let delta = Delta::LowRank {
        a: pseudo_random((2, 6), 23),
        b: pseudo_random((4, 2), 24),
    };
    WeightChange {
        delta,
        ..kronecker(scale, strength, magnitude)
    }
}

/// What a change must do, straight from its definition.
fn changed_weight(weight: &Tensor, change: &WeightChange) -> Tensor {
    let values = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
    let weight = values(weight);
    let at = |row: usize, column: usize| -> f64 {
        let direction = match &change.delta {
            Delta::LowRank { a, b } => (0..2)
                .map(|k| f64::from(values(b)[row][k]) * f64::from(values(a)[k][column]))
                .sum::<f64>(),
            Delta::Kronecker { outer, inner } => {
                f64::from(values(outer)[row / 2][column / 2])
                    * f64::from(values(inner)[row % 2][column % 2])
            }
        };
        f64::from(weight[row][column]) + change.scale * direction
    };
    let gain = |row: usize, column: usize| match &change.magnitude {
        None => 1.0,
        Some(Magnitude::OfOutputs(lengths)) => {
            let norm = (0..6).map(|column| at(row, column).powi(2)).sum::<f64>();
            f64::from(lengths.to_vec1::<f32>().unwrap()[row]) / norm.sqrt()
        }
        Some(Magnitude::OfInputs(lengths)) => {
            let norm = (0..4).map(|row| at(row, column).powi(2)).sum::<f64>();
            f64::from(lengths.to_vec1::<f32>().unwrap()[column]) / norm.sqrt()
        }
    };
    let mut flat = Vec::new();
    for (row, values) in weight.iter().enumerate() {
        for (column, &base) in values.iter().enumerate() {
            let moved = at(row, column) * gain(row, column) - f64::from(base);
            flat.push((f64::from(base) + change.strength * moved) as f32);
        }
    }
    Tensor::from_vec(flat, (4, 6), &Device::Cpu).unwrap()
}

#[test]
fn changes_are_what_their_definition_says() {
    let of_outputs = Some(Magnitude::OfOutputs(pseudo_random(4, 31)));
    let of_inputs = Some(Magnitude::OfInputs(pseudo_random(6, 32)));
    for make in [kronecker, low_rank] {
        for magnitude in [&None, &of_outputs, &of_inputs] {
            for (strength, batch, bias) in [(1.0, 1, true), (0.4, 2, false), (-2.0, 2, true)] {
                let change = make(1.5, strength, magnitude.clone());
                let mut layer = layer(6, 4, bias);
                let weight = changed_weight(&layer.weight().unwrap(), &change);
                let expected = Linear::new("expected", weight, layer.bias().cloned()).unwrap();
                layer.attach_change(change).unwrap();
                let x = pseudo_random((batch, 3, 6), 1);
                let expected = expected.forward(&x, &Mode::Inference).unwrap();
                let attached = layer.forward(&x, &Mode::Inference).unwrap();
                assert_close("attached", &attached, &expected, 1e-5);
                layer.merge().unwrap();
                let merged = layer.forward(&x, &Mode::Inference).unwrap();
                assert_close("merged", &merged, &expected, 1e-5);
            }
        }
    }
}

#[test]
fn changes_of_strength_zero_leave_every_bit() {
    let x = pseudo_random((2, 3, 6), 1);
    let expected = layer(6, 4, true).forward(&x, &Mode::Inference).unwrap();
    let mut layer = layer(6, 4, true);
    let magnitude = Some(Magnitude::OfOutputs(pseudo_random(4, 31)));
    layer.attach_change(low_rank(1.5, 0.0, magnitude)).unwrap();
    layer.attach_change(kronecker(1.5, 0.0, None)).unwrap();
    let found = layer.forward(&x, &Mode::Inference).unwrap();
    assert_equal("strength 0", &found, &expected);
}

/// Changes and adapters are all taken from the base, so merging them at once is the sum of what each alone does.
#[test]
fn changes_and_adapters_add_up() {
    let x = pseudo_random((2, 3, 6), 1);
    let magnitude = Some(Magnitude::OfOutputs(pseudo_random(4, 31)));
    let mut all = layer(6, 4, true);
    all.attach(adapter(
        pseudo_random((2, 6), 41),
        pseudo_random((4, 2), 42),
        0.0,
    ))
    .unwrap();
    all.attach_change(low_rank(1.5, 0.5, magnitude.clone()))
        .unwrap();
    all.attach_change(kronecker(0.5, 1.0, None)).unwrap();
    let base = layer(6, 4, true).forward(&x, &Mode::Inference).unwrap();
    let mut expected = base.clone();
    for part in 0..3 {
        let mut one = layer(6, 4, true);
        match part {
            0 => one
                .attach(adapter(
                    pseudo_random((2, 6), 41),
                    pseudo_random((4, 2), 42),
                    0.0,
                ))
                .unwrap(),
            1 => one
                .attach_change(low_rank(1.5, 0.5, magnitude.clone()))
                .unwrap(),
            _ => one.attach_change(kronecker(0.5, 1.0, None)).unwrap(),
        }
        let alone = one.forward(&x, &Mode::Inference).unwrap();
        expected = ((expected + alone).unwrap() - &base).unwrap();
    }
    let attached = all.forward(&x, &Mode::Inference).unwrap();
    assert_close("attached", &attached, &expected, 1e-5);
    all.merge().unwrap();
    assert!(all.adapters().len() == 0 && all.changes().len() == 0);
    let merged = all.forward(&x, &Mode::Inference).unwrap();
    assert_close("merged", &merged, &expected, 1e-5);
}

#[test]
fn a_change_of_other_sizes_names_the_layer() {
    let mut layer = layer(6, 4, true);
    let error = layer
        .attach_change(kronecker(
            1.0,
            1.0,
            Some(Magnitude::OfInputs(pseudo_random(5, 1))),
        ))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("layer") && text.contains("5 magnitudes for 6"),
        "{text}"
    );
    let mut small = Linear::new("small", pseudo_random((4, 5), 1), None).unwrap();
    let text = small
        .attach_change(kronecker(1.0, 1.0, None))
        .unwrap_err()
        .to_string();
    assert!(text.contains("small") && text.contains("(4, 6)"), "{text}");
}

#[test]
fn adapters_act_at_their_times_and_always_where_there_is_no_time() {
    let times = |from, to| TimeInterval::new(from, to).unwrap();
    let x = pseudo_random((2, 3, 6), 1);
    let lora = || adapter(pseudo_random((2, 6), 2), pseudo_random((4, 2), 3), 0.0);
    let lokr = || kronecker(1.5, 0.7, None);
    let at = |layer: &Linear, time| layer.forward(&x, &Mode::Sampling { time }).unwrap();
    let base = layer(6, 4, true);
    let mut always = base.clone();
    always.attach(lora()).unwrap();
    always.attach_change(lokr()).unwrap();
    let mut halves = base.clone();
    let mut late = base.clone();
    let mut never = base.clone();
    for (from, to) in [(0.0, 0.5), (0.5, 1.0)] {
        halves.attach_during(lora(), times(from, to)).unwrap();
        halves
            .attach_change_during(lokr(), times(from, to))
            .unwrap();
    }
    late.attach_during(lora(), times(0.5, 1.0)).unwrap();
    late.attach_change_during(lokr(), times(0.5, 1.0)).unwrap();
    never.attach_during(lora(), times(0.5, 0.5)).unwrap();
    for time in [0.0, 0.3, 0.5, 0.9, 1.0] {
        assert_equal(
            "always",
            &at(&always, time),
            &always.forward(&x, &Mode::Inference).unwrap(),
        );
        assert_equal("halves", &at(&halves, time), &at(&always, time));
        assert_equal("never", &at(&never, time), &at(&base, time));
        let expected = if time < 0.5 { &base } else { &always };
        assert_equal("late", &at(&late, time), &at(expected, time));
    }
    assert_equal(
        "without a time",
        &late.forward(&x, &Mode::Inference).unwrap(),
        &at(&always, 0.0),
    );
    assert!(late.differs_between(0.3, 0.5) && !late.differs_between(0.5, 0.9));
    assert!(!always.differs_between(0.0, 1.0) && !never.differs_between(0.4, 0.5));
    let error = late.merge().unwrap_err().to_string();
    assert!(
        error.contains("0.5-1") && error.contains("layer"),
        "{error}"
    );
    assert_equal("kept", &at(&late, 0.9), &at(&always, 0.9));
}
