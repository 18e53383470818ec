//! The output's header: which tensor stands where, known before the first is written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ConvertOptions, Precision};
use crate::error::{Fault, shorten};
use crate::safetensors::METADATA_KEY;
use crate::{CheckpointError, ElementType, TensorFile};

/// Data starts at a multiple of this, so that a mapped file's numbers are aligned.
const ALIGNMENT: usize = 8;

/// The header, and the tensors in the order of the data.
pub(super) struct Layout {
    header: Vec<u8>,
    tensors: Vec<(String, ElementType)>,
    source_bytes: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderValue<'a> {
    Metadata(BTreeMap<&'a String, &'a String>),
    Tensor {
        dtype: &'static str,
        shape: &'a [usize],
        data_offsets: [u64; 2],
    },
}

impl Layout {
    /// Plans the output of a conversion.
    pub(super) fn plan(
        source: &TensorFile,
        options: &ConvertOptions,
    ) -> Result<Self, CheckpointError> {
        let mut tensors = Vec::new();
        for (name, entry) in source.tensors() {
            let dtype = target(entry.dtype, options.precision);
            let stored = dtype
                .safetensors_name()
                .filter(|_| name != METADATA_KEY)
                .ok_or_else(|| unsupported(source, name, dtype))?;
            tensors.push((name, entry, dtype, stored));
        }
        // Wide elements first, so that each starts at a multiple of its own size.
        tensors.sort_by_key(|(_, _, dtype, _)| std::cmp::Reverse(dtype.size_bytes()));
        let mut header = BTreeMap::new();
        let metadata: BTreeMap<&String, &String> =
            source.metadata().iter().chain(&options.metadata).collect();
        if !metadata.is_empty() {
            header.insert(METADATA_KEY, HeaderValue::Metadata(metadata));
        }
        let mut end = 0;
        for (name, entry, dtype, stored) in &tensors {
            let start = end;
            end += (entry.elements() * dtype.size_bytes()) as u64;
            let value = HeaderValue::Tensor {
                dtype: stored,
                shape: &entry.shape,
                data_offsets: [start, end],
            };
            header.insert(name.as_str(), value);
        }
        Ok(Self {
            header: encode(&header).map_err(|error| {
                Fault::Damaged(format!("its names make no header ({error})"))
                    .in_file(source.origin())
            })?,
            source_bytes: tensors
                .iter()
                .map(|tensor| tensor.1.byte_length() as u64)
                .sum(),
            tensors: tensors
                .into_iter()
                .map(|(name, _, dtype, _)| (name.clone(), dtype))
                .collect(),
        })
    }

    /// Length and text, as they stand at the start of the file.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, ElementType)> {
        self.tensors
            .iter()
            .map(|(name, dtype)| (name.as_str(), *dtype))
    }

    /// Bytes of all tensors in the source.
    pub(super) fn source_bytes(&self) -> u64 {
        self.source_bytes
    }
}

fn encode(header: &BTreeMap<&str, HeaderValue<'_>>) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(header)?;
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    Ok([&(text.len() as u64).to_le_bytes()[..], &text].concat())
}

fn target(dtype: ElementType, precision: Precision) -> ElementType {
    match precision {
        _ if !dtype.is_float() => dtype,
        Precision::Keep => dtype,
        Precision::F16 => ElementType::F16,
        Precision::BF16 => ElementType::BF16,
        Precision::F32 => ElementType::F32,
    }
}

fn unsupported(source: &TensorFile, name: &str, dtype: ElementType) -> CheckpointError {
    Fault::Unsupported {
        what: format!(
            "writing tensor `{}` of type {dtype} as safetensors",
            shorten(name)
        ),
        remedy: "leave it out or change its type where the file was made".to_string(),
    }
    .in_file(source.origin())
}
