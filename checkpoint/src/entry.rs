//! Where one tensor lies in its file, checked when the file is opened.

use std::ops::Range;

use crate::ElementType;
use crate::error::{Fault, Parsed, damaged};

/// torch and NumPy allow no more.
pub(crate) const DIMENSIONS_MAX: usize = 64;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// The type of its elements.
    pub dtype: ElementType,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Steps in elements, a dimension each.
    strides: Vec<usize>,
    /// The file (of several) that it lies in.
    source: usize,
    /// Byte of the source where its first element starts.
    start: usize,
    byte_length: usize,
    is_contiguous: bool,
}

/// What a file says of a tensor, before it is believed.
pub(crate) struct Claim<'a> {
    pub(crate) dtype: ElementType,
    pub(crate) shape: &'a [i64],
    /// Steps in elements; none for row by row.
    pub(crate) strides: Option<&'a [i64]>,
    /// Elements of the storage before the tensor.
    pub(crate) offset: i64,
    /// The storage's bytes in its source.
    pub(crate) storage: Range<usize>,
    pub(crate) source: usize,
}

impl TensorEntry {
    /// Whether its bytes lie in the file row by row, one after another.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.is_contiguous
    }

    /// Bytes of all its elements.
    #[must_use]
    pub fn byte_length(&self) -> usize {
        self.byte_length
    }

    /// The number of its elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.byte_length / self.dtype.size_bytes()
    }

    pub(crate) fn strides(&self) -> &[usize] {
        &self.strides
    }

    pub(crate) fn source(&self) -> usize {
        self.source
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes of the source between its first and behind its last element.
    pub(crate) fn span(&self) -> Range<usize> {
        // The numbers of a shape with a zero are not bounded by any storage.
        if self.byte_length == 0 {
            return self.start..self.start;
        }
        let last = std::iter::zip(&self.shape, &self.strides)
            .map(|(&size, &stride)| (size - 1) * stride)
            .sum::<usize>();
        self.start..self.start + (last + 1) * self.dtype.size_bytes()
    }

    /// Believes a claim if every element lies inside of the storage.
    pub(crate) fn check(name: &str, claim: &Claim<'_>) -> Parsed<Self> {
        let fault =
            |detail: String| damaged(format!("tensor `{}` {detail}", crate::error::shorten(name)));
        if claim.shape.len() > DIMENSIONS_MAX {
            return Err(Fault::Excess {
                what: "dimensions in a tensor",
                limit: DIMENSIONS_MAX as u64,
            });
        }
        let shape = natural(claim.shape)
            .ok_or_else(|| fault(format!("has the shape {:?}", claim.shape)))?;
        let size = claim.dtype.size_bytes();
        let elements = shape
            .iter()
            .try_fold(1usize, |all, &size| all.checked_mul(size));
        // A shape with a zero has no elements however large its other numbers are.
        let elements = if shape.contains(&0) {
            Some(0)
        } else {
            elements
        };
        let byte_length = elements
            .and_then(|elements| elements.checked_mul(size))
            .ok_or_else(|| {
                fault(format!(
                    "has the shape {shape:?}, more than memory can hold"
                ))
            })?;
        let row_by_row = contiguous_strides(&shape);
        let strides = match claim.strides {
            None => row_by_row.clone(),
            Some(strides) if strides.len() == shape.len() => {
                natural(strides).ok_or_else(|| fault(format!("has the strides {strides:?}")))?
            }
            Some(strides) => {
                return Err(fault(format!(
                    "has {} dimensions and {} strides",
                    shape.len(),
                    strides.len()
                )));
            }
        };
        let is_contiguous = byte_length == 0
            || shape
                .iter()
                .zip(strides.iter().zip(&row_by_row))
                .all(|(&size, (a, b))| size == 1 || a == b);
        let end = (byte_length > 0)
            .then(|| last_element(&shape, &strides, claim.offset))
            .map_or(Some(0), |last| last?.checked_add(1)?.checked_mul(size));
        if end.is_none_or(|end| end > claim.storage.len()) {
            return Err(fault(format!(
                "with shape {shape:?}, strides {strides:?} and offset {} of {} reaches beyond its {} bytes",
                claim.offset,
                claim.dtype,
                claim.storage.len()
            )));
        }
        // The offset of nothing is not bounded by any storage.
        let start = if byte_length == 0 {
            0
        } else {
            usize::try_from(claim.offset).unwrap_or(0) * size
        };
        Ok(Self {
            dtype: claim.dtype,
            shape,
            strides,
            source: claim.source,
            start: claim.storage.start + start,
            byte_length,
            is_contiguous,
        })
    }
}

fn natural(numbers: &[i64]) -> Option<Vec<usize>> {
    numbers
        .iter()
        .map(|&number| usize::try_from(number).ok())
        .collect()
}

/// Row by row; saturating, because the numbers of a shape with a zero are not bounded.
fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for index in (1..shape.len()).rev() {
        strides[index - 1] = strides[index].saturating_mul(shape[index]);
    }
    strides
}

/// The place of the last element in the storage; `None` when that is no number.
fn last_element(shape: &[usize], strides: &[usize], offset: i64) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    std::iter::zip(shape, strides).try_fold(offset, |last, (&size, &stride)| {
        last.checked_add(size.checked_sub(1)?.checked_mul(stride)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim<'a>(shape: &'a [i64], strides: &'a [i64], offset: i64, bytes: usize) -> Claim<'a> {
        Claim {
            dtype: ElementType::F32,
            shape,
            strides: Some(strides),
            offset,
            storage: 100..100 + bytes,
            source: 0,
        }
    }

    #[test]
    fn inside_is_believed() {
        let entry = TensorEntry::check("a", &claim(&[2, 3], &[3, 1], 1, 28)).unwrap();
        assert!(entry.is_contiguous());
        assert_eq!((entry.byte_length(), entry.span()), (24, 104..128));
        let turned = TensorEntry::check("a", &claim(&[3, 2], &[1, 3], 0, 24)).unwrap();
        assert!(!turned.is_contiguous());
        assert_eq!(turned.span(), 100..124);
        let scalar = TensorEntry::check("a", &claim(&[], &[], 6, 28)).unwrap();
        assert_eq!((scalar.byte_length(), scalar.start()), (4, 124));
        let nothing = TensorEntry::check("a", &claim(&[0, i64::MAX], &[1, 1], 9, 0)).unwrap();
        assert_eq!((nothing.byte_length(), nothing.span()), (0, 100..100));
        let far = TensorEntry::check("a", &claim(&[0], &[1], 1 << 62, 0)).unwrap();
        assert_eq!((far.byte_length(), far.span()), (0, 100..100));
    }

    #[test]
    fn outside_is_not() {
        let cases: [(&[i64], &[i64], i64); 8] = [
            (&[2, 3], &[3, 1], 2),
            (&[2, 3], &[4, 1], 1),
            (&[-1], &[1], 0),
            (&[2], &[-1], 1),
            (&[2], &[1], -1),
            (&[i64::MAX], &[0], 0),
            (&[2, 2], &[i64::MAX, i64::MAX], i64::MAX),
            (&[2], &[1, 1], 0),
        ];
        for (shape, strides, offset) in cases {
            let fault = TensorEntry::check("a", &claim(shape, strides, offset, 28)).unwrap_err();
            assert!(matches!(fault, Fault::Damaged(_)), "{shape:?}: {fault:?}");
        }
        let many = vec![1; 65];
        let fault = TensorEntry::check("a", &claim(&many, &many, 0, 28)).unwrap_err();
        assert!(matches!(fault, Fault::Excess { .. }));
    }

    proptest! {
        #[test]
        fn what_is_believed_lies_inside(
            shape in prop::collection::vec(prop_oneof![-1i64..6, any::<i64>()], 0..5),
            strides in prop::collection::vec(prop_oneof![-1i64..9, any::<i64>()], 0..5),
            offset in prop_oneof![-1i64..9, any::<i64>()],
            bytes in 0usize..200,
        ) {
            if let Ok(entry) = TensorEntry::check("a", &claim(&shape, &strides, offset, bytes)) {
                let span = entry.span();
                prop_assert!(span.start >= 100 && span.end <= 100 + bytes);
            }
        }
    }
}
