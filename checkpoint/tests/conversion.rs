//! Conversion to safetensors, read back by this crate and by the safetensors crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/archive.rs"]
mod archive;
#[path = "common/fixtures.rs"]
mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use archive::{Entry, archive};
use checkpoint::{
    CheckpointError, ConvertOptions, Converted, ElementType, Precision, Progress, Silent,
    TensorFile, Values, convert, convert_changed, sha256_digits, sha256_of,
};
use fixtures::{assert_same, fixture, open};
use half::{bf16, f16};

fn to(out: &Path, source: &TensorFile, precision: Precision) -> Result<Converted, CheckpointError> {
    let options = ConvertOptions {
        precision,
        ..ConvertOptions::default()
    };
    convert(source, out, &options, &Silent)
}

#[test]
fn kept_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "dtypes",
        "views_legacy",
        "trainer",
        "script",
        "cfm_model",
        "vae_model",
        "vae_model_nown",
    ] {
        let out = folder.path().join(format!("{name}.safetensors"));
        let source = open(&format!("{name}.pt"));
        let converted = to(&out, &source, Precision::Keep).unwrap();
        let written = fs::read(&out).unwrap();
        assert_same(&TensorFile::open(&out).unwrap(), &source);
        assert_eq!(converted.tensors, source.names().count());
        assert_eq!(converted.bytes, written.len() as u64);
        assert_eq!(converted.not_finite, []);
        let peer = safetensors::SafeTensors::deserialize(&written).unwrap();
        for (name, view) in peer.tensors() {
            assert_eq!(view.data(), &*source.bytes(&name).unwrap(), "{name}");
        }
    }
    // Nothing is left beside.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 7);
}

#[test]
fn other_precisions() {
    let folder = tempfile::tempdir().unwrap();
    let source = open("trainer.pt");
    let name = "model_state_dict.0.weight";
    let singles: Vec<f32> = source
        .bytes(name)
        .unwrap()
        .as_chunks()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect();
    let halves: Vec<u8> = singles
        .iter()
        .flat_map(|&value| f16::from_f32(value).to_le_bytes())
        .collect();
    let brains: Vec<u8> = singles
        .iter()
        .flat_map(|&value| bf16::from_f32(value).to_le_bytes())
        .collect();
    for (precision, dtype, expected) in [
        (Precision::F16, ElementType::F16, &halves),
        (Precision::BF16, ElementType::BF16, &brains),
    ] {
        let out = folder.path().join(format!("{dtype}.safetensors"));
        to(&out, &source, precision).unwrap();
        let file = TensorFile::open(&out).unwrap();
        assert_eq!(file.entry(name).unwrap().dtype, dtype);
        assert_eq!(&*file.bytes(name).unwrap(), &expected[..]);
        let count = "model_state_dict.2.num_batches_tracked";
        assert_eq!(file.entry(count).unwrap().dtype, ElementType::I64);
        assert_eq!(file.bytes(count).unwrap(), source.bytes(count).unwrap());
        let wide = folder.path().join(format!("{dtype}.wide.safetensors"));
        to(&wide, &file, Precision::F32).unwrap();
        let again = folder.path().join(format!("{dtype}.again.safetensors"));
        to(&again, &TensorFile::open(&wide).unwrap(), precision).unwrap();
        assert_same(&TensorFile::open(&again).unwrap(), &file);
    }
}

#[test]
fn shards_and_renamed_views() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("whole.safetensors");
    let shards = open("shards.safetensors.index.json");
    to(&out, &shards, Precision::Keep).unwrap();
    assert_same(&TensorFile::open(&out).unwrap(), &shards);
    let average = checkpoint::diffrhythm::weights(&open("cfm_model_ema.pt"))
        .unwrap()
        .tensors;
    let out = folder.path().join("model.safetensors");
    to(&out, &average, Precision::Keep).unwrap();
    assert_same(
        &TensorFile::open(&out).unwrap(),
        &open("cfm_model.safetensors"),
    );
}

#[test]
fn hashes_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let source = open("single.pt");
    let options = |hash: &str| ConvertOptions {
        expected_sha256: Some(hash.to_string()),
        metadata: BTreeMap::from([("format".to_string(), "pt".to_string())]),
        ..ConvertOptions::default()
    };
    let error = convert(&source, &out, &options(&"0".repeat(64)), &Silent).unwrap_err();
    assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");
    assert!(!out.exists());
    let CheckpointError::Hash { actual, .. } = error else {
        unreachable!()
    };
    let converted = convert(
        &source,
        &out,
        &options(&format!("sha256:{actual}")),
        &Silent,
    )
    .unwrap();
    assert_eq!(converted.source_sha256, actual);
    let file = TensorFile::open(&out).unwrap();
    assert_eq!(file.metadata()["format"], "pt");
    let next = folder.path().join("next.safetensors");
    let again = to(&next, &file, Precision::Keep).unwrap();
    assert_eq!(
        (again.source_sha256, again.sha256),
        (converted.sha256.clone(), converted.sha256)
    );
}

#[test]
fn nothing_is_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    fs::write(&out, "mine").unwrap();
    let source = open("single.pt");
    let error = to(&out, &source, Precision::Keep).unwrap_err().to_string();
    assert!(error.contains("out.safetensors: exists already"), "{error}");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    let overwrite = ConvertOptions {
        overwrite: true,
        ..ConvertOptions::default()
    };
    convert(&source, &out, &overwrite, &Silent).unwrap();
    let own = TensorFile::open(&out).unwrap();
    assert_same(&own, &open("single.safetensors"));
    let error = convert(&own, &out, &overwrite, &Silent).unwrap_err();
    assert!(matches!(error, CheckpointError::SameFile { .. }), "{error}");
    let absent = folder.path().join("absent/out.safetensors");
    let error = to(&absent, &source, Precision::Keep).unwrap_err();
    assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
}

fn one_tensor(values: &[f32]) -> TensorFile {
    let header = format!(
        r#"{{"layer.weight":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
        values.len(),
        values.len() * 4
    );
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let bytes = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat();
    TensorFile::from_bytes(bytes, "model.safetensors").unwrap()
}

#[test]
fn values_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let error = to(&out, &one_tensor(&[1.0, 7e4]), Precision::F16)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "model.safetensors: `layer.weight` holds 70000 at element 1, which f16 cannot hold; convert to bf16 instead"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let converted = to(
        &out,
        &one_tensor(&[1.0, f32::NAN, f32::INFINITY]),
        Precision::BF16,
    )
    .unwrap();
    assert_eq!(converted.not_finite.len(), 1);
    let text = converted.not_finite[0].to_string();
    assert_eq!(
        text,
        "`layer.weight` (2 values, the first is NaN at element 1)"
    );
}

#[test]
fn types_that_safetensors_does_not_have() {
    let pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor\n((X\x07\0\0\0storagectorch\nComplexDoubleStorage\n\
        X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\x00))tR.";
    let bytes = archive(&[
        Entry::stored("a/data.pkl", pickle),
        Entry::stored("a/data/0", &[0; 16]),
    ]);
    let source = TensorFile::from_bytes(bytes, "model.pt").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = to(&folder.path().join("out"), &source, Precision::Keep)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("complex128") && error.contains("change its type"),
        "{error}"
    );
}

#[test]
fn checksums_of_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let mut bytes = fs::read(fixture("cfm_model.pt")).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let source = TensorFile::from_bytes(bytes, "model.pt").unwrap();
    let error = to(&out, &source, Precision::Keep).unwrap_err().to_string();
    assert!(
        error.contains("checksum of entry `cfm_model/data/"),
        "{error}"
    );
    assert!(error.contains("download it again") && !out.exists());
}

/// Asks for a stop once so many pieces of work were done.
struct StopAfter(std::cell::Cell<usize>);

impl Progress for StopAfter {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64) {
        self.0.set(self.0.get().saturating_sub(1));
    }
    fn end(&self) {}
    fn stop_requested(&self) -> bool {
        self.0.get() == 0
    }
}

/// At whatever point: hashing, checking, writing, reading back.
#[test]
fn a_stop_leaves_nothing() {
    let source = open("cfm_model.pt");
    let mut stops = 0;
    for pieces in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.safetensors");
        let progress = StopAfter(std::cell::Cell::new(pieces));
        match convert(&source, &out, &ConvertOptions::default(), &progress) {
            Err(CheckpointError::Stopped) => stops += 1,
            other => {
                assert!(other.is_ok());
                break;
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    assert!(stops > 2 * source.names().count(), "{stops}");
}

#[test]
fn changed_values_are_rounded_once_and_must_be_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let source = one_tensor(&[1.0, 2.0]);
    let changed = |values: Values, precision: Precision| {
        let out = folder.path().join("out.safetensors");
        let options = ConvertOptions {
            precision,
            overwrite: true,
            ..ConvertOptions::default()
        };
        let mut change = |name: &str, _: &_| {
            assert_eq!(name, "layer.weight");
            Ok::<_, CheckpointError>(Some(values.clone()))
        };
        convert_changed(&source, &out, &options, &mut change, &Silent)?;
        let file = TensorFile::open(&out)?;
        Ok::<_, CheckpointError>(file.bytes("layer.weight")?.into_owned())
    };
    let single = Values::F32(vec![0.1, -3.5]);
    assert_eq!(
        changed(single.clone(), Precision::Keep).unwrap(),
        [0.1f32, -3.5].map(f32::to_le_bytes).concat()
    );
    let double = Values::F64(vec![0.1, -3.5]);
    assert_eq!(
        changed(double, Precision::BF16).unwrap(),
        [0.1f32, -3.5]
            .map(|value| bf16::from_f32(value).to_le_bytes())
            .concat()
    );
    let largest = Values::F32(vec![0.0, f32::MAX]);
    let error = changed(largest, Precision::BF16).unwrap_err().to_string();
    assert!(error.contains("bf16 cannot hold"), "{error}");
    for value in [f32::NAN, f32::INFINITY] {
        let error = changed(Values::F32(vec![1.0, value]), Precision::Keep);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("element 1"), "{error}");
    }
    let error = changed(Values::F32(vec![1.0]), Precision::Keep).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Unfaithful { .. }),
        "{error}"
    );
    assert_eq!(changed(single, Precision::F16).unwrap().len(), 4);
}

#[test]
fn what_is_left_out_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let converted = to(
        &folder.path().join("a"),
        &open("trainer.pt"),
        Precision::Keep,
    )
    .unwrap();
    assert_eq!(
        converted.other_values,
        open("trainer.pt").other_values().len()
    );
    assert!(converted.other_values > 0);
    let small = one_tensor(&[1.0, 1e-9]);
    let converted = to(&folder.path().join("b"), &small, Precision::F16).unwrap();
    assert_eq!(converted.flushed_to_zero, 1);
}

#[test]
fn hashes_as_people_write_them() {
    let digits = sha256_of(&open("single.pt"), &Silent).unwrap();
    for text in [
        digits.clone(),
        digits.to_uppercase(),
        format!("sha256:{digits}"),
    ] {
        assert_eq!(sha256_digits(&text).unwrap(), digits);
    }
    for text in ["abc", "", &digits[1..], &format!("{}g", &digits[1..])] {
        let error = sha256_digits(text).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }
}
