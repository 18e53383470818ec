//! The fixtures of the models' crates, as cases: all within tolerances, everything accounted for, and on the device at hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use candle_core::Tensor;
use checkpoint::{ConvertOptions, Silent, TensorFile, convert};
use parity::{Case, Kind, Outcome};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use testing::{device, fixture};

fn run(folder: &Path, kind: Kind) -> Outcome {
    let case = Case::open(folder, &device()).unwrap();
    assert_eq!(Kind::of(&case), Some(kind), "{}", folder.display());
    kind.run(&case).unwrap()
}

#[track_caller]
fn check(folder: &Path, kind: Kind) -> Outcome {
    let outcome = run(folder, kind);
    assert!(outcome.passed(), "{}\n{outcome}", folder.display());
    outcome
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

/// A case whose folder holds the base model too, as the reference's scripts write it.
fn with_base(name: &str, target: &Path) {
    copy(&fixture("dit", name), target);
    let base = fixture("dit", "b_stable_audio_dit/transformer");
    copy(&base, &target.join("transformer"));
}

#[test]
fn oobleck() {
    check(&fixture("vae", "oobleck"), Kind::Oobleck);
    check(&fixture("vae", "diffrhythm"), Kind::DiffRhythmVae);
}

#[test]
fn stable_audio() {
    let folder = fixture("dit", "b_stable_audio_dit");
    let outcome = check(&folder, Kind::StableAudio);
    let skipped: Vec<&String> = outcome.not_compared.values().flatten().collect();
    assert!(skipped.iter().any(|name| *name == "out_norope"));
    assert!(!skipped.iter().any(|name| name.starts_with("block")));
}

#[test]
fn adapters_on_stable_audio() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["d_lora_dit", "d2_lora_pattern_rslora"] {
        let target = folder.path().join(name);
        with_base(name, &target);
        check(&target, Kind::StableAudioLora);
    }
}

/// The fixture has the first rows of what is widened; a case has all of it, and 8-bit integers.
#[test]
fn four_bits() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("nn", "i_nf4"), folder.path());
    let path = folder.path().join("golden.safetensors");
    let cut = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&cut).unwrap();
    let integers = [1u8, 255];
    let more = safetensors::tensor::TensorView::new(safetensors::Dtype::I8, vec![2], &integers);
    let mut tensors = file.tensors();
    tensors.retain(|(name, _)| !name.ends_with("first_rows"));
    tensors.push(("int8.q".to_owned(), more.unwrap()));
    let whole = safetensors::serialize(tensors, None).unwrap();
    fs::write(&path, whole).unwrap();
    let outcome = check(folder.path(), Kind::FourBit);
    assert_eq!(outcome.rows.len(), 11, "{outcome}");
    let skipped: Vec<&String> = outcome.not_compared.values().flatten().collect();
    assert!(skipped.contains(&&"int8.q".to_owned()));
}

#[test]
fn diffrhythm() {
    for name in ["dr_dit", "dr_dit_full"] {
        check(&fixture("dit", name), Kind::DiffRhythm);
    }
}

#[test]
fn diffrhythm_sampling() {
    check(&fixture("dit", "dr_cfm_sample"), Kind::Sampling);
}

#[test]
fn adapters_on_diffrhythm() {
    check(&fixture("dit", "dr_train"), Kind::Training);
}

/// The original's own file is read as Lorelei reads it.
#[test]
fn the_originals_file_beside_a_training_case() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dr_train", "dr_dit"] {
        copy(&fixture("dit", name), &folder.path().join(name));
    }
    let case = folder.path().join("dr_train");
    fs::copy(
        fixture("lora", "adapters/model_lora_1234.pt"),
        case.join("model_lora_1234.pt"),
    )
    .unwrap();
    let outcome = check(&case, Kind::Training);
    let rows = outcome.rows.iter();
    let of_file = rows.filter(|row| row.name.starts_with("model_lora_1234.pt "));
    assert_eq!(of_file.count(), 1 + 3 * 22);
}

/// PEFT's patterns are expressions, and Lorelei's reader is what is tested.
#[test]
fn patterns_are_expressions() {
    let folder = tempfile::tempdir().unwrap();
    with_base("d2_lora_pattern_rslora", folder.path());
    let path = folder.path().join("lora/adapter_config.json");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("\"attn1.to_v\""), "{config}");
    fs::write(
        &path,
        config.replace("\"attn1.to_v\"", "\"attn1\\\\.to_v\""),
    )
    .unwrap();
    check(folder.path(), Kind::StableAudioLora);
}

/// An adapter of the same shapes for other layers is another adapter.
#[test]
fn factors_belong_to_layers_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dr_train", "dr_dit"] {
        copy(&fixture("dit", name), &folder.path().join(name));
    }
    let case = folder.path().join("dr_train");
    let path = case.join("peft/adapter_model.safetensors");
    let tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    let renamed: HashMap<String, Tensor> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            (
                name.replace("transformer_blocks.3", "transformer_blocks.4"),
                tensor,
            )
        })
        .collect();
    candle_core::safetensors::save(&renamed, &path).unwrap();
    let opened = Case::open(&case, &device()).unwrap();
    let error = Kind::Training.run(&opened).unwrap_err().to_string();
    assert!(error.contains("transformer_blocks.3"), "{error}");
}

/// A case with any of the files that the reference publishes, or that `lora-convert` makes of them.
#[test]
fn weights_of_any_format() {
    let small = "dr_dit_full";
    let safetensors = "cfm_model.safetensors";
    for (file, name) in [
        ("cfm_model.pt", "cfm_model.pt"),
        ("cfm_model_ema.pt", "cfm_model_ema.pt"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture("dit", small), folder.path());
        fs::remove_file(folder.path().join(safetensors)).unwrap();
        fs::copy(testing::release_file(file), folder.path().join(name)).unwrap();
        check(folder.path(), Kind::DiffRhythm);
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("dit", small), folder.path());
    let path = folder.path().join(safetensors);
    let tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    let prefixed: HashMap<String, Tensor> = tensors
        .into_iter()
        .map(|(name, tensor)| (format!("model_state_dict.{name}"), tensor))
        .collect();
    candle_core::safetensors::save(&prefixed, &path).unwrap();
    check(folder.path(), Kind::DiffRhythm);
}

/// A case of samplings whose models have the `.pt` alone.
#[test]
fn samplings_of_any_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dr_cfm_sample", "dr_dit", "dr_dit_full"] {
        copy(&fixture("dit", name), &folder.path().join(name));
    }
    let full = folder.path().join("dr_dit_full");
    fs::remove_file(full.join("cfm_model.safetensors")).unwrap();
    fs::copy(
        testing::release_file("cfm_model.pt"),
        full.join("cfm_model.pt"),
    )
    .unwrap();
    check(&folder.path().join("dr_cfm_sample"), Kind::Sampling);
    // A training case names the file; it may have been converted meanwhile.
    copy(&fixture("dit", "dr_train"), &folder.path().join("dr_train"));
    let model = folder.path().join("dr_dit");
    let tensors = TensorFile::open(&model.join("cfm_model.safetensors")).unwrap();
    let prefixed = tensors
        .renamed(|name| Some(format!("model_state_dict.{name}")))
        .unwrap();
    let options = ConvertOptions::default();
    convert(&prefixed, &model.join("cfm_model.pt"), &options, &Silent).unwrap();
    fs::remove_file(model.join("cfm_model.safetensors")).unwrap();
    check(&folder.path().join("dr_train"), Kind::Training);
}

#[test]
fn style_encoder() {
    check(&fixture("embed", "muq"), Kind::Muq);
}

#[test]
fn lyrics() {
    check(&fixture("lyrics", ""), Kind::Lyrics);
}

fn change(folder: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = folder.join("golden.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).unwrap();
}

/// The report is worth nothing if it does not see what is wrong.
#[test]
fn what_is_wrong_or_forgotten_is_found() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("vae", "diffrhythm"), folder.path());
    change(folder.path(), |tensors| {
        let decoded = tensors["decode"].clone();
        let shifted = (&decoded + 1e-3).unwrap();
        tensors.insert("decode".into(), shifted);
        tensors.insert("std".into(), tensors["std"].narrow(2, 0, 3).unwrap());
        tensors.insert("scale".into(), (&tensors["scale"] * f64::NAN).unwrap());
        tensors.insert("decode_extra".into(), decoded);
    });
    let outcome = run(folder.path(), Kind::DiffRhythmVae);
    assert!(!outcome.passed());
    assert_eq!(outcome.forgotten, ["decode_extra"]);
    let over: Vec<&str> = outcome
        .rows
        .iter()
        .filter(|row| !row.passed())
        .map(|row| row.name.split(' ').next().unwrap())
        .collect();
    assert_eq!(over, ["scale", "std", "decode"]);
    let text = outcome.to_string();
    assert!(
        text.contains("shape") && text.contains("no number"),
        "{text}"
    );
    assert!(
        text.contains("neither compared nor accounted for"),
        "{text}"
    );
}

#[test]
fn what_a_case_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Case::open(path, &device()).err().unwrap().to_string();
    assert!(message(folder.path()).contains("golden.json"));
    fs::write(folder.path().join("golden.json"), "{").unwrap();
    assert!(message(folder.path()).contains("copy the case again"));
    let case = tempfile::tempdir().unwrap();
    copy(&fixture("dit", "dr_cfm_sample"), case.path());
    let opened = Case::open(case.path(), &device()).unwrap();
    let error = Kind::Sampling.run(&opened).unwrap_err().to_string();
    assert!(error.contains("../dr_dit"), "{error}");
}
