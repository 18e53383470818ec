//! The spectral autoencoder against its PyTorch recipe on small random weights; synthesis against what it was made of.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};

use candle_core::{D, Tensor};
use nn::Weights;
use testing::{assert_close, assert_equal, device, pseudo_random_on};
use vae::spectral::{SpectralFeatures, Synthesis, stereo_band_edges};
use vae::{Autoencoder, SpectralAutoencoder, SpectralConfig, Tiling, VaeError};

/// Of each tensor's maximum.
const TOLERANCE: f64 = 1e-4;

fn pseudo_random(shape: &[usize], seed: u64) -> Tensor {
    pseudo_random_on(shape, seed, &device())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/spectral")
        .join(name)
}

fn golden(name: &str) -> Tensor {
    testing::golden::load(&fixture("golden.safetensors"))[name].clone()
}

fn config() -> SpectralConfig {
    let text = std::fs::read_to_string(fixture("config.json")).unwrap();
    SpectralConfig::from_json(&text, "config.json").unwrap()
}

fn model() -> SpectralAutoencoder {
    let weights = Weights::from_file(fixture("model.safetensors"), &device()).unwrap();
    let model = SpectralAutoencoder::load(&config(), &weights.root().pp("autoencoder")).unwrap();
    weights.finish().unwrap();
    model
}

fn features_of(left: &[f32], right: &[f32]) -> Vec<f32> {
    let extract = SpectralFeatures::new(&config()).unwrap();
    extract
        .extract(left, right, 0..left.len() / extract.latent_hop())
        .unwrap()
}

#[test]
fn features_match_the_recipe() {
    let audio = golden("audio").get(0).unwrap().to_vec2::<f32>().unwrap();
    let expected = golden("features");
    let features = Tensor::from_vec(
        features_of(&audio[0], &audio[1]),
        expected.dims(),
        &device(),
    )
    .unwrap();
    let spectrum = config().magnitude_features();
    let part =
        |tensor: &Tensor, first: usize, length: usize| tensor.narrow(1, first, length).unwrap();
    assert_close(
        "logs",
        &part(&features, 0, spectrum),
        &part(&expected, 0, spectrum),
        TOLERANCE,
    );
    assert_close(
        "stereo",
        &part(&features, spectrum, 48),
        &part(&expected, spectrum, 48),
        TOLERANCE,
    );
}

#[test]
fn banks_and_edges_match_the_recipe() {
    let edges: Vec<usize> =
        serde_json::from_str(&std::fs::read_to_string(fixture("stereo_band_edges.json")).unwrap())
            .unwrap();
    assert_eq!(stereo_band_edges(24, 1025), edges);
    let axis = spectrum::WarpedAxis::new(1025, 186, 166).unwrap();
    let cases = [
        (axis.warp().unwrap(), "warp", 348),
        (axis.unwarp().unwrap(), "unwarp", 1021),
    ];
    for (bank, name, last) in cases {
        for (suffix, rows) in [("rows_180_to_200", 180..200), ("last_rows", last..last + 4)] {
            let ours: Vec<Vec<f32>> = rows.map(|row| bank.row(row)).collect();
            let ours = Tensor::new(ours, &device()).unwrap();
            assert_close(name, &ours, &golden(&format!("{name}_{suffix}")), 1e-6);
        }
    }
}

#[test]
fn latents_match_the_recipe() {
    let posterior = model().encode(&golden("audio")).unwrap();
    let expected = golden("latent")
        .transpose(1, 2)
        .unwrap()
        .contiguous()
        .unwrap();
    assert_close("latent", &posterior.mean, &expected, TOLERANCE);
    assert_eq!(
        posterior
            .std
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap(),
        0.0
    );
    let one = model()
        .encode(&golden("audio").narrow(0, 1, 1).unwrap())
        .unwrap();
    assert_close(
        "second item alone",
        &one.mean,
        &expected.narrow(0, 1, 1).unwrap(),
        TOLERANCE,
    );
}

#[test]
fn decoded_features_match_the_recipe() {
    let latents = golden("latent").transpose(1, 2).unwrap();
    let decoded = model().decode_features(&latents).unwrap();
    assert_close(
        "decoded",
        &decoded.get(0).unwrap(),
        &golden("decoded_features"),
        TOLERANCE,
    );
}

#[test]
fn tiles_equal_the_whole() {
    let model = model();
    let sound = (pseudo_random(&[2, 2, 2048 * 40 + 1000], 3) * 0.3).unwrap();
    let whole = model.encode(&sound).unwrap().mean;
    assert_eq!(whole.dims(), [2, 16, 40]);
    let decoded = model.decode(&whole).unwrap();
    for chunk_frames in [1, 7, 39, 1000] {
        let tiling = Tiling::Exact { chunk_frames };
        assert_close(
            "encoded",
            &model.encode_tiled(&sound, tiling).unwrap().mean,
            &whole,
            2e-6,
        );
    }
    let tiled = model
        .decode_tiled(&whole, Tiling::Exact { chunk_frames: 9 })
        .unwrap();
    // Phases magnify rounding, so sound itself is compared loosely and what was computed in tiles strictly.
    assert_eq!(tiled.dims(), decoded.dims());
    let levels = |tensor: &Tensor| tensor.sqr().unwrap().mean(D::Minus1).unwrap();
    assert_close("level", &levels(&tiled), &levels(&decoded), 1e-2);
}

#[test]
fn reference_tiles_cut_their_overlap() {
    let model = model();
    let sound = (pseudo_random(&[1, 2, 2048 * 20], 4) * 0.3).unwrap();
    let tiling = Tiling::Reference {
        chunk: 2048 * 12,
        overlap: 2048 * 2,
    };
    let tiled = model.encode_tiled(&sound, tiling).unwrap().mean;
    assert_eq!(tiled.dims(), [1, 16, 20]);
    // One tile is not cut, so that it equals the whole, with any overlap.
    let one_tile = |chunk: usize| Tiling::Reference {
        chunk,
        overlap: chunk / 2,
    };
    let whole = model.encode(&sound).unwrap().mean;
    let encoded = model.encode_tiled(&sound, one_tile(2048 * 20)).unwrap();
    assert_equal("encoded", &encoded.mean, &whole);
    let decoded = model.decode_tiled(&whole, one_tile(20)).unwrap();
    assert_equal("decoded", &decoded, &model.decode(&whole).unwrap());
    let too_much = Tiling::Reference {
        chunk: 2048 * 4,
        overlap: 2048 * 2,
    };
    assert!(matches!(
        model.encode_tiled(&sound, too_much),
        Err(VaeError::Tiling { .. })
    ));
}

/// Tones that lie left, right and in the middle, and noise that differs between the channels.
fn stereo_music(samples: usize) -> [Vec<f32>; 2] {
    let noise = pseudo_random(&[2, samples], 11).to_vec2::<f32>().unwrap();
    let tone = |n: usize, hz: f32| (TAU * hz * n as f32 / 44_100.0).sin();
    let channel = |side: usize, low: f32, high: f32| -> Vec<f32> {
        (0..samples)
            .map(|n| {
                let swell = 0.5 + 0.5 * (TAU * n as f32 / 30_000.0).cos();
                let tones = low * tone(n, 220.0) + 0.3 * tone(n, 900.0) + high * tone(n, 3000.0);
                0.3 * tones * swell + 0.02 * noise[side][n]
            })
            .collect()
    };
    [channel(0, 1.0, 0.1), channel(1, 0.2, 0.8)]
}

/// Mean absolute difference of some features of every vector.
fn mean_difference(a: &[f32], b: &[f32], range: std::ops::Range<usize>) -> f32 {
    let size = config().features();
    let pairs = a.chunks_exact(size).zip(b.chunks_exact(size));
    let sum: f32 = pairs
        .map(|(a, b)| {
            range
                .clone()
                .map(|index| (a[index] - b[index]).abs())
                .sum::<f32>()
        })
        .sum();
    sum / (a.len() / size * range.len()) as f32
}

/// Features of sound made from features are the same again, in both channels. Measured, mean absolute differences: logs
/// .11 nepers (noise between the partials, whose magnitudes no phase can make consistent), levels .04, coherences .07.
#[test]
fn synthesis_keeps_spectrum_and_stereo() {
    let [left, right] = stereo_music(2048 * 40);
    let features = features_of(&left, &right);
    let [left_again, right_again] = Synthesis::new(&config())
        .unwrap()
        .render(&features)
        .unwrap();
    assert_eq!(
        (left_again.len(), right_again.len()),
        (left.len(), right.len())
    );
    let again = features_of(&left_again, &right_again);
    let spectrum = config().magnitude_features();
    let logs = mean_difference(&features, &again, 0..spectrum);
    let levels = mean_difference(&features, &again, spectrum..spectrum + 24);
    let coherences = mean_difference(&features, &again, spectrum + 24..spectrum + 48);
    assert!(
        logs < 0.15 && levels < 0.06 && coherences < 0.1,
        "{logs} {levels} {coherences}"
    );
    let power = |channel: &[f32]| channel.iter().map(|sample| sample * sample).sum::<f32>();
    for (made, wanted) in [(&left_again, &left), (&right_again, &right)] {
        let ratio = power(made) / power(wanted);
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    }
}

#[test]
fn one_silent_channel_stays_silent() {
    let [left, _] = stereo_music(2048 * 12);
    let silence = vec![0.0; left.len()];
    let [left, right] = Synthesis::new(&config())
        .unwrap()
        .render(&features_of(&left, &silence))
        .unwrap();
    let peak = |channel: &[f32]| {
        channel
            .iter()
            .fold(0f32, |most, sample| most.max(sample.abs()))
    };
    assert!(
        peak(&left) > 0.1 && peak(&right) < 1e-3,
        "{} {}",
        peak(&left),
        peak(&right)
    );
}

#[test]
fn decoding_twice_gives_the_same_bytes_in_any_batch() {
    let model = model();
    let latents = pseudo_random(&[2, 16, 10], 2);
    let both = model.decode(&latents).unwrap();
    assert_eq!(both.dims(), [2, 2, 20_480]);
    assert_equal("again", &model.decode(&latents).unwrap(), &both);
    let second = model.decode(&latents.narrow(0, 1, 1).unwrap()).unwrap();
    let level = |tensor: &Tensor| tensor.sqr().unwrap().mean(D::Minus1).unwrap();
    assert_close(
        "alone",
        &level(&second),
        &level(&both.narrow(0, 1, 1).unwrap()),
        1e-2,
    );
}

#[test]
fn bad_inputs_are_named() {
    let model = model();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &device()).unwrap();
    let short = model.encode(&zeros(&[1, 2, 2047])).unwrap_err().to_string();
    assert!(short.contains("2047 samples, at least 2048"), "{short}");
    assert!(model.encode(&zeros(&[1, 1, 4096])).is_err());
    assert!(model.decode(&zeros(&[1, 15, 4])).is_err());
    assert!(model.decode(&zeros(&[1, 16, 0])).is_err());
    let text = std::fs::read_to_string(fixture("config.json")).unwrap();
    let error = SpectralConfig::from_json(&text.replace("hop", "hopp"), "config.json").unwrap_err();
    assert!(error.to_string().contains("hopp"), "{error}");
    assert!(model.id().starts_with("spectral-"));
}

#[test]
fn silence_makes_silence() {
    let model = model();
    let zeros = Tensor::zeros((1, 2, 8192), candle_core::DType::F32, &device()).unwrap();
    let latents = model.encode(&zeros).unwrap().mean;
    assert!(
        latents
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
            .iter()
            .all(|value| value.is_finite())
    );
    let silent = features_of(&[0.0; 8192], &[0.0; 8192]);
    let [left, right] = Synthesis::new(&config()).unwrap().render(&silent).unwrap();
    assert!(left.iter().chain(&right).all(|&sample| sample.abs() < 1e-4));
}
