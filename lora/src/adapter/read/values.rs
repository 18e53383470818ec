//! Numbers of a file as tensors.

use candle_core::{Device, Tensor};
use checkpoint::{ElementType, TensorFile};
use half::{bf16, f16};

/// A tensor in f32. Types that are no numbers of weights, and numbers that are none, are errors that name it.
pub(super) fn tensor(file: &TensorFile, name: &str, device: &Device) -> Result<Tensor, String> {
    let entry = file
        .entry(name)
        .ok_or_else(|| format!("tensor {name:?} is not there"))?;
    let bytes = file.bytes(name).map_err(|error| error.to_string())?;
    let values = to_f32(entry.dtype, &bytes).ok_or_else(|| {
        format!(
            "tensor {name:?} is {}, expected f32, f16, bf16 or f64",
            entry.dtype
        )
    })?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!(
            "tensor {name:?} holds {value}: training went wrong or the file is damaged; train it again"
        ));
    }
    Tensor::from_vec(values, entry.shape.as_slice(), device)
        .map_err(|error| format!("tensor {name:?}: {error}"))
}

/// Little-endian numbers in f32; `None` for types that weights do not have.
pub(in crate::adapter) fn to_f32(dtype: ElementType, bytes: &[u8]) -> Option<Vec<f32>> {
    let words = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    Some(match dtype {
        ElementType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect(),
        ElementType::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f64::from_le_bytes(bytes) as f32)
            .collect(),
        ElementType::F16 => words()
            .map(|pair| f16::from_le_bytes(pair).to_f32())
            .collect(),
        ElementType::BF16 => words()
            .map(|pair| bf16::from_le_bytes(pair).to_f32())
            .collect(),
        // Alphas are whole numbers in some files.
        ElementType::I64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| i64::from_le_bytes(bytes) as f32)
            .collect(),
        ElementType::I32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| i32::from_le_bytes(bytes) as f32)
            .collect(),
        _ => return None,
    })
}
