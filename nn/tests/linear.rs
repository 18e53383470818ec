//! The linear layer: gradients, adapters, dropout.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use candle_core::{Tensor, Var};
use nn::{Linear, LoraWeights, Mode, Stream};
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
        let mut expected = flat.matmul(&layer.weight().t().unwrap()).unwrap();
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
        gradients.get(layer.weight()).is_none() && gradients.get(layer.bias().unwrap()).is_none()
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
    assert!(layer.adapters().is_empty());
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
