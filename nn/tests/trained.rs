//! Changes of a weight while they are trained.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use nn::{
    AdamW, AdamWOptions, Checkpoints, Delta, Linear, Magnitude, Mode, Stream, TrainedChange,
    TrainedMethod, TrainedOptions, WeightPrecision, checkpointed,
};
use testing::{
    assert_close, assert_equal, assert_gradients, compare, device, pseudo_random, pseudo_random_on,
};

const INPUTS: usize = 12;
const OUTPUTS: usize = 10;
const LOKR: TrainedMethod = TrainedMethod::Lokr {
    factor: None,
    decompose_both: false,
};

/// Every form that a change can take at these sizes: LoKr's factors are 2 or 3 by 3 and 5 by 4.
fn all_options() -> Vec<TrainedOptions> {
    let options = |method, rank, rank_stabilised| TrainedOptions {
        method,
        rank,
        alpha: 3.0,
        rank_stabilised,
        dropout: 0.0,
    };
    let both = TrainedMethod::Lokr {
        factor: None,
        decompose_both: true,
    };
    vec![
        options(TrainedMethod::Lora, 2, false),
        options(TrainedMethod::Lora, 2, true),
        options(TrainedMethod::Dora, 2, false),
        options(TrainedMethod::Dora, 2, true),
        options(LOKR, 2, false),
        options(LOKR, 4, false),
        options(both, 1, false),
    ]
}

const PRECISIONS: [WeightPrecision; 5] = [
    WeightPrecision::F32,
    WeightPrecision::F16,
    WeightPrecision::Bf16,
    WeightPrecision::Int8,
    WeightPrecision::Nf4,
];

fn layer(precision: WeightPrecision) -> Linear {
    let weight = pseudo_random((OUTPUTS, INPUTS), 11);
    let mut layer = Linear::new("layer", weight, Some(pseudo_random(OUTPUTS, 12))).unwrap();
    layer.store(precision).unwrap();
    layer
}

fn training() -> Mode {
    Mode::Training {
        dropout: Stream::new(3),
        checkpoints: None,
    }
}

fn fresh(layer: &Linear, options: &TrainedOptions) -> TrainedChange {
    TrainedChange::new(layer, options, &Stream::new(5)).unwrap()
}

/// A change whose every variable has been moved.
fn moved(layer: &Linear, options: &TrainedOptions) -> TrainedChange {
    let change = fresh(layer, options);
    for (number, (_, variable)) in change.variables().into_iter().enumerate() {
        let noise = pseudo_random(variable.dims(), 50 + number as u64);
        variable
            .set(&(variable.as_tensor() + (noise * 0.4).unwrap()).unwrap())
            .unwrap();
    }
    change
}

fn with(layer: &Linear, change: &TrainedChange) -> Linear {
    let mut layer = layer.clone();
    layer.attach_trained(change).unwrap();
    layer
}

fn backward(y: &Tensor) -> GradStore {
    let weights = pseudo_random(y.dims(), 977);
    let sum = (y * weights).unwrap().sum_all().unwrap();
    sum.backward().unwrap()
}

#[test]
fn nothing_changes_at_the_start() {
    for precision in PRECISIONS {
        let base = layer(precision);
        for options in all_options() {
            let trained = with(&base, &fresh(&base, &options));
            for batch in [1, 2] {
                let x = pseudo_random((batch, 3, INPUTS), 1);
                let expected = base.forward(&x, &Mode::Inference).unwrap();
                for mode in [Mode::Inference, training()] {
                    let found = trained.forward(&x, &mode).unwrap();
                    // DoRA adds the bias after its gain of exactly 1, which may round otherwise.
                    assert_close(
                        &format!("{precision:?} {options:?}"),
                        &found,
                        &expected,
                        1e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn variables_have_the_names_and_shapes_of_the_files() {
    let base = layer(WeightPrecision::F32);
    let shapes = |options: &TrainedOptions| -> Vec<(&str, Vec<usize>)> {
        let variables = fresh(&base, options).variables().into_iter();
        variables
            .map(|(name, variable)| (name, variable.dims().to_vec()))
            .collect()
    };
    let found: Vec<_> = all_options().iter().map(shapes).collect();
    let lora = vec![("lora_A", vec![2, 12]), ("lora_B", vec![10, 2])];
    let mut dora = lora.clone();
    dora.push(("lora_magnitude_vector", vec![10]));
    assert_eq!(found[0], lora);
    assert_eq!(found[2], dora);
    let (w1, w2) = (("lokr_w1", vec![2, 3]), ("lokr_w2", vec![5, 4]));
    let low = [("lokr_w2_a", vec![5, 2]), ("lokr_w2_b", vec![2, 4])];
    assert_eq!(found[4], [vec![w1.clone()], low.to_vec()].concat());
    assert_eq!(found[5], [w1, w2]);
    let low = |name, rows: usize, columns: usize| (name, vec![rows, columns]);
    let both = [
        low("lokr_w1_a", 2, 1),
        low("lokr_w1_b", 1, 3),
        low("lokr_w2_a", 5, 1),
        low("lokr_w2_b", 1, 4),
    ];
    assert_eq!(found[6], both);
}

#[test]
fn scales_are_those_of_the_methods() {
    let base = layer(WeightPrecision::F32);
    let scales: Vec<f64> = all_options()
        .iter()
        .map(|options| fresh(&base, options).scale())
        .collect();
    let stabilised = 3.0 / 2f64.sqrt();
    assert_eq!(scales, [1.5, stabilised, 1.5, stabilised, 1.5, 1.0, 3.0]);
}

#[test]
fn trained_equals_attached_and_merged() {
    for precision in PRECISIONS {
        let base = layer(precision);
        for options in all_options() {
            let change = moved(&base, &options);
            let mut trained = with(&base, &change);
            let mut attached = base.clone();
            attached.attach_change(change.change().unwrap()).unwrap();
            for batch in [1, 2] {
                let name = format!("{precision:?} {options:?} {batch}");
                let x = pseudo_random((batch, 3, INPUTS), 1);
                let before = base.forward(&x, &Mode::Inference).unwrap();
                let found = trained.forward(&x, &Mode::Inference).unwrap();
                let expected = attached.forward(&x, &Mode::Inference).unwrap();
                assert!(compare("moved", &found, &before, 1e-2).is_err(), "{name}");
                assert_close(&name, &found, &expected, 1e-5);
            }
            let x = pseudo_random((2, 3, INPUTS), 1);
            let expected = trained.forward(&x, &Mode::Inference).unwrap();
            trained.merge().unwrap();
            let merged = trained.forward(&x, &Mode::Inference).unwrap();
            assert_close(&format!("merged {options:?}"), &merged, &expected, 1e-5);
            trained.detach_all();
        }
    }
}

/// The change by its definition, in stock operations, with the magnitude's norm of these variables held fixed.
fn by_definition(
    base: &Linear,
    change: &TrainedChange,
) -> impl Fn(&[Tensor]) -> candle_core::Result<Tensor> {
    let (weight, bias) = (base.weight().unwrap(), base.bias().unwrap().clone());
    let names: Vec<&str> = change.variables().iter().map(|(name, _)| *name).collect();
    let scale = change.scale();
    let now = change.change().unwrap();
    let moved = (&weight + (now.delta.matrix().unwrap() * scale).unwrap()).unwrap();
    let norm = moved.sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
    move |tensors| {
        let of = |name: &str| {
            let place = names.iter().position(|other| *other == name);
            place.map(|place| &tensors[1 + place])
        };
        let factor =
            |name: &str| match (of(name), of(&format!("{name}_a")), of(&format!("{name}_b"))) {
                (None, Some(a), Some(b)) => a.matmul(b),
                (whole, ..) => Ok(whole.unwrap().clone()),
            };
        let delta = match of("lora_A") {
            Some(a) => of("lora_B").unwrap().matmul(a)?,
            None => {
                let (outer, inner) = (factor("lokr_w1")?, factor("lokr_w2")?);
                let ((a, b), (c, d)) = (outer.dims2()?, inner.dims2()?);
                let product = outer
                    .reshape((a, 1, b, 1))?
                    .broadcast_mul(&inner.reshape((1, c, 1, d))?)?;
                product.reshape((a * c, b * d))?
            }
        };
        let mut moved = (&weight + (delta * scale)?)?;
        if let Some(magnitude) = of("lora_magnitude_vector") {
            moved = moved.broadcast_mul(&(magnitude / &norm)?.unsqueeze(1)?)?;
        }
        let rows = tensors[0].reshape(((), INPUTS))?;
        let y = rows.matmul(&moved.t()?)?.broadcast_add(&bias)?;
        let (batch, frames, _) = tensors[0].dims3()?;
        y.reshape((batch, frames, OUTPUTS))
    }
}

/// The definition's gradients are checked with finite differences, and the layer's with the definition's: no difference
/// of the layer itself would do, for DoRA's norm is a constant to its gradient alone.
#[test]
fn gradients_are_those_of_the_definition() {
    for precision in PRECISIONS {
        let base = layer(precision);
        for options in all_options() {
            let change = moved(&base, &options);
            let trained = with(&base, &change);
            let variables = change.variables();
            for (batch, frames) in [(1, 1), (1, 3), (2, 5), (2, 80)] {
                let name = format!("{precision:?} {options:?} {batch}");
                let x = Var::from_tensor(&pseudo_random((batch, frames, INPUTS), 1)).unwrap();
                let mut inputs = vec![x.as_tensor().clone()];
                inputs.extend(
                    variables
                        .iter()
                        .map(|(_, variable)| variable.as_tensor().clone()),
                );
                let definition = by_definition(&base, &change);
                let detached: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
                if frames < 10 {
                    assert_gradients(&name, &detached, &definition);
                }

                let expected = definition(&inputs).unwrap();
                let found = trained.forward(&x, &training()).unwrap();
                assert_close(&name, &found, &expected, 1e-5);
                let (found, expected) = (backward(&found), backward(&expected));
                for input in &inputs {
                    let (found, expected) = (found.get(input), expected.get(input));
                    assert_close(&name, found.unwrap(), expected.unwrap(), 1e-5);
                }
            }
        }
    }
}

/// LoRA and LoKr have no constants: finite differences of the layer itself, with dropout where there is one.
#[test]
fn finite_differences_of_the_layer() {
    for precision in [WeightPrecision::F32, WeightPrecision::Nf4] {
        let base = layer(precision);
        for mut options in all_options() {
            let dropouts: &[f64] = match options.method {
                TrainedMethod::Lokr { .. } => &[0.0],
                _ => &[0.0, 0.25],
            };
            for &dropout in dropouts {
                options.dropout = dropout;
                let change = moved(&base, &options);
                for batch in [1, 2] {
                    let trained = with(&base, &change);
                    let x = pseudo_random((batch, 3, INPUTS), 1);
                    let name = format!("{precision:?} {options:?} {batch}");
                    assert_gradients(&name, std::slice::from_ref(&x), |t| {
                        trained.forward(&t[0], &training())
                    });
                    let variables = change.variables().into_iter();
                    for (part, variable) in variables {
                        if options.method == TrainedMethod::Dora && part != "lora_magnitude_vector"
                        {
                            continue;
                        }
                        let gradient = gradient_of(&trained, &x, &variable);
                        let expected = differences(&trained, &x, &variable);
                        assert_close(&format!("{name} {part}"), &gradient, &expected, 3e-3);
                    }
                }
            }
        }
    }
}

fn gradient_of(layer: &Linear, x: &Tensor, variable: &Var) -> Tensor {
    let gradients = backward(&layer.forward(x, &training()).unwrap());
    gradients.get(variable).unwrap().clone()
}

fn differences(layer: &Linear, x: &Tensor, variable: &Var) -> Tensor {
    const STEP: f32 = 1e-2;
    let values: Vec<f32> = variable.flatten_all().unwrap().to_vec1().unwrap();
    let at = |place: usize, step: f32| -> f64 {
        let mut values = values.clone();
        values[place] += step;
        let moved = Tensor::from_vec(values, variable.shape(), variable.device()).unwrap();
        variable.set(&moved).unwrap();
        let y = layer.forward(x, &training()).unwrap();
        let weights = pseudo_random(y.dims(), 977);
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let products = flat(&y).into_iter().zip(flat(&weights));
        products.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
    };
    let slopes: Vec<f32> = (0..values.len())
        .map(|place| ((at(place, STEP) - at(place, -STEP)) / f64::from(2.0 * STEP)) as f32)
        .collect();
    let whole = Tensor::from_vec(values.clone(), variable.shape(), variable.device()).unwrap();
    variable.set(&whole).unwrap();
    Tensor::from_vec(slopes, variable.shape(), variable.device()).unwrap()
}

/// DoRA with dropout as PEFT has it: `W x + b + (gain - 1) W drop(x) + gain scale B A drop(x)`.
#[test]
fn dropout_of_dora_is_before_both_products() {
    let base = layer(WeightPrecision::F32);
    let options = TrainedOptions {
        dropout: 0.4,
        ..all_options()[2]
    };
    let change = moved(&base, &options);
    let x = pseudo_random((2, 3, INPUTS), 1);
    let found = with(&base, &change).forward(&x, &training()).unwrap();
    let keep = training()
        .dropout("layer")
        .unwrap()
        .at(0)
        .keep_mask(6 * INPUTS, 0.4);
    let keep: Vec<f32> = keep.into_iter().map(|keep| f32::from(keep) / 0.6).collect();
    let dropped = (&x * Tensor::from_vec(keep, x.shape(), x.device()).unwrap()).unwrap();
    let bare = Linear::new("bare", base.weight().unwrap(), None).unwrap();
    let mut attached = bare.clone();
    attached.attach_change(change.change().unwrap()).unwrap();
    let run = |layer: &Linear, x: &Tensor| layer.forward(x, &Mode::Inference).unwrap();
    let added = (run(&attached, &dropped) - run(&bare, &dropped)).unwrap();
    let expected = (run(&base, &x) + added).unwrap();
    assert_close("dropout", &found, &expected, 1e-5);
}

#[test]
fn gradients_go_to_the_change_alone() {
    for options in all_options() {
        let base = layer(WeightPrecision::F32);
        let change = moved(&base, &options);
        let trained = with(&base, &change);
        let x = pseudo_random((2, 3, INPUTS), 1);
        let gradients = backward(&trained.forward(&x, &training()).unwrap());
        for (name, variable) in change.variables() {
            assert!(gradients.get(&variable).is_some(), "{options:?} {name}");
        }
        assert!(gradients.get(&base.weight().unwrap()).is_none());
        assert!(gradients.get(base.bias().unwrap()).is_none());
        assert!(gradients.get(&x).is_none());
    }
}

/// Held-out data is looked at without anything kept for a backward pass.
#[test]
fn only_training_keeps_what_gradients_need() {
    for options in all_options() {
        let base = layer(WeightPrecision::F32);
        let change = moved(&base, &options);
        let trained = with(&base, &change);
        let x = pseudo_random((2, 3, INPUTS), 1);
        for mode in [Mode::Inference, Mode::Sampling { time: 0.5 }] {
            assert!(
                !trained.forward(&x, &mode).unwrap().track_op(),
                "{options:?}"
            );
        }
        assert!(trained.forward(&x, &training()).unwrap().track_op());
    }
}

/// A checkpointed part runs again and may leave the values of its last layer out; gradients stay the same.
#[test]
fn checkpoints_change_no_gradient() {
    let base = layer(WeightPrecision::Nf4);
    for mut options in all_options() {
        let lokr = matches!(options.method, TrainedMethod::Lokr { .. });
        options.dropout = if lokr { 0.0 } else { 0.25 };
        let change = moved(&base, &options);
        let x = pseudo_random((2, 3, INPUTS), 1);
        let plain = with(&base, &change);
        let expected = backward(&plain.forward(&x, &training()).unwrap());
        let checkpoints = Checkpoints::default();
        let mode = Mode::Training {
            dropout: Stream::new(3),
            checkpoints: Some(checkpoints.clone()),
        };
        let y = checkpointed(&[&x], &mode, move |x, mode| plain.forward_last(&x[0], mode)).unwrap();
        let weights = pseudo_random(y.dims(), 977);
        let loss = (y * weights).unwrap().sum_all().unwrap();
        let found = checkpoints.backward(&loss).unwrap();
        for (name, variable) in change.variables() {
            let (found, expected) = (found.get(&variable), expected.get(&variable));
            assert_equal(name, found.unwrap(), expected.unwrap());
        }
    }
}

/// Runs on a card if there is one, by stock operations.
#[test]
fn the_device_at_hand_agrees_with_the_cpu() {
    for precision in [WeightPrecision::F32, WeightPrecision::Nf4] {
        for mut options in all_options() {
            let lokr = matches!(options.method, TrainedMethod::Lokr { .. });
            for dropout in [0.0, 0.25] {
                options.dropout = if lokr { 0.0 } else { dropout };
                let run = |device: &Device| {
                    let weight = pseudo_random_on((OUTPUTS, INPUTS), 11, device);
                    let bias = pseudo_random_on(OUTPUTS, 12, device);
                    let mut base = Linear::new("layer", weight, Some(bias)).unwrap();
                    base.store(precision).unwrap();
                    let change = fresh(&base, &options);
                    for (number, (_, variable)) in change.variables().into_iter().enumerate() {
                        let noise = pseudo_random_on(variable.dims(), 50 + number as u64, device);
                        let moved = (variable.as_tensor() + (noise * 0.4).unwrap()).unwrap();
                        variable.set(&moved).unwrap();
                    }
                    let x = Var::from_tensor(&pseudo_random_on((2, 3, INPUTS), 1, device)).unwrap();
                    let y = with(&base, &change).forward(&x, &training()).unwrap();
                    let weights = pseudo_random_on(y.dims(), 977, device);
                    let sum = (&y * weights).unwrap().sum_all().unwrap();
                    let gradients = sum.backward().unwrap();
                    let mut results = vec![y, gradients.get(&x).unwrap().clone()];
                    let variables = change.variables().into_iter();
                    results.extend(variables.map(|(_, v)| gradients.get(&v).unwrap().clone()));
                    results
                };
                for (found, expected) in run(&device()).iter().zip(&run(&Device::Cpu)) {
                    assert_close(&format!("{options:?}"), found, expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn training_moves_the_layer_towards_its_target() {
    for options in all_options() {
        let base = layer(WeightPrecision::Nf4);
        let change = fresh(&base, &options);
        let trained = with(&base, &change);
        let target = Linear::new("target", pseudo_random((OUTPUTS, INPUTS), 99), None).unwrap();
        let x = pseudo_random((4, 8, INPUTS), 1);
        let wanted = target.forward(&x, &Mode::Inference).unwrap();
        let named = change.variables().into_iter();
        let variables = named
            .map(|(name, variable)| (name.to_string(), variable))
            .collect();
        let loss = || {
            let y = trained.forward(&x, &training()).unwrap();
            (y - &wanted).unwrap().sqr().unwrap().mean_all().unwrap()
        };
        let value = |loss: Tensor| loss.to_scalar::<f32>().unwrap();
        let first = value(loss());
        let mut optimizer = AdamW::new(variables, AdamWOptions::default()).unwrap();
        for _ in 0..50 {
            let gradients = loss().backward().unwrap();
            optimizer.step(&gradients, 0.02, 1.0).unwrap();
        }
        let last = value(loss());
        assert!(last < 0.97 * first, "{options:?}: {first} to {last}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let base = layer(WeightPrecision::F32);
    let good = all_options()[4];
    for bad in [
        TrainedOptions { rank: 0, ..good },
        TrainedOptions {
            alpha: f64::NAN,
            ..good
        },
        TrainedOptions {
            dropout: 0.1,
            ..good
        },
        TrainedOptions {
            dropout: 1.0,
            ..all_options()[0]
        },
    ] {
        let error = TrainedChange::new(&base, &bad, &Stream::new(1)).unwrap_err();
        assert!(error.to_string().contains("layer: "), "{error}");
    }
    let mut small = Linear::new("small", pseudo_random((4, 5), 1), None).unwrap();
    let error = small.attach_trained(&fresh(&base, &good)).unwrap_err();
    assert!(error.to_string().contains("small"), "{error}");
}

#[test]
fn a_change_is_a_copy_of_its_time() {
    let base = layer(WeightPrecision::F32);
    let change = fresh(&base, &all_options()[2]);
    let before = change.change().unwrap();
    for (_, variable) in change.variables() {
        variable
            .set(&(variable.as_tensor() + 1.0).unwrap())
            .unwrap();
    }
    let Delta::LowRank { b, .. } = before.delta else {
        panic!("no low-rank change");
    };
    assert_equal("B", &b, &b.zeros_like().unwrap());
    let norm = base
        .weight()
        .unwrap()
        .sqr()
        .unwrap()
        .sum(1)
        .unwrap()
        .sqrt()
        .unwrap();
    let Some(Magnitude::OfOutputs(lengths)) = before.magnitude else {
        panic!("no lengths");
    };
    assert_close("lengths", &lengths, &norm, 1e-6);
}
