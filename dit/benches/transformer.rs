//! The transformer at the embedded base's size: forward, one LoRA step, one guided sampling step.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark may stop at the first failure"
)]

use candle_core::{Device, Tensor, Var};
use criterion::{Criterion, criterion_group};
use dit::diffrhythm::{Config, DiffusionTransformer, Drops, Inputs};
use dit::flow::masked_loss;
use nn::{AdamW, AdamWOptions, LoraWeights, Mode, Stream, VisitLinears, Weights};
use std::collections::HashMap;
use std::hint::black_box;

const BATCH: usize = 8;
const FRAMES: usize = 170;

fn config() -> Config {
    let text = r#"{ "dim": 256, "depth": 8, "ff_mult": 3, "text_dim": 128, "conv_layers": 4, "mel_dim": 128,
        "text_num_embeds": 48, "cond_dim": 128, "attention_heads": 4, "causal": false }"#;
    Config::from_json(text).expect("a valid configuration")
}

/// Random weights for whatever tensors the model asks for, found by asking until nothing is missing.
fn model() -> DiffusionTransformer {
    let (config, noise) = (config(), Stream::new(1));
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    loop {
        let weights = Weights::from_tensors(tensors.clone(), "benchmark");
        let (name, shape) = match DiffusionTransformer::load(&config, &weights.root()) {
            Ok(model) => return model,
            Err(dit::Error::Weights(nn::WeightsError::Missing { name, .. })) => (name, vec![1]),
            Err(dit::Error::Weights(nn::WeightsError::Shape { name, expected, .. })) => {
                (name, expected)
            }
            Err(error) => panic!("{error}"),
        };
        let spread = 1.0 / (shape.iter().skip(1).product::<usize>() as f64).sqrt();
        let tensor = noise
            .named(&name)
            .normal(shape, &Device::Cpu)
            .expect("noise")
            * spread;
        tensors.insert(name, tensor.expect("noise"));
    }
}

/// Attaches rank 8 to the default targets; returns the adapter's variables.
fn adapt(model: &mut DiffusionTransformer) -> Vec<(String, Var)> {
    let ends = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "time_mlp.0",
        "time_mlp.2",
        "norm_out.linear",
        "proj_out",
    ];
    let mut vars = Vec::new();
    model.visit_linears(&mut |linear| {
        if !ends.iter().any(|end| linear.name().ends_with(end)) {
            return;
        }
        let noise = Stream::new(2).named(linear.name());
        let var = |shape: (usize, usize)| {
            Var::from_tensor(&noise.normal(shape, &Device::Cpu).expect("noise"))
                .expect("a variable")
        };
        let (a, b) = (
            var((8, linear.in_features())),
            var((linear.out_features(), 8)),
        );
        let adapter = LoraWeights {
            a: a.as_tensor().clone(),
            b: b.as_tensor().clone(),
            scale: 0.01,
            dropout: 0.25,
        };
        linear.attach(adapter).expect("it fits");
        vars.push((format!("{}.a", linear.name()), a));
        vars.push((format!("{}.b", linear.name()), b));
    });
    vars
}

struct Data {
    x: Tensor,
    text: Tensor,
    style: Tensor,
    time: Tensor,
}

impl Data {
    fn new(config: &Config, batch: usize) -> Self {
        let noise = Stream::new(3);
        let text: Vec<u32> = (0..batch * FRAMES)
            .map(|place| (place % 48) as u32)
            .collect();
        let make = |name: &str, shape: Vec<usize>| {
            noise
                .named(name)
                .normal(shape, &Device::Cpu)
                .expect("noise")
        };
        Self {
            x: make("x", vec![batch, FRAMES, config.mel_dim]),
            text: Tensor::from_vec(text, (batch, FRAMES), &Device::Cpu).expect("tokens"),
            style: make("style", vec![batch, config.cond_dim]),
            time: noise.uniform(batch, &Device::Cpu).expect("times"),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            audio_condition: &self.x,
            text: &self.text,
            style: &self.style,
            time: &self.time,
            start_time: &self.time,
            duration: None,
            drops: Drops::default(),
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let mut model = model();
    let data = Data::new(model.config(), BATCH);
    let mut group = criterion.benchmark_group("embedded transformer");
    group.sample_size(10);
    group.bench_function("forward, batch 2 x 170 frames", |bench| {
        let data = Data::new(model.config(), 2);
        bench.iter(|| {
            black_box(
                model
                    .forward(&data.inputs(), &Mode::Inference)
                    .expect("forward"),
            )
        });
    });
    group.bench_function("forward, batch 8 x 170 frames", |bench| {
        bench.iter(|| {
            black_box(
                model
                    .forward(&data.inputs(), &Mode::Inference)
                    .expect("forward"),
            )
        });
    });
    let mut optimizer =
        AdamW::new(adapt(&mut model), AdamWOptions::default()).expect("f32 variables");
    let mut step = 0;
    group.bench_function("LoRA step, batch 8 x 170 frames", |bench| {
        bench.iter(|| {
            step += 1;
            let mode = Mode::Training {
                dropout: Stream::new(4).at(step),
                checkpoints: None,
            };
            let prediction = model.forward(&data.inputs(), &mode).expect("forward");
            let loss = masked_loss(&prediction, &data.x, None).expect("loss");
            let gradients = loss.backward().expect("backward");
            optimizer.step(&gradients, 1e-4, 1.0).expect("step");
        });
    });
    group.finish();
}

criterion_group!(transformer, benches);
fn main() {
    nn::process::prepare();
    transformer();
    Criterion::default().configure_from_args().final_summary();
}
