//! What tells a released model from another, whatever precision and file format it is kept in.

use checkpoint::{ElementType, TensorFile};
use sha2::{Digest, Sha256};

use crate::error::LoraError;
use crate::hexadecimal::hexadecimal;

/// Values of each tensor that are looked at.
const VALUES: usize = 64;

/// SHA-256 over names, shapes and the signs of values spread over each tensor: rounding to fewer bits keeps signs, so that a model's f32,
/// f16 and bf16 copies have one fingerprint, and another training has another, but for one that turns no sign among thousands.
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
        hash.update(signs(&bytes, width));
    }
    Ok(hexadecimal(hash.finalize()))
}

/// SHA-256 over names, types, shapes and the same values, all their bits: other copies of a model have others.
///
/// # Errors
/// When a tensor's bytes cannot be had.
pub(super) fn of_copy(tensors: &TensorFile) -> Result<String, LoraError> {
    let mut hash = Sha256::new();
    for name in tensors.names() {
        let Some(entry) = tensors.entry(name) else {
            continue;
        };
        hash.update(format!("{name} {} {:?}", entry.dtype, entry.shape));
        let bytes = tensors.bytes(name)?;
        let values = entry.shape.iter().product::<usize>().max(1);
        for value in spread(&bytes, bytes.len() / values) {
            hash.update(value);
        }
    }
    Ok(hexadecimal(hash.finalize()))
}

/// Signs of at most [`VALUES`] values of so many bytes, evenly spread, the first one among them.
fn signs(bytes: &[u8], width: usize) -> Vec<u8> {
    // Little endian: the sign is the last byte's highest bit.
    let sign = |value: &[u8]| value.last().map_or(0, |high| high >> 7);
    spread(bytes, width).map(sign).collect()
}

/// At most [`VALUES`] values of so many bytes, evenly spread, the first one among them.
fn spread(bytes: &[u8], width: usize) -> impl Iterator<Item = &[u8]> {
    let count = bytes.len().checked_div(width).unwrap_or(0);
    let looked_at = count.min(VALUES);
    (0..looked_at)
        .map(move |index| index * count / looked_at * width)
        .filter_map(move |start| bytes.get(start..start + width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_of_the_whole_tensor_and_of_any_precision() {
        let values: Vec<f32> = (0..1000u16)
            .map(|value| if value < 900 { 1.0 } else { -1.0 })
            .collect();
        let wide: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let half = |value: &f32| half::f16::from_f32(*value).to_le_bytes();
        let narrow: Vec<u8> = values.iter().flat_map(half).collect();
        let found = signs(&wide, 4);
        assert_eq!((found.len(), found[0], found[VALUES - 1]), (VALUES, 0, 1));
        assert_eq!(signs(&narrow, 2), found);
        assert_eq!(signs(&wide[..12], 4), [0, 0, 0]);
        assert!(signs(&[], 4).is_empty());
    }
}
