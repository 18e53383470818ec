//! Loading weights: what fits, and what each kind of bad file says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use candle_core::{DType, Device, Tensor};
use nn::{Linear, Mode, WeightPrecision, Weights, WeightsError};
use std::collections::HashMap;
use std::path::PathBuf;
use testing::{assert_equal, pseudo_random};

/// A file with `a.weight` `[2, 3]` and `b` `[4]`, in a folder that lives as long as it is held.
fn file() -> (tempfile::TempDir, PathBuf, HashMap<String, Tensor>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Gewichte ü.safetensors");
    let tensors = HashMap::from([
        ("a.weight".to_string(), pseudo_random((2, 3), 1)),
        ("b".to_string(), pseudo_random(4, 2)),
    ]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    (folder, path, tensors)
}

fn message(error: &WeightsError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn a_whole_file_loads_from_disk_and_from_bytes() {
    let (_folder, path, tensors) = file();
    let bytes = std::fs::read(&path).unwrap();
    let sources = [
        Weights::from_file(&path, &Device::Cpu).unwrap(),
        Weights::from_bytes(bytes.clone(), "embedded", &Device::Cpu).unwrap(),
        Weights::from_tensors(tensors.clone(), "memory"),
    ];
    for weights in sources {
        let root = weights.root();
        assert!(root.contains("a") && root.pp("a").contains("weight") && !root.contains("c"));
        assert_equal(
            "a",
            &root.pp("a").get("weight", &[2, 3]).unwrap(),
            &tensors["a.weight"],
        );
        message(
            &weights.finish().unwrap_err(),
            &["1 unused tensors: b", weights.origin()],
        );
        assert_equal("b", &root.get("b", &[4]).unwrap(), &tensors["b"]);
        weights.finish().unwrap();
    }
}

#[test]
fn what_is_left_alone_by_name_is_not_unused() {
    let (_folder, path, mut tensors) = file();
    tensors.insert("ab.weight".to_string(), pseudo_random(1, 3));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let weights = Weights::from_file(&path, &Device::Cpu).unwrap();
    let root = weights.root();
    root.leave("a");
    root.leave("absent");
    // A name is a name or a scope, never the beginning of another.
    message(
        &weights.finish().unwrap_err(),
        &["2 unused tensors: ab.weight, b"],
    );
    root.pp("ab").leave("weight");
    root.leave("b");
    weights.finish().unwrap();
}

#[test]
fn half_precision_becomes_f32() {
    let (_folder, path, tensors) = file();
    for dtype in [DType::F16, DType::BF16] {
        let half: HashMap<_, _> = tensors
            .iter()
            .map(|(name, t)| (name.clone(), t.to_dtype(dtype).unwrap()))
            .collect();
        candle_core::safetensors::save(&half, &path).unwrap();
        let loaded = Weights::from_file(&path, &Device::Cpu)
            .unwrap()
            .root()
            .get("b", &[4])
            .unwrap();
        assert_eq!(loaded.dtype(), DType::F32);
        assert_equal("b", &loaded, &half["b"].to_dtype(DType::F32).unwrap());
    }
}

#[test]
fn variables_stay_variables() {
    let var = testing::pseudo_random_var(4, 1);
    let weights = Weights::from_tensors(
        HashMap::from([("b".to_string(), var.as_tensor().clone())]),
        "memory",
    );
    assert!(weights.root().get("b", &[4]).unwrap().is_variable());
}

#[test]
fn a_missing_tensor_is_named_with_what_looks_alike() {
    let (_folder, path, _) = file();
    let weights = Weights::from_file(&path, &Device::Cpu).unwrap();
    let error = weights.root().pp("a").get("bias", &[2]).unwrap_err();
    message(
        &error,
        &["Gewichte ü", "a.bias is missing", "another model"],
    );
    let error = weights.root().pp("ab").get("weight", &[2]).unwrap_err();
    message(&error, &["ab.weight is missing", "the file has a.weight"]);
}

#[test]
fn a_wrong_shape_is_named_with_both() {
    let (_folder, path, _) = file();
    let weights = Weights::from_file(&path, &Device::Cpu).unwrap();
    let error = weights.root().get("b", &[5]).unwrap_err();
    message(
        &error,
        &[
            "Gewichte ü",
            "tensor b",
            "[4]",
            "expected [5]",
            "configuration",
        ],
    );
}

#[test]
fn a_wrong_type_is_named() {
    let tokens = Tensor::new(&[1i64, 2], &Device::Cpu).unwrap();
    let (_folder, path, _) = file();
    candle_core::safetensors::save(&HashMap::from([("b".to_string(), tokens.clone())]), &path)
        .unwrap();
    let from_file = Weights::from_file(&path, &Device::Cpu).unwrap();
    let from_memory = Weights::from_tensors(HashMap::from([("b".to_string(), tokens)]), "memory");
    for weights in [from_file, from_memory] {
        let error = weights.root().get("b", &[2]).unwrap_err();
        message(&error, &["tensor b is stored as", "convert"]);
    }
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let tensor = Tensor::new(&[0.0, 1.0, bad, 2.0], &Device::Cpu).unwrap();
        let weights = Weights::from_tensors(HashMap::from([("b".to_string(), tensor)]), "memory");
        let error = weights.root().get("b", &[4]).unwrap_err();
        message(&error, &["memory: tensor b holds", "element 2", "damaged"]);
    }
}

/// What else can be wrong with a file is told by `checkpoint`, and tested there.
#[test]
fn a_broken_file_is_named() {
    let (_folder, path, _) = file();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = Weights::from_file(&path, &Device::Cpu).map(|_| ());
    message(&error.unwrap_err(), &["Gewichte ü", "again"]);
}

/// 16-bit files whose linear layers stay in the file: the same values, and the same complaints.
#[test]
fn mapped_layers_are_those_that_were_copied() {
    let (_folder, path, _) = file();
    for (dtype, precision) in [
        (DType::F16, WeightPrecision::F16),
        (DType::BF16, WeightPrecision::Bf16),
    ] {
        for (rows, bad) in [(5, None), (6, Some(f32::INFINITY))] {
            let mut values = pseudo_random((rows, 3), 4).flatten_all().unwrap();
            if let Some(bad) = bad {
                let bad = Tensor::new(&[bad], &Device::Cpu).unwrap();
                let rest = values.narrow(0, 1, 3 * rows - 1).unwrap();
                values = Tensor::cat(&[bad, rest], 0).unwrap();
            }
            let weight = values.reshape((rows, 3)).unwrap().to_dtype(dtype).unwrap();
            let tensors = HashMap::from([("a.weight".to_string(), weight.clone())]);
            candle_core::safetensors::save(&tensors, &path).unwrap();
            let weights = Weights::from_file(&path, &Device::Cpu)
                .unwrap()
                .in_precision(precision);
            let layer = Linear::load(&weights.root().pp("a"), 3, rows, false);
            if bad.is_some() {
                message(&layer.unwrap_err(), &["a.weight holds inf", "element 0"]);
                continue;
            }
            let layer = layer.unwrap();
            weights.finish().unwrap();
            assert_equal(
                "weight",
                &layer.weight().unwrap(),
                &weight.to_dtype(DType::F32).unwrap(),
            );
            let x = pseudo_random((2, 4, 3), 5);
            let mut copied = Linear::new("a", layer.weight().unwrap(), None).unwrap();
            copied.store(precision).unwrap();
            let mode = Mode::Inference;
            assert_equal(
                "product",
                &layer.forward(&x, &mode).unwrap(),
                &copied.forward(&x, &mode).unwrap(),
            );
            assert!(Linear::load(&weights.root().pp("a"), 4, rows, false).is_err());
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Weights::from_file("/nowhere/at all.safetensors", &Device::Cpu)
        .map(|_| ())
        .unwrap_err();
    message(
        &error,
        &[
            "/nowhere/at all.safetensors",
            "cannot be opened",
            "check the path",
        ],
    );
}
