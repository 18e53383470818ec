//! A base's weights with an adapter folded in, as one safetensors file: a tensor in memory at a time, whatever the model's size.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use audio::PartFile;
use candle_core::{Device, Tensor};
use checkpoint::{ElementType, TensorEntry, TensorFile};
use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::adapter::read::to_f32;
use crate::adapter::{Adapter, LayerFactors};
use crate::error::LoraError;
use crate::progress::Progress;

/// The header is filled up with spaces to a multiple of this, so that tensors are aligned.
const HEADER_ALIGNMENT: usize = 8;

/// What a base's weights become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergedPrecision {
    /// Each tensor stays what it is.
    #[default]
    Keep,
    /// All floating-point tensors.
    F16,
    /// All floating-point tensors.
    Bf16,
    /// All floating-point tensors.
    F32,
}

impl MergedPrecision {
    fn of(self, dtype: ElementType) -> ElementType {
        let is_float = matches!(
            dtype,
            ElementType::F16 | ElementType::BF16 | ElementType::F32
        );
        match (is_float, self) {
            (true, Self::F16) => ElementType::F16,
            (true, Self::Bf16) => ElementType::BF16,
            (true, Self::F32) => ElementType::F32,
            _ => dtype,
        }
    }
}

/// The `(outputs, inputs)` of every layer whose weight a file holds.
pub fn layer_shapes(base: &TensorFile) -> BTreeMap<String, (usize, usize)> {
    let layer = |name: &str| {
        let layer = name.strip_suffix(".weight")?;
        match base.entry(name)?.shape.as_slice() {
            [outputs, inputs] => Some((layer.to_owned(), (*outputs, *inputs))),
            _ => None,
        }
    };
    base.names().filter_map(layer).collect()
}

/// Writes the base with the adapter at a strength. The base's header goes along, so that a merged base is a base.
///
/// # Errors
/// When the adapter does not fit, a value does not fit the precision, the output is there already (unless `replace`), or `progress`
/// asks for a stop.
pub fn write_merged(
    adapter: &Adapter,
    base: &TensorFile,
    out: &Path,
    options: MergeOptions,
    progress: &mut dyn Progress,
) -> Result<(), LoraError> {
    if out.exists() && !options.replace {
        return Err(LoraError::Exists {
            path: out.to_owned(),
        });
    }
    let shapes = layer_shapes(base);
    let adapter = adapter.renamed_for(&shapes, out, base.origin())?;
    let header = header(base, options.precision).map_err(|problem| LoraError::BadFile {
        path: base.origin().into(),
        problem,
    })?;
    let mut part = PartFile::create(out).map_err(LoraError::file(out))?;
    part.write_all(&header).map_err(LoraError::file(out))?;
    progress.begin("merging", base.names().count());
    for name in base.names() {
        if progress.stop_requested() {
            return Err(LoraError::Stopped);
        }
        let layer = name.strip_suffix(".weight");
        let layer = layer.and_then(|layer| adapter.layers.get(layer));
        let bytes = merged_bytes(base, name, layer, options)?;
        part.write_all(&bytes).map_err(LoraError::file(out))?;
        base.discard_pages(Some(name));
        progress.advance();
    }
    progress.end();
    part.commit().map_err(LoraError::file(out))
}

/// How to merge.
#[derive(Debug, Clone, Copy)]
pub struct MergeOptions {
    /// 1: as trained.
    pub strength: f64,
    /// Of the output.
    pub precision: MergedPrecision,
    /// Whether a file that is there may be replaced.
    pub replace: bool,
}

fn header(base: &TensorFile, precision: MergedPrecision) -> Result<Vec<u8>, String> {
    let mut entries = Map::new();
    if !base.metadata().is_empty() {
        entries.insert("__metadata__".to_owned(), json!(base.metadata()));
    }
    let mut start = 0usize;
    for name in base.names() {
        let Some(entry) = base.entry(name) else {
            continue;
        };
        let dtype = precision.of(entry.dtype);
        let end = start + entry.elements() * dtype.size_bytes();
        let dtype = safetensors_name(dtype).ok_or_else(|| {
            format!(
                "tensor {name} is {}, which safetensors does not have",
                entry.dtype
            )
        })?;
        let value = json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [start, end]});
        entries.insert(name.to_owned(), value);
        start = end;
    }
    let mut text =
        serde_json::to_vec(&Value::Object(entries)).map_err(|error| error.to_string())?;
    text.resize(text.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

fn safetensors_name(dtype: ElementType) -> Option<&'static str> {
    Some(match dtype {
        ElementType::Bool => "BOOL",
        ElementType::U8 => "U8",
        ElementType::I8 => "I8",
        ElementType::I16 => "I16",
        ElementType::I32 => "I32",
        ElementType::I64 => "I64",
        ElementType::F16 => "F16",
        ElementType::BF16 => "BF16",
        ElementType::F32 => "F32",
        ElementType::F64 => "F64",
        _ => return None,
    })
}

fn merged_bytes(
    base: &TensorFile,
    name: &str,
    layer: Option<&LayerFactors>,
    options: MergeOptions,
) -> Result<Vec<u8>, LoraError> {
    let bytes = base.bytes(name)?;
    let Some(entry) = base.entry(name) else {
        return Ok(bytes.into_owned());
    };
    let target = options.precision.of(entry.dtype);
    if layer.is_none() && target == entry.dtype {
        return Ok(bytes.into_owned());
    }
    let bad = |problem: String| LoraError::BadFile {
        path: base.origin().into(),
        problem,
    };
    let values = to_f32(entry.dtype, &bytes).ok_or_else(|| {
        bad(format!(
            "tensor {name} is {}, expected f32, f16 or bf16",
            entry.dtype
        ))
    })?;
    let values = match layer {
        None => values,
        Some(layer) => changed(values, entry, layer, options.strength)?,
    };
    encode(&values, target).map_err(|problem| bad(format!("tensor {name} {problem}")))
}

fn changed(
    values: Vec<f32>,
    entry: &TensorEntry,
    layer: &LayerFactors,
    strength: f64,
) -> Result<Vec<f32>, LoraError> {
    let device = layer
        .tensors()
        .first()
        .map_or(&Device::Cpu, |tensor| tensor.device());
    let weight = Tensor::from_vec(values, entry.shape.as_slice(), device)?;
    let difference = layer.change(strength).difference(&weight)?;
    let merged = (weight + (difference * strength)?)?;
    Ok(merged.flatten_all()?.to_vec1()?)
}

fn encode(values: &[f32], dtype: ElementType) -> Result<Vec<u8>, String> {
    let check = |value: f32, narrow: f32| match value.is_finite() && narrow.is_infinite() {
        true => Err(format!(
            "holds {value}, too large for f16; choose --precision bf16"
        )),
        false => Ok(()),
    };
    let mut bytes = Vec::with_capacity(values.len() * dtype.size_bytes());
    for &value in values {
        match dtype {
            ElementType::F16 => {
                let narrow = f16::from_f32(value);
                check(value, narrow.to_f32())?;
                bytes.extend_from_slice(&narrow.to_le_bytes());
            }
            ElementType::BF16 => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
            ElementType::F64 => bytes.extend_from_slice(&f64::from(value).to_le_bytes()),
            _ => bytes.extend_from_slice(&value.to_le_bytes()),
        }
    }
    Ok(bytes)
}
