//! `lora-convert` as a user meets it, and adapters of other programs on a released model.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use candle_core::Device;
use checkpoint::TensorFile;
use lora::adapter::{Adapter, LayerFactors, Target, layer_shapes};
use lora::models::Hub;
use lora::progress::Silent;
use testing::pseudo_random;

const ORIGINAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/adapters/model_lora_1234.pt"
);
/// A tiny release of DiffRhythm.
const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoint/tests/fixtures");

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    folder.join(name).display().to_string()
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::cargo_bin(program)
        .unwrap()
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HUB_CACHE", folder.join("hub"))
        .args(arguments)
        .output()
        .unwrap()
}

fn convert(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, "lora-convert", arguments)
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn adapters_go_from_layout_to_layout_and_what_is_assumed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let output = convert(at, &[ORIGINAL, "peft", "--to", "peft"]);
    expect(&output, 0, &["alpha", "16", "peft"]);
    expect(
        &convert(at, &["peft", "one.safetensors", "--to", "single"]),
        0,
        &[],
    );
    let output = convert(
        at,
        &["one.safetensors", "comfy.safetensors", "--to", "comfyui"],
    );
    expect(&output, 0, &["comfy.safetensors"]);
    expect(
        &convert(at, &["comfy.safetensors", "back.pt", "--to", "original"]),
        0,
        &[],
    );
    let inspected = convert(at, &["--inspect", "back.pt"]);
    expect(
        &inspected,
        0,
        &[
            "original project",
            "LoRA",
            "transformer.transformer_blocks.3",
            "SHA-256",
        ],
    );
    let again = ["back.pt", "one.safetensors", "--to", "single"];
    expect(&convert(at, &again), 1, &["one.safetensors", "--force"]);
    expect(&convert(at, &[&again[..], &["--force"]].concat()), 0, &[]);
}

#[test]
fn another_scale_than_the_originals_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let peft = fixture("peft");
    let output = convert(folder.path(), &[&peft, "out.pt", "--to", "original"]);
    expect(&output, 0, &["lora_infer.py", "lora_B"]);
}

/// An adapter for the tiny release, in the layout asked for.
fn adapter_for_release(path: &Path, target: Target) {
    let mut adapter = Adapter::load(Path::new(ORIGINAL), &Device::Cpu).unwrap();
    let factors = |index| {
        let (a, b) = (
            pseudo_random((8, 64), index),
            pseudo_random((64, 8), index + 1),
        );
        LayerFactors::low_rank(a, b, 2.0)
    };
    adapter.layers = ["q_proj", "v_proj"]
        .map(|name| format!("transformer.transformer_blocks.1.self_attn.{name}"))
        .into_iter()
        .zip([factors(1), factors(3)])
        .collect();
    adapter.write(path, target, false).unwrap();
}

#[test]
fn the_base_is_a_name_a_file_or_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    adapter_for_release(&at.join("style.pt"), Target::Original);
    let merge =
        |base: &str, out: &str| convert(at, &["style.pt", out, "--to", "merged", "--base", base]);
    let file = format!("{RELEASE}/cfm_model.pt");
    expect(&merge(&file, "a.safetensors"), 0, &["model_state_dict"]);
    expect(&merge(RELEASE, "b.safetensors"), 0, &[]);
    for (base, words) in [
        ("nowhere", ["nowhere", "--base takes", "embedded"]),
        (
            "diffrhythm-base",
            ["cfm_model.pt", "not on this machine", "MB"],
        ),
        (
            "embedded",
            ["does not fit", "base embedded", "transformer_blocks.1"],
        ),
        (
            ".",
            [
                "no transformer's weights",
                "cfm_model.pt",
                "diffusion_pytorch_model",
            ],
        ),
    ] {
        expect(&merge(base, "c.safetensors"), 1, &words);
    }
    assert!(!at.join("c.safetensors").exists());
}

/// Merged at strength 0 the embedded base is what it was, and a base still.
#[test]
fn the_embedded_base_can_be_merged() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let base = lora::base::weights("embedded", &Hub::from_env(), &mut Silent).unwrap();
    let name = "transformer.transformer_blocks.0.self_attn.q_proj";
    let &(outputs, inputs) = &layer_shapes(&base)[name];
    let mut adapter = Adapter::load(Path::new(ORIGINAL), &Device::Cpu).unwrap();
    let (a, b) = (
        pseudo_random((2, inputs), 1),
        pseudo_random((outputs, 2), 2),
    );
    adapter.layers = [(name.to_owned(), LayerFactors::low_rank(a, b, 1.0))].into();
    adapter.save(&at.join("style.safetensors")).unwrap();
    let merge = |out: &str, strength: &str| {
        let arguments = [
            "style.safetensors",
            out,
            "--to",
            "merged",
            "--base",
            "embedded",
        ];
        let output = convert(at, &[&arguments[..], &["--strength", strength]].concat());
        expect(&output, 0, &[out]);
        TensorFile::open(&at.join(out)).unwrap()
    };
    for (out, strength) in [("same.safetensors", "0"), ("other.safetensors", "1")] {
        let merged = merge(out, strength);
        for tensor in base.names() {
            let is_same = merged.bytes(tensor).unwrap() == base.bytes(tensor).unwrap();
            let is_adapted = tensor.strip_suffix(".weight") == Some(name);
            assert_eq!(is_same, strength == "0" || !is_adapted, "{tensor}");
        }
    }
    let inspected = convert(at, &["--inspect", "other.safetensors"]);
    expect(&inspected, 0, &["a base of Lorelei"]);
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let peft = fixture("peft");
    for (more, words) in [
        (&["--to", "single", "--strength", "2"][..], "--strength"),
        (&["--to", "peft", "--precision", "f16"], "--precision"),
        (&["--to", "safetensors", "--base", "embedded"], "--base"),
        (&["--to", "safetensors"], "is a folder"),
        (&["--to", "merged"], "--base"),
        (&["--to", "single", "--alpha", "0"], "above 0"),
        (&["--to", "single", "--alpha", "7"], "alpha 5"),
    ] {
        let output = convert(folder.path(), &[&[peft.as_str(), "out"], more].concat());
        expect(&output, 1, &[words]);
    }
    expect(&convert(folder.path(), &[&peft]), 2, &["OUT"]);
    let output = convert(folder.path(), &["--inspect", &peft, "--force"]);
    expect(&output, 2, &["--force"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn inspecting_says_what_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let lokr = fixture("lokr.safetensors");
    for (file, words) in [
        (
            ORIGINAL,
            &["rank: 8", "alpha: 16", "scale: 2", "step: 1234"][..],
        ),
        (&fixture("peft_dora"), &["DoRA", "before DoRA's lengths"]),
        (
            &lokr,
            &[
                "LoKr",
                "Kronecker",
                "scale: 1.5",
                "transformer_transformer_blocks_1: ",
            ],
        ),
        (
            &fixture("ace/base.safetensors"),
            &["ACE-Step", "tensors: 96", "parameters: 84904", "float32"],
        ),
        (&format!("{RELEASE}/cfm_model.pt"), &["DiffRhythm"]),
        (
            &format!("{RELEASE}/vae_model.pt"),
            &["Oobleck", "TorchScript"],
        ),
    ] {
        expect(&convert(folder.path(), &["--inspect", file]), 0, words);
    }
    let output = convert(folder.path(), &["--inspect", &lokr]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("alpha"));
}

/// One adapter in three layouts is one song, and another than without it.
#[test]
fn a_released_model_sings_with_adapters_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let release = at.join("release");
    std::fs::create_dir(&release).unwrap();
    for name in ["cfm_model.pt", "vae_model.pt"] {
        std::fs::copy(Path::new(RELEASE).join(name), release.join(name)).unwrap();
    }
    let song = |out: &str, more: &[&str]| {
        let arguments = ["--model", "release", "--causal", "true", "--out", out];
        let arguments = [&arguments[..], &["--seconds", "0.3", "--steps", "2"], more].concat();
        let output = run(at, "lora-infer", &arguments);
        expect(&output, 0, &[out]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(more.is_empty() || told.contains("applied 4 of 4"), "{told}");
        std::fs::read(at.join(out)).unwrap()
    };
    let plain = song("plain.wav", &[]);
    let adapted = [
        ("style.pt", Target::Original),
        ("style-peft", Target::Peft),
        ("style.safetensors", Target::ComfyUi),
    ]
    .map(|(name, target)| {
        adapter_for_release(&at.join(name), target);
        song(&format!("{name}.wav"), &["--lora", name])
    });
    assert_ne!(plain, adapted[0]);
    assert_eq!(adapted[0], adapted[1]);
    assert_eq!(adapted[0], adapted[2]);
}
