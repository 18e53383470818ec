//! Files that torch wrote, against the same tensors in safetensors (`fixtures/make.py`), and the goldens of the
//! reference implementation of DiffRhythm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/fixtures.rs"]
mod fixtures;

use checkpoint::diffrhythm::{StateDict, weights, weights_of};
use checkpoint::{ElementType, Format, OtherValue, TensorFile};
use fixtures::{assert_same, fixture, open};

#[test]
fn every_type() {
    let file = open("dtypes.pt");
    assert_eq!(file.format(), Format::TorchPickle);
    assert_eq!(file.entry("bfloat16").unwrap().dtype, ElementType::BF16);
    assert_same(&file, &open("dtypes.safetensors"));
}

#[test]
fn views_in_every_protocol() {
    let expected = open("views.safetensors");
    for name in ["protocol2", "protocol3", "protocol4", "protocol5", "legacy"] {
        let file = open(&format!("views_{name}.pt"));
        assert_same(&file, &expected);
        for (name, is_contiguous) in [
            ("whole", true),
            ("tied", true),
            ("unit", false),
            ("transposed", false),
        ] {
            assert_eq!(
                file.entry(name).unwrap().is_contiguous(),
                is_contiguous,
                "{name}"
            );
            assert_eq!(file.mapped(name).is_some(), is_contiguous, "{name}");
        }
        assert_eq!(*file.mapped("whole").unwrap(), *file.bytes("tied").unwrap());
    }
}

#[test]
fn a_trainers_state() {
    for name in ["trainer.pt", "trainer_protocol5.pt", "trainer_legacy.pt"] {
        let file = open(name);
        assert_same(&file, &open("trainer.safetensors"));
        let text = |text: &str| OtherValue::Text(text.to_string());
        let expected = [
            ("step", OtherValue::Int(1234)),
            ("large", OtherValue::Int(1 << 40)),
            ("larger", OtherValue::Opaque),
            ("negative", OtherValue::Int(-5)),
            ("loss", OtherValue::Float(0.125)),
            ("name", text("first tëst")),
            ("nothing", OtherValue::None),
            ("yes", OtherValue::Bool(true)),
            ("dtype", text("torch.bfloat16")),
            ("device", text("cpu")),
            ("size.1", OtherValue::Int(3)),
            ("counts.seen", OtherValue::Int(3)),
            ("ordered.b.1.0", OtherValue::Int(3)),
            ("kinds.0", OtherValue::Int(7)),
            ("raw", OtherValue::Opaque),
            ("numpy.f64", OtherValue::Float(0.5)),
            ("numpy.f32", OtherValue::Float(0.25)),
            ("numpy.i64", OtherValue::Int(-7)),
            ("numpy.bool", OtherValue::Bool(true)),
            (
                "optimizer_state_dict.param_groups.0.betas.1",
                OtherValue::Float(0.95),
            ),
            (
                "optimizer_state_dict.param_groups.0.params.3",
                OtherValue::Int(3),
            ),
            ("scheduler_state_dict.T_max", OtherValue::Int(10)),
        ];
        for (key, value) in expected {
            assert_eq!(file.other_values().get(key), Some(&value), "{name}: {key}");
        }
    }
}

#[test]
fn a_script_with_lists_and_tied_weights() {
    let file = open("script.pt");
    assert_eq!(file.format(), Format::TorchScript);
    assert_same(&file, &open("script.safetensors"));
    assert_eq!(
        file.other_values()["blocks.0.rates.1"],
        OtherValue::Float(0.25)
    );
}

#[test]
fn one_tensor_alone() {
    assert_same(&open("single.pt"), &open("single.safetensors"));
}

#[test]
fn shards() {
    let file = open("shards.safetensors.index.json");
    assert_eq!(file.format(), Format::ShardedSafetensors);
    assert_eq!(file.metadata()["total_size"], "96");
    assert_eq!(file.names().count(), 4);
    for index in 0..4 {
        let expected = (index as f32).to_le_bytes().repeat(6);
        assert_eq!(
            *file.bytes(&format!("block.{index}.weight")).unwrap(),
            expected
        );
    }
}

#[test]
fn bytes_in_memory_are_the_same() {
    for name in ["script.pt", "trainer_legacy.pt", "dtypes.safetensors"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let held = TensorFile::from_bytes(bytes, "held").unwrap();
        assert_same(&held, &open(name));
        held.discard_pages(None);
        assert_same(&held, &open(name));
    }
}

#[test]
fn a_mapped_tensor_outlives_its_file() {
    let file = open("dtypes.pt");
    let expected = file.bytes("float32").unwrap().to_vec();
    let mapped = file.mapped("float32").unwrap();
    file.discard_pages(Some("float32"));
    drop(file);
    std::thread::spawn(move || assert_eq!(*mapped, *expected))
        .join()
        .unwrap();
}

#[test]
fn diffrhythms_transformer() {
    let expected = open("cfm_model.safetensors");
    let model = weights(&open("cfm_model.pt")).unwrap();
    assert_eq!(model.taken_from, StateDict::Model);
    assert_same(&model.tensors, &expected);
    let average = weights(&open("cfm_model_ema.pt")).unwrap();
    assert_eq!(average.taken_from, StateDict::Average);
    assert_eq!(
        average.left_out,
        ["ema_model_state_dict.initted", "ema_model_state_dict.step"]
    );
    assert_same(&average.tensors, &expected);
    let bare = weights(&expected).unwrap();
    assert_eq!(bare.taken_from, StateDict::Bare);
    assert_same(&bare.tensors, &expected);
}

#[test]
fn diffrhythms_transformer_under_other_prefixes() {
    let expected = open("cfm_model.safetensors");
    let inner = |name: &str| name.strip_prefix("transformer.").map(str::to_string);
    for prefix in [
        "",
        "cfm.transformer.",
        "module.transformer.",
        "ema_model.transformer.",
    ] {
        let file = expected
            .renamed(|name| Some(format!("{prefix}{}", inner(name)?)))
            .unwrap();
        assert_same(&weights(&file).unwrap().tensors, &expected);
    }
    let both = expected
        .renamed(|name| Some(name.replace("transformer.proj_out", "optimizer.proj_out")))
        .unwrap();
    assert!(
        weights(&both)
            .unwrap()
            .tensors
            .entry("optimizer.proj_out.weight")
            .is_some()
    );
    let error = weights(&open("script.pt")).unwrap_err().to_string();
    assert!(
        error.contains("script.pt") && error.contains("choose a checkpoint"),
        "{error}"
    );
    let error = weights_of(&expected, StateDict::Average)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ema_model_state_dict"), "{error}");
}

/// A trainer's own model beside an average that alone holds the transformer.
#[test]
fn a_state_dict_without_the_transformer_is_passed_over() {
    let expected = open("cfm_model.safetensors");
    let file = expected
        .renamed(|name| {
            Some(match name {
                "transformer.proj_out.bias" => "model_state_dict.head.bias".to_string(),
                name => format!("ema_model_state_dict.ema_model.{name}"),
            })
        })
        .unwrap();
    let found = weights(&file).unwrap();
    assert_eq!(found.taken_from, StateDict::Average);
    assert_eq!(found.left_out, ["model_state_dict.head.bias"]);
    let error = weights_of(&file, StateDict::Model).unwrap_err().to_string();
    assert!(error.contains("model_state_dict"), "{error}");
}

#[test]
fn diffrhythms_autoencoder() {
    let script = open("vae_model.pt");
    assert_eq!(script.format(), Format::TorchScript);
    assert_same(&script, &open("vae_model.safetensors"));
    let folded = open("vae_model_nown.pt");
    assert!(folded.entry("encoder.layers.0.weight").is_some());
    assert!(folded.entry("encoder.layers.0.weight_g").is_none());
}

#[test]
fn the_originals_adapter() {
    let file = open("model_lora_1234.pt");
    assert!(file.names().count() > 20);
    assert!(
        file.names()
            .all(|name| file.entry(name).unwrap().dtype == ElementType::F32)
    );
}

#[test]
fn renaming() {
    let file = open("dtypes.pt");
    let floats = file
        .renamed(|name| Some(name.strip_prefix("float")?.to_string()))
        .unwrap();
    assert_eq!(floats.bytes("32").unwrap(), file.bytes("float32").unwrap());
    assert!(floats.entry("bool").is_none());
    let error = file
        .renamed(|_| Some("same".to_string()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dtypes.pt: two tensors are named `same`"),
        "{error}"
    );
    let error = file.bytes("float").unwrap_err().to_string();
    assert!(error.contains("has no tensor `float`"), "{error}");
}
