//! MuQ-MuLan against the PyPI package `muq`: a small model with random weights, every stage of both towers.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use candle_core::{DType, IndexOp, Tensor};
use embed::{AudioEncoder, MuLanFiles, TextEncoder};
use nn::{WeightPrecision, Weights};
use testing::{Golden, assert_close, device};

/// Two towers of layers summed in another order than PyTorch's.
const STAGE: f64 = 1e-4;
/// Weights of 11 bits through the same towers.
const HALF: f64 = 2e-2;

fn case() -> (MuLanFiles, Golden) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/muq");
    (MuLanFiles::in_folder(folder).unwrap(), Golden::open(folder))
}

fn weights(files: &MuLanFiles) -> Weights {
    Weights::from_file(&files.weights, &device()).unwrap()
}

fn audio_encoder(files: &MuLanFiles, weights: &Weights) -> AudioEncoder {
    AudioEncoder::load(
        &files.mulan_config().unwrap(),
        &files.muq_config().unwrap(),
        weights,
    )
    .unwrap()
}

fn text_encoder(files: &MuLanFiles, weights: &Weights) -> TextEncoder {
    TextEncoder::load(
        &files.mulan_config().unwrap(),
        &files.text_config().unwrap(),
        weights,
        None,
    )
    .unwrap()
}

fn row(values: Vec<f32>) -> Tensor {
    Tensor::new(values, &device())
        .unwrap()
        .unsqueeze(0)
        .unwrap()
}

fn twice(x: &Tensor) -> Tensor {
    Tensor::cat(&[x, x], 0).unwrap()
}

#[test]
fn audio_stage_by_stage() {
    let (files, golden) = case();
    let encoder = audio_encoder(&files, &weights(&files));
    let wav: Vec<f32> = golden.tensor("wav").to_vec1().unwrap();
    let clip = &wav[..24_000];
    let muq = encoder.muq();

    let samples = row(clip.to_vec());
    let levels = muq.mel_decibels(&samples).unwrap();
    let kept: Vec<Tensor> = (0..levels.dim(2).unwrap())
        .step_by(8)
        .map(|n| levels.i((.., .., n..n + 1)).unwrap())
        .collect();
    assert_close(
        "mel_db",
        &Tensor::cat(&kept, 2).unwrap(),
        &golden.tensor("audio.mel_db"),
        STAGE,
    );

    let mel = muq.mel(&samples).unwrap();
    let mean = mel.mean_all().unwrap().unsqueeze(0).unwrap();
    assert_close(
        "mel_norm_mean",
        &mean,
        &golden.tensor("audio.mel_norm_mean"),
        STAGE,
    );

    for (mel, in_batch) in [(mel.clone(), false), (twice(&mel), true)] {
        let expected = |name: &str| {
            let tensor = golden.tensor(name);
            if in_batch { twice(&tensor) } else { tensor }
        };
        let features = muq.features(&mel).unwrap();
        assert_close("conv", &features, &expected("audio.conv"), STAGE);
        for layer in 0..4 {
            let hidden = muq.hidden_state(features.clone(), layer).unwrap();
            let name = format!("audio.hidden{layer}");
            assert_close(&name, &hidden, &expected(&name), STAGE);
        }
        let hidden = muq.hidden_state(features, 3).unwrap();
        assert_close(
            "proj",
            &encoder.projected(&hidden).unwrap(),
            &expected("audio.proj"),
            STAGE,
        );
        assert_close(
            "mean",
            &encoder.pooled(&hidden).unwrap(),
            &expected("audio.mean"),
            STAGE,
        );
    }
    let latent = golden.tensor("audio.latent_1clip");
    assert_close(
        "latent",
        &encoder.forward(&samples).unwrap(),
        &latent,
        STAGE,
    );
    assert_close(
        "two clips",
        &encoder.forward(&twice(&samples)).unwrap(),
        &twice(&latent),
        STAGE,
    );
}

#[test]
fn sounds_of_any_length() {
    let (files, golden) = case();
    let encoder = audio_encoder(&files, &weights(&files));
    let wav: Vec<f32> = golden.tensor("wav").to_vec1().unwrap();
    for (name, samples) in [
        ("audio.latent_full", wav.len()),
        ("audio.latent_parallel", wav.len()),
        ("audio.latent_1clip", 24_000),
        ("audio.latent_0.7s", 16_800),
        ("audio.latent_0.4s", 9_600),
    ] {
        assert_close(
            name,
            &row(encoder.embed(&wav[..samples]).unwrap()),
            &golden.tensor(name),
            STAGE,
        );
    }
}

#[test]
fn text_stage_by_stage() {
    let (files, golden) = case();
    let encoder = text_encoder(&files, &weights(&files));
    for case in ["single0", "single1", "batch"] {
        let tensor = |name: &str| golden.tensor(&format!("text.{case}.{name}"));
        let (tokens, mask) = (
            tensor("ids").to_dtype(DType::U32).unwrap(),
            tensor("mask").to_dtype(DType::U8).unwrap(),
        );
        let hidden = encoder.hidden_state(&tokens, &mask).unwrap();
        assert_close(
            &format!("{case} hidden"),
            &hidden,
            &tensor("xlmr_last_hidden"),
            STAGE,
        );
        assert_close(
            &format!("{case} mean"),
            &encoder.pooled(&hidden).unwrap(),
            &tensor("mean"),
            STAGE,
        );
        assert_close(
            &format!("{case} latent"),
            &encoder.forward(&tokens, &mask).unwrap(),
            &tensor("latent"),
            STAGE,
        );
        if case != "batch" {
            let tokens = tokens.to_vec2::<u32>().unwrap().remove(0);
            assert_close(
                case,
                &row(encoder.embed_tokens(&tokens).unwrap()),
                &tensor("latent"),
                STAGE,
            );
        }
    }
}

#[test]
fn sound_and_words_meet() {
    let (files, golden) = case();
    let weights = weights(&files);
    // One opened file serves both towers, each of which leaves the other's tensors alone.
    let (audio, text) = (
        audio_encoder(&files, &weights),
        text_encoder(&files, &weights),
    );
    let wav: Vec<f32> = golden.tensor("wav").to_vec1().unwrap();
    let sound = audio.embed(&wav[..24_000]).unwrap();
    let tensor = |name: &str, kind| {
        golden
            .tensor(&format!("text.batch.{name}"))
            .to_dtype(kind)
            .unwrap()
    };
    let words = text
        .forward(&tensor("ids", DType::U32), &tensor("mask", DType::U8))
        .unwrap();
    let similarity = row(sound).matmul(&words.t().unwrap()).unwrap();
    assert_close(
        "similarity",
        &similarity,
        &golden.tensor("similarity"),
        STAGE,
    );
}

#[test]
fn weights_in_16_bits() {
    let (files, golden) = case();
    for precision in [WeightPrecision::F16, WeightPrecision::Bf16] {
        let weights = weights(&files).in_precision(precision);
        let (audio, text) = (
            audio_encoder(&files, &weights),
            text_encoder(&files, &weights),
        );
        let wav: Vec<f32> = golden.tensor("wav").to_vec1().unwrap();
        let allowed = if precision == WeightPrecision::F16 {
            HALF
        } else {
            8.0 * HALF
        };
        let found = row(audio.embed(&wav).unwrap());
        assert_close(
            "audio",
            &found,
            &golden.tensor("audio.latent_full"),
            allowed,
        );
        let tokens = golden
            .tensor("text.single0.ids")
            .to_dtype(DType::U32)
            .unwrap()
            .to_vec2()
            .unwrap()
            .remove(0);
        let found = row(text.embed_tokens(&tokens).unwrap());
        assert_close(
            "text",
            &found,
            &golden.tensor("text.single0.latent"),
            allowed,
        );
    }
}
