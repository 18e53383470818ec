//! What tells a released model from another, whatever precision and file format it is kept in.

use checkpoint::{ElementType, TensorFile};
use sha2::{Digest, Sha256};

use crate::error::LoraError;

/// Values of each tensor that are looked at.
const VALUES: usize = 64;

/// SHA-256 over names, shapes and the signs of each tensor's first values: rounding to fewer bits keeps signs, so that a model's f32, f16
/// and bf16 copies have one fingerprint, and another training has another.
///
/// # Errors
/// When a tensor's bytes cannot be had.
pub(super) fn of(tensors: &TensorFile) -> Result<String, LoraError> {
    let mut hash = Sha256::new();
    for name in tensors.names() {
        let Some(entry) = tensors.entry(name) else {
            continue;
        };
        hash.update(format!("{name}{:?}", entry.shape).as_bytes());
        let width = match entry.dtype {
            ElementType::F16 | ElementType::BF16 => 2,
            ElementType::F32 => 4,
            ElementType::F64 => 8,
            _ => continue,
        };
        let bytes = tensors.bytes(name)?;
        let values = bytes.chunks_exact(width).take(VALUES);
        let signs: Vec<u8> = values
            .map(|value| value.last().map_or(0, |high| high >> 7))
            .collect();
        hash.update(signs);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
