//! A base's weights with an adapter folded in, as one safetensors file: a tensor in memory at a time, whatever the model's size.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use checkpoint::{
    ConvertOptions, Converted, ElementType, Precision, TensorEntry, TensorFile, Values,
};
use nn::{Delta, Magnitude, WeightChange};

use crate::adapter::read::to_f32;
use crate::adapter::{Adapter, LayerFactors};
use crate::error::LoraError;
use crate::progress::{InBytes, Progress};

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

/// How to merge.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// 1: as trained.
    pub strength: f64,
    /// Of the output.
    pub precision: Precision,
    /// Whether a file that is there may be replaced.
    pub replace: bool,
}

/// Writes the base with the adapter at a strength. The base's header goes along, so that a merged base is a base. `path` is the adapter's,
/// for messages.
///
/// # Errors
/// When the adapter was trained on another base or does not fit, a value is infinite or does not fit the precision, the output is there
/// already (unless `replace`), or `progress` asks for a stop.
pub fn write_merged(
    adapter: &Adapter,
    path: &Path,
    base: &TensorFile,
    out: &Path,
    options: &MergeOptions,
    progress: &mut dyn Progress,
) -> Result<Converted, LoraError> {
    adapter.check_trained_on(base, path)?;
    let adapter = adapter.renamed_for(&layer_shapes(base), path, base.origin())?;
    let convert_options = ConvertOptions {
        precision: options.precision,
        overwrite: options.replace,
        ..ConvertOptions::default()
    };
    let mut change = |name: &str, _: &TensorEntry| {
        let layer = name.strip_suffix(".weight");
        let layer = layer.and_then(|layer| adapter.layers.get(layer));
        match layer {
            // Not even a rounding: the base to the bit.
            Some(layer) if options.strength != 0.0 => {
                merged(base, name, layer, options.strength).map(Some)
            }
            _ => Ok(None),
        }
    };
    let progress = InBytes::new(progress);
    checkpoint::convert_changed(base, out, &convert_options, &mut change, &progress)
}

/// A layer's weight with its change, in 64 bits where the base's are, else in 32.
fn merged(
    base: &TensorFile,
    name: &str,
    layer: &LayerFactors,
    strength: f64,
) -> Result<Values, LoraError> {
    let weight = layer_weight(base, name)?;
    let change = in_type(layer.change(strength), weight.dtype())?;
    let difference = change.difference(&weight)?;
    let sum = (weight + (difference * strength)?)?.flatten_all()?;
    Ok(match sum.dtype() {
        DType::F64 => Values::F64(sum.to_vec1()?),
        _ => Values::F32(sum.to_vec1()?),
    })
}

/// A weight of a file, in 64 bits where the file's are, else in 32. Its pages are given back.
pub(in crate::adapter) fn layer_weight(base: &TensorFile, name: &str) -> Result<Tensor, LoraError> {
    let bad = |problem: String| LoraError::BadFile {
        path: base.origin().into(),
        problem: format!("tensor {} {problem}", checkpoint::shorten(name)),
    };
    let entry = base
        .entry(name)
        .ok_or_else(|| bad("is not there".to_owned()))?;
    let bytes = base.bytes(name)?;
    let device = &Device::Cpu;
    let shape = entry.shape.as_slice();
    let weight = match entry.dtype {
        ElementType::F64 => {
            let values = bytes.as_chunks().0.iter();
            let values: Vec<f64> = values.map(|&bytes| f64::from_le_bytes(bytes)).collect();
            Tensor::from_vec(values, shape, device)?
        }
        dtype if dtype.is_float() => {
            let values = to_f32(dtype, &bytes).unwrap_or_default();
            Tensor::from_vec(values, shape, device)?
        }
        dtype => {
            return Err(bad(format!(
                "is {dtype}, into which nothing can be folded; take a copy of the base in f16, bf16 or f32"
            )));
        }
    };
    base.discard_pages(Some(name));
    Ok(weight)
}

/// The same change with factors of that type.
fn in_type(change: WeightChange, dtype: DType) -> candle_core::Result<WeightChange> {
    let to = |tensor: &Tensor| tensor.to_dtype(dtype);
    Ok(WeightChange {
        delta: match &change.delta {
            Delta::LowRank { a, b } => Delta::LowRank {
                a: to(a)?,
                b: to(b)?,
            },
            Delta::Kronecker { outer, inner } => Delta::Kronecker {
                outer: to(outer)?,
                inner: to(inner)?,
            },
        },
        magnitude: match &change.magnitude {
            None => None,
            Some(Magnitude::OfOutputs(values)) => Some(Magnitude::OfOutputs(to(values)?)),
            Some(Magnitude::OfInputs(values)) => Some(Magnitude::OfInputs(to(values)?)),
        },
        ..change
    })
}
