//! Weights and sounds that a model cannot take.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::HashMap;

use candle_core::Tensor;
use embed::{AudioEncoder, EmbedError, MuLanFiles, TextEncoder, fingerprint};
use nn::Weights;
use testing::{device, golden};

fn files() -> MuLanFiles {
    MuLanFiles::in_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/muq")).unwrap()
}

fn tensors() -> HashMap<String, Tensor> {
    golden::load(&files().weights)
}

fn load_audio(tensors: HashMap<String, Tensor>) -> Result<AudioEncoder, EmbedError> {
    let files = files();
    let weights = Weights::from_tensors(tensors, "weights.bin");
    AudioEncoder::load(&files.mulan_config()?, &files.muq_config()?, &weights)
}

fn load_text(tensors: HashMap<String, Tensor>) -> Result<TextEncoder, EmbedError> {
    let files = files();
    let weights = Weights::from_tensors(tensors, "weights.bin");
    TextEncoder::load(
        &files.mulan_config()?,
        &files.text_config()?,
        &weights,
        None,
    )
}

#[test]
fn each_half_loads_without_the_other() {
    let half = |name: &str| {
        tensors()
            .into_iter()
            .filter(|(key, _)| key.starts_with(&format!("mulan.{name}")))
            .collect()
    };
    load_audio(half("audio")).unwrap();
    load_text(half("text")).unwrap();
    let message = load_audio(half("text")).unwrap_err().to_string();
    assert!(
        message.contains("weights.bin") && message.contains("is missing"),
        "{message}"
    );
}

#[test]
fn older_files_say_a_little_more() {
    let mut tensors = tensors();
    let numbers = Tensor::zeros((1, 34), candle_core::DType::I64, &device()).unwrap();
    tensors.insert(
        "mulan.text.model.embeddings.position_ids".to_owned(),
        numbers,
    );
    let norm = "mulan.audio.model.model.conformer.pos_conv_embed.conv";
    let weight = tensors
        .remove(&format!("{norm}.parametrizations.weight.original0"))
        .unwrap();
    tensors.insert(format!("{norm}.weight_g"), weight);
    load_audio(tensors.clone()).unwrap();
    load_text(tensors).unwrap();
}

#[test]
fn unknown_and_damaged_tensors_are_named() {
    for name in [
        "mulan.audio.model.model.conformer.layers.3.ffn1_layer_norm.weight",
        "mulan.text.extra",
        "other",
    ] {
        let mut with_more = tensors();
        with_more.insert(name.to_owned(), Tensor::new(&[1f32], &device()).unwrap());
        let audio = load_audio(with_more.clone())
            .map(drop)
            .map_err(|error| error.to_string());
        let text = load_text(with_more)
            .map(drop)
            .map_err(|error| error.to_string());
        // Each tower answers for its own part of the file, both for what belongs to neither.
        for (outcome, own) in [(audio, "mulan.audio"), (text, "mulan.text")] {
            let expected = name.starts_with(own) || name == "other";
            assert_eq!(outcome.is_err(), expected, "{name}: {outcome:?}");
            assert!(outcome.is_ok() || outcome.unwrap_err().contains(name));
        }
    }
    let mut damaged = tensors();
    let name = "mulan.audio.model.model.conformer.layers.1.conv_module.batch_norm.running_var";
    damaged.insert(name.to_owned(), Tensor::full(-1f32, 32, &device()).unwrap());
    let message = load_audio(damaged).unwrap_err().to_string();
    assert!(
        message.contains("weights.bin: ") && message.contains(name),
        "{message}"
    );
}

#[test]
fn configurations_must_fit_together() {
    let files = files();
    let mut mulan = files.mulan_config().unwrap();
    let weights = || Weights::from_file(&files.weights, &device()).unwrap();
    mulan.audio_model.use_layer_idx = 4;
    let load = |mulan| AudioEncoder::load(&mulan, &files.muq_config().unwrap(), &weights());
    let message = load(mulan.clone()).unwrap_err().to_string();
    assert!(
        message.contains("use_layer_idx is 4, but the audio model has 3 layers"),
        "{message}"
    );
    mulan.audio_model.model_dim = Some(64);
    let message = load(mulan.clone()).unwrap_err().to_string();
    assert!(
        message.contains("model_dim is 64") && message.contains("encoder_dim is 32"),
        "{message}"
    );
    mulan.text_model.model_dim = None;
    mulan.text_transformer.dim = 32;
    let message = TextEncoder::load(&mulan, &files.text_config().unwrap(), &weights(), None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("hidden_size is 24"), "{message}");
}

#[test]
fn sounds_that_cannot_be_embedded() {
    let encoder = load_audio(tensors()).unwrap();
    let message = |samples: &[f32]| encoder.embed(samples).unwrap_err().to_string();
    assert!(message(&[]).contains("0.00 s long"), "{}", message(&[]));
    assert!(message(&[0.1; 512]).contains("choose a longer recording"));
    encoder.embed(&[0.1; 513]).unwrap();
    let mut samples = vec![0.0; 24_000];
    // Silence has a spectrum too.
    assert!(
        encoder
            .embed(&samples)
            .unwrap()
            .iter()
            .all(|value| value.is_finite())
    );
    samples[7] = f32::INFINITY;
    assert!(message(&samples).contains("sample 7 of the sound is inf"));
}

#[test]
fn a_fingerprint_tells_models_apart_and_not_places() {
    let files = files();
    let config = files.mulan_config().unwrap();
    let from_file = Weights::from_file(&files.weights, &device()).unwrap();
    let of = |tensors| fingerprint(&config, &Weights::from_tensors(tensors, "elsewhere")).unwrap();
    let original = fingerprint(&config, &from_file).unwrap();
    assert_eq!(original, of(tensors()));
    let half = from_file.in_precision(nn::WeightPrecision::F16);
    assert_ne!(original, fingerprint(&config, &half).unwrap());
    let mut trained = tensors();
    let name = "mulan.audio_to_latents.weight";
    let changed = (&trained[name] + 1e-3).unwrap();
    trained.insert(name.to_owned(), changed);
    assert_ne!(original, of(trained));
}
