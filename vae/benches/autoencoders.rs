//! Encoding and decoding with both autoencoders at their real sizes and random weights.
//!
//! `cargo bench -p vae`: the embedded base's on six seconds, Stable Audio's on one.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark that cannot run may stop"
)]

use std::collections::HashMap;
use std::hint::black_box;

use candle_core::Tensor;
use criterion::{Criterion, criterion_group, criterion_main};
use nn::Weights;
use testing::pseudo_random;
use vae::{Autoencoder, OobleckAutoencoder, OobleckConfig, SpectralAutoencoder, SpectralConfig};

/// Random tensors by name, small enough that nothing overflows.
#[derive(Default)]
struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize], scale: f64) {
        let values = pseudo_random(shape, self.0.len() as u64);
        self.0.insert(name, (values * scale).expect("scaling"));
    }

    fn ones(&mut self, name: String, size: usize) {
        self.add(name.clone(), &[size], 0.0);
        let ones = (&self.0[&name] + 1.0).expect("adding");
        self.0.insert(name, ones);
    }

    fn layer(&mut self, name: &str, weight: &[usize], outputs: usize) {
        let inputs: usize = weight.iter().skip(1).product();
        self.add(
            format!("{name}.weight"),
            weight,
            1.0 / (inputs as f64).sqrt(),
        );
        self.add(format!("{name}.bias"), &[outputs], 0.01);
    }

    fn snake(&mut self, name: &str, channels: usize) {
        for part in ["alpha", "beta"] {
            self.add(format!("{name}.{part}"), &[1, channels, 1], 0.1);
        }
    }

    fn residual_units(&mut self, block: &str, channels: usize) {
        for unit in 1..=3 {
            self.snake(&format!("{block}.res_unit{unit}.snake1"), channels);
            self.layer(
                &format!("{block}.res_unit{unit}.conv1"),
                &[channels, channels, 7],
                channels,
            );
            self.snake(&format!("{block}.res_unit{unit}.snake2"), channels);
            self.layer(
                &format!("{block}.res_unit{unit}.conv2"),
                &[channels, channels, 1],
                channels,
            );
        }
    }

    fn half(&mut self, name: &str, (inputs, outputs): (usize, usize), width: usize, blocks: usize) {
        self.layer(&format!("{name}.skip"), &[outputs, inputs], outputs);
        self.layer(&format!("{name}.stem"), &[width, inputs], width);
        for block in 0..blocks {
            let block = format!("{name}.blocks.{block}");
            self.layer(&format!("{block}.dwconv"), &[width, 1, 7], width);
            self.norm(&format!("{block}.norm"), width);
            self.layer(&format!("{block}.pwconv1"), &[3 * width, width], 3 * width);
            self.layer(&format!("{block}.pwconv2"), &[width, 3 * width], width);
        }
        self.norm(&format!("{name}.norm"), width);
        self.layer(&format!("{name}.head"), &[outputs, width], outputs);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.ones(format!("{name}.weight"), width);
        self.add(format!("{name}.bias"), &[width], 0.01);
    }
}

fn spectral() -> SpectralAutoencoder {
    let config = r#"{"sample_rate_hz": 44100, "fft_size": 2048, "hop": 512, "frames_per_latent": 4, "linear_bins": 186,
        "logarithmic_bins": 166, "magnitude_floor": 3e-5, "stereo_bands": 24, "stereo_energy_floor": 1e-9,
        "latent_channels": 128, "encoder_width": 192, "encoder_blocks": 2, "decoder_width": 288, "decoder_blocks": 4,
        "hidden_ratio": 3}"#;
    let config = SpectralConfig::from_json(config, "benchmark").expect("a valid configuration");
    let mut tensors = Tensors::default();
    let features = config.features();
    tensors.half("encoder", (features, 128), 192, 2);
    tensors.half("decoder", (128, features), 288, 4);
    tensors.add("feature_mean".to_owned(), &[features], 0.1);
    tensors.ones("feature_weight".to_owned(), features);
    tensors.add("latent_mean".to_owned(), &[128], 0.1);
    tensors.ones("latent_scale".to_owned(), 128);
    let weights = Weights::from_tensors(tensors.0, "benchmark");
    SpectralAutoencoder::load(&config, &weights.root()).expect("complete weights")
}

fn oobleck() -> OobleckAutoencoder {
    let config = OobleckConfig::default();
    let mut tensors = Tensors::default();
    let widths = [128, 128, 256, 512, 1024, 2048];
    tensors.layer("encoder.conv1", &[128, 2, 7], 128);
    tensors.layer("decoder.conv1", &[2048, 64, 7], 2048);
    for (index, &stride) in config.downsampling_ratios.iter().enumerate() {
        let (narrow, wide) = (widths[index], widths[index + 1]);
        let block = format!("encoder.block.{index}");
        tensors.residual_units(&block, narrow);
        tensors.snake(&format!("{block}.snake1"), narrow);
        tensors.layer(&format!("{block}.conv1"), &[wide, narrow, 2 * stride], wide);
        let block = format!("decoder.block.{}", 4 - index);
        tensors.snake(&format!("{block}.snake1"), wide);
        tensors.layer(
            &format!("{block}.conv_t1"),
            &[wide, narrow, 2 * stride],
            narrow,
        );
        tensors.residual_units(&block, narrow);
    }
    tensors.snake("encoder.snake1", 2048);
    tensors.layer("encoder.conv2", &[128, 2048, 3], 128);
    tensors.snake("decoder.snake1", 128);
    tensors.add("decoder.conv2.weight".to_owned(), &[2, 128, 7], 0.03);
    let weights = Weights::from_tensors(tensors.0, "benchmark");
    OobleckAutoencoder::load(&config, &weights.root()).expect("complete weights")
}

fn both_ways(criterion: &mut Criterion, name: &str, model: &dyn Autoencoder, latent_frames: usize) {
    let sound = (pseudo_random(&[1, 2, latent_frames * model.hop()], 1) * 0.3).expect("scaling");
    let latents = pseudo_random(&[1, model.latent_channels(), latent_frames], 2);
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| model.encode(black_box(&sound)).expect("encoding"))
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| model.decode(black_box(&latents)).expect("decoding"))
    });
    group.finish();
}

fn spectral_six_seconds(criterion: &mut Criterion) {
    both_ways(criterion, "spectral, 6 s", &spectral(), 129);
}

fn oobleck_one_second(criterion: &mut Criterion) {
    both_ways(criterion, "oobleck, 1 s", &oobleck(), 22);
}

criterion_group!(benches, spectral_six_seconds, oobleck_one_second);
criterion_main!(benches);
