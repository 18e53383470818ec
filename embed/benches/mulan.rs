//! Both towers at the released sizes with made up weights: ten seconds of sound, and a sentence.
//!
//! `cargo bench -p embed`; `peer.py` beside this file does the same with PyTorch.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark that cannot run may stop"
)]

use std::hint::black_box;

use candle_core::Tensor;
use criterion::{Criterion, criterion_group, criterion_main};
use embed::{AudioEncoder, MuLanConfig, MuQConfig, TextEncoder, XlmRobertaConfig};
use nn::{WeightPrecision, Weights};
use testing::pseudo_random;

const MULAN: &str = r#"{"mulan": {}, "audio_model": {"name": "OpenMuQ/MuQ-large-msd-iter", "model_dim": 1024},
    "text_model": {"name": "xlm-roberta-base"}, "audio_transformer": {}, "text_transformer": {}}"#;

/// Values of the size that trained layers have, so that nothing overflows or vanishes.
fn made_up(name: &str, shape: &[usize]) -> candle_core::Result<Tensor> {
    let inputs: usize = shape.iter().skip(1).product();
    let values = pseudo_random(shape, name.len() as u64);
    match shape.len() {
        1 => (values * 0.1)? + 1.0,
        _ => values / (inputs as f64).sqrt(),
    }
}

fn weights(precision: WeightPrecision) -> Weights {
    Weights::made_up(made_up).in_precision(precision)
}

fn ten_seconds(criterion: &mut Criterion) {
    let mulan = MuLanConfig::from_json(MULAN, "bench").expect("a valid configuration");
    let muq = MuQConfig::released(&mulan.audio_model.name).expect("a known model");
    let samples: Vec<f32> = pseudo_random(240_000, 1).to_vec1().expect("values");
    let mut group = criterion.benchmark_group("mulan");
    group.sample_size(10);
    for (name, precision) in [("f32", WeightPrecision::F32), ("f16", WeightPrecision::F16)] {
        let encoder =
            AudioEncoder::load(&mulan, &muq, &weights(precision)).expect("complete weights");
        group.bench_function(format!("ten seconds, {name}"), |bencher| {
            bencher.iter(|| encoder.embed(black_box(&samples)).expect("embedding"));
        });
    }
    group.finish();
}

fn a_sentence(criterion: &mut Criterion) {
    let mulan = MuLanConfig::from_json(MULAN, "bench").expect("a valid configuration");
    let roberta = XlmRobertaConfig::released(&mulan.text_model.name).expect("a known model");
    let encoder = TextEncoder::load(&mulan, &roberta, &weights(WeightPrecision::F32), None)
        .expect("complete weights");
    let tokens: Vec<u32> = (0..24).map(|token| 7 * token).collect();
    let mut group = criterion.benchmark_group("mulan");
    group.sample_size(10);
    group.bench_function("24 tokens, f32", |bencher| {
        bencher.iter(|| encoder.embed_tokens(black_box(&tokens)).expect("embedding"));
    });
    group.finish();
}

criterion_group!(benches, ten_seconds, a_sentence);
criterion_main!(benches);
