//! A file alone in its process: the peak of its memory is that of the conversion.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Write;

use checkpoint::{ConvertOptions, Precision, Silent, TensorFile, convert};

const TENSORS: usize = 16;
const TENSOR_BYTES: usize = 64 << 20;
/// A sixteenth of the model.
const PEAK_MAX_BYTES: usize = 64 << 20;

fn peak_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        << 10
}

#[test]
#[ignore = "writes half a gigabyte"]
fn converting_a_gigabyte_needs_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (
        folder.path().join("model.safetensors"),
        folder.path().join("half.safetensors"),
    );
    let tensors: Vec<String> = (0..TENSORS)
        .map(|index| {
            let (start, end) = (index * TENSOR_BYTES, (index + 1) * TENSOR_BYTES);
            format!(
                r#""{index}":{{"dtype":"F32","shape":[{}],"data_offsets":[{start},{end}]}}"#,
                TENSOR_BYTES / 4
            )
        })
        .collect();
    let header = format!("{{{}}}", tensors.join(","));
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + TENSORS * TENSOR_BYTES) as u64)
        .unwrap();
    drop(file);

    let source = TensorFile::open(&path).unwrap();
    let options = ConvertOptions {
        precision: Precision::F16,
        ..ConvertOptions::default()
    };
    let converted = convert(&source, &out, &options, &Silent).unwrap();
    assert_eq!(converted.tensors, TENSORS);
    let peak = peak_bytes();
    assert!(peak < PEAK_MAX_BYTES, "{} MiB", peak >> 20);
}
