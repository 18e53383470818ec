//! Loading weights: what fits, and what each kind of bad file says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use candle_core::{DType, Device, Tensor};
use nn::{Weights, WeightsError};
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
        message(&error, &["tensor b is stored as I64", "convert"]);
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

#[test]
fn truncated_files_are_broken_at_every_length() {
    let (_folder, path, _) = file();
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let from_file = Weights::from_file(&path, &Device::Cpu)
            .map(|_| ())
            .unwrap_err();
        let from_bytes = Weights::from_bytes(bytes[..length].to_vec(), "embedded", &Device::Cpu)
            .map(|_| ())
            .unwrap_err();
        message(
            &from_file,
            &["Gewichte ü", "not a whole safetensors file", "again"],
        );
        message(&from_bytes, &["embedded", "not a whole safetensors file"]);
    }
}

#[test]
fn trailing_bytes_are_broken() {
    let (_folder, path, _) = file();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.push(0);
    let error = Weights::from_bytes(bytes.clone(), "embedded", &Device::Cpu)
        .map(|_| ())
        .unwrap_err();
    message(&error, &["should hold 40 bytes of data and holds 41"]);
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_it_is_read() {
    let (_folder, path, _) = file();
    for claimed in [1u64 << 60, u64::MAX, 1 << 20] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&claimed.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let error = Weights::from_file(&path, &Device::Cpu)
            .map(|_| ())
            .unwrap_err();
        message(
            &error,
            &["Gewichte ü", &format!("claims a header of {claimed} bytes")],
        );
        assert!(Weights::from_bytes(bytes.clone(), "embedded", &Device::Cpu).is_err());
    }
}

#[test]
fn a_shape_that_overflows_is_broken() {
    let header = br#"{"b":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 16]);
    let error = Weights::from_bytes(bytes.clone(), "embedded", &Device::Cpu)
        .map(|_| ())
        .unwrap_err();
    message(&error, &["embedded", "header does not parse"]);
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
            "cannot be read",
            "check the path",
        ],
    );
    // The cause is one step down the chain, and only there: a chain that is printed whole tells it once.
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("No such file"), "{cause}");
    assert!(!error.to_string().contains(&cause), "{error}");
}
