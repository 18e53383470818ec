//! The operations that a training step spends its time in.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark may stop at the first failure"
)]

use candle_core::{Device, Tensor, Var};
use criterion::{Criterion, criterion_group};
use nn::ops::{AttentionOptions, Conv1dOptions, attention, conv1d, snake};
use nn::{
    Linear, LoraWeights, Mode, Stream, TrainedChange, TrainedMethod, TrainedOptions,
    WeightPrecision,
};
use std::hint::black_box;

fn noise(name: &str, shape: &[usize]) -> Tensor {
    Stream::new(1)
        .named(name)
        .normal(shape, &Device::Cpu)
        .expect("noise")
}

fn variable(name: &str, shape: &[usize]) -> Var {
    Var::from_tensor(&noise(name, shape)).expect("a variable")
}

fn linear(criterion: &mut Criterion) {
    let mut layer = Linear::new("layer", noise("weight", &[256, 256]), None).expect("a layer");
    let x = variable("x", &[8, 170, 256]);
    let mode = Mode::Training {
        dropout: Stream::new(2),
        checkpoints: None,
    };
    let mut group = criterion.benchmark_group("linear 256 to 256, 1360 rows");
    let forward = |layer: &Linear| layer.forward(x.as_tensor(), &mode).expect("forward");
    group.bench_function("forward", |bench| bench.iter(|| black_box(forward(&layer))));
    let backward = |layer: &Linear| {
        forward(layer)
            .sum_all()
            .and_then(|sum| sum.backward())
            .expect("backward")
    };
    group.bench_function("forward and backward", |bench| {
        bench.iter(|| black_box(backward(&layer)))
    });
    let (a, b) = (variable("a", &[8, 256]), variable("b", &[256, 8]));
    let adapter = LoraWeights {
        a: a.as_tensor().clone(),
        b: b.as_tensor().clone(),
        scale: 2.0,
        dropout: 0.25,
    };
    layer.attach(adapter).expect("it fits");
    group.bench_function("rank 8, forward", |bench| {
        bench.iter(|| black_box(forward(&layer)))
    });
    group.bench_function("rank 8, forward and backward", |bench| {
        bench.iter(|| black_box(backward(&layer)))
    });
    group.finish();
}

fn precisions(criterion: &mut Criterion) {
    let weight = noise("weight", &[1024, 1024]);
    let x = variable("x", &[1, 512, 1024]);
    let mut group = criterion.benchmark_group("linear 1024 to 1024, 512 rows");
    for precision in [
        WeightPrecision::F32,
        WeightPrecision::F16,
        WeightPrecision::Bf16,
        WeightPrecision::Int8,
        WeightPrecision::Nf4,
    ] {
        let mut layer = Linear::new("layer", weight.clone(), None).expect("a layer");
        layer.store(precision).expect("it fits");
        let forward = || layer.forward(x.as_tensor(), &Mode::Inference).expect("y");
        group.bench_function(format!("{precision:?}, forward"), |bench| {
            bench.iter(|| black_box(forward()));
        });
        let backward = || forward().sum_all().and_then(|sum| sum.backward());
        group.bench_function(format!("{precision:?}, forward and backward"), |bench| {
            bench.iter(|| black_box(backward().expect("gradients")));
        });
    }
    for (name, method) in [
        ("LoRA", TrainedMethod::Lora),
        ("DoRA", TrainedMethod::Dora),
        (
            "LoKr",
            TrainedMethod::Lokr {
                factor: None,
                decompose_both: false,
            },
        ),
    ] {
        let mut layer = Linear::new("layer", weight.clone(), None).expect("a layer");
        let options = TrainedOptions {
            method,
            rank: 8,
            alpha: 16.0,
            rank_stabilised: false,
            dropout: 0.0,
        };
        let change = TrainedChange::new(&layer, &options, &Stream::new(1)).expect("a change");
        layer.attach_trained(&change).expect("it fits");
        let training = Mode::Training {
            dropout: Stream::new(2),
            checkpoints: None,
        };
        let forward = || layer.forward(x.as_tensor(), &training);
        group.bench_function(format!("{name} of rank 8, forward and backward"), |bench| {
            bench.iter(|| black_box(forward().and_then(|y| y.sum_all()?.backward()).expect("y")));
        });
    }
    group.bench_function("Nf4, quantising", |bench| {
        let layer = Linear::new("layer", weight.clone(), None).expect("a layer");
        bench.iter(|| {
            let mut layer = layer.clone();
            layer.store(WeightPrecision::Nf4).expect("it fits");
            black_box(layer)
        });
    });
    group.finish();
}

fn attention_benches(criterion: &mut Criterion) {
    let [q, k, v] = ["q", "k", "v"].map(|name| variable(name, &[8, 170, 256]));
    let mut group = criterion.benchmark_group("attention 8 x 4 heads x 170 frames x 64");
    let forward = || attention(&q, &k, &v, &AttentionOptions::new(4)).expect("forward");
    group.bench_function("forward", |bench| bench.iter(|| black_box(forward())));
    group.bench_function("forward and backward", |bench| {
        bench.iter(|| {
            black_box(
                forward()
                    .sum_all()
                    .and_then(|sum| sum.backward())
                    .expect("backward"),
            )
        });
    });
    group.finish();
}

fn convolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv1d");
    group.sample_size(10);
    let (x, weight) = (
        noise("x", &[1, 128, 55_040]),
        noise("weight", &[128, 128, 7]),
    );
    let options = Conv1dOptions {
        padding: 9,
        dilation: 3,
        ..Conv1dOptions::default()
    };
    group.bench_function("128 channels x 55040 frames, 7 taps, dilation 3", |bench| {
        bench.iter(|| black_box(conv1d(&x, &weight, None, &options).expect("forward")));
    });
    let (x, weight) = (
        variable("x", &[8, 256, 170]),
        noise("weight", &[256, 16, 31]),
    );
    let options = Conv1dOptions {
        padding: 15,
        groups: 16,
        ..Conv1dOptions::default()
    };
    let forward = || conv1d(x.as_tensor(), &weight, None, &options).expect("forward");
    group.bench_function(
        "positions: 8 x 256 channels x 170 frames, 31 taps, 16 groups",
        |bench| {
            bench.iter(|| black_box(forward()));
        },
    );
    group.bench_function("positions, forward and backward", |bench| {
        bench.iter(|| {
            black_box(
                forward()
                    .sum_all()
                    .and_then(|sum| sum.backward())
                    .expect("backward"),
            )
        });
    });
    let (x, scale) = (
        noise("x", &[1, 128, 55_040]),
        Tensor::ones(128, candle_core::DType::F32, &Device::Cpu),
    );
    let scale = scale.expect("ones");
    group.bench_function("snake, 7 million values", |bench| {
        bench.iter(|| black_box(snake(&x, &scale, &scale).expect("forward")));
    });
    group.finish();
}

criterion_group!(ops, linear, precisions, attention_benches, convolution);
fn main() {
    nn::process::prepare();
    ops();
    Criterion::default().configure_from_args().final_summary();
}
