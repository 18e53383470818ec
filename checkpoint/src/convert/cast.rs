//! Numbers of one type to those of another, with an eye on what gets lost.

use std::fmt;

use half::{bf16, f16};

use crate::ElementType;

/// A tensor with values that are no numbers or infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct NotFinite {
    /// Its name.
    pub tensor: String,
    /// How many of its values.
    pub count: u64,
    /// The place of the first, row by row.
    pub first_element: u64,
    /// The first.
    pub value: f64,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` ({} values, the first is {} at element {})",
            self.tensor, self.count, self.value, self.first_element
        )
    }
}

/// A finite value that would become infinite.
#[derive(Debug, PartialEq)]
pub(super) struct Overflow {
    pub(super) value: f64,
    pub(super) element: u64,
    pub(super) precision: &'static str,
    pub(super) remedy: &'static str,
}

/// Converts one tensor, piece after piece.
pub(super) struct Cast {
    from: ElementType,
    to: ElementType,
    converted: Vec<u8>,
    elements_done: u64,
    not_finite: u64,
    first: Option<(u64, f64)>,
    flushed_to_zero: u64,
}

impl Cast {
    pub(super) fn new(from: ElementType, to: ElementType) -> Self {
        Self {
            from,
            to,
            converted: Vec::new(),
            elements_done: 0,
            not_finite: 0,
            first: None,
            flushed_to_zero: 0,
        }
    }

    /// A piece's numbers as bytes of the other type. `piece` is a whole number of elements.
    pub(super) fn piece<'a>(&'a mut self, piece: &'a [u8]) -> Result<&'a [u8], Overflow> {
        match self.from {
            ElementType::F16 => self.floats(piece, f16::from_le_bytes),
            ElementType::BF16 => self.floats(piece, bf16::from_le_bytes),
            ElementType::F32 => self.floats(piece, f32::from_le_bytes),
            ElementType::F64 => self.floats(piece, f64::from_le_bytes),
            _ => Ok(piece),
        }
    }

    /// What [`Cast::piece`] met of values that are not finite.
    pub(super) fn not_finite(&self, name: &str) -> Option<NotFinite> {
        self.first.map(|(first_element, value)| NotFinite {
            tensor: name.to_string(),
            count: self.not_finite,
            first_element,
            value,
        })
    }

    /// How many numbers became 0, being too small for the other type.
    pub(super) fn flushed_to_zero(&self) -> u64 {
        self.flushed_to_zero
    }

    fn floats<'a, Float: Copy + Into<f64>, const SIZE: usize>(
        &'a mut self,
        piece: &'a [u8],
        read: impl Fn([u8; SIZE]) -> Float,
    ) -> Result<&'a [u8], Overflow> {
        let values = piece.as_chunks::<SIZE>().0;
        let numbers = values.iter().map(|&bytes| -> f64 { read(bytes).into() });
        self.note_not_finite(numbers.clone());
        if self.from != self.to {
            self.converted.clear();
            match self.to {
                ElementType::F16 => self.write(numbers, |value| {
                    let half = f16::from_f64(value);
                    (half.to_le_bytes(), half.into())
                })?,
                ElementType::BF16 => self.write(numbers, |value| {
                    let half = bf16::from_f64(value);
                    (half.to_le_bytes(), half.into())
                })?,
                _ => self.write(numbers, |value| {
                    let single = value as f32;
                    (single.to_le_bytes(), single.into())
                })?,
            }
        }
        self.elements_done += values.len() as u64;
        Ok(if self.from == self.to {
            piece
        } else {
            &self.converted
        })
    }

    fn note_not_finite(&mut self, numbers: impl Iterator<Item = f64> + Clone) {
        let count = numbers.clone().filter(|value| !value.is_finite()).count();
        if count > 0 && self.first.is_none() {
            let first = numbers.enumerate().find(|(_, value)| !value.is_finite());
            self.first = first.map(|(index, value)| (self.elements_done + index as u64, value));
        }
        self.not_finite += count as u64;
    }

    fn write<const SIZE: usize>(
        &mut self,
        numbers: impl Iterator<Item = f64> + Clone,
        round: impl Fn(f64) -> ([u8; SIZE], f64),
    ) -> Result<(), Overflow> {
        let mut overflowed = false;
        for value in numbers.clone() {
            let (bytes, rounded) = round(value);
            overflowed |= !rounded.is_finite() && value.is_finite();
            self.flushed_to_zero += u64::from(rounded == 0.0 && value != 0.0);
            self.converted.extend_from_slice(&bytes);
        }
        if !overflowed {
            return Ok(());
        }
        let too_large = |value: &f64| value.is_finite() && !round(*value).1.is_finite();
        let (index, value) = numbers
            .enumerate()
            .find(|(_, value)| too_large(value))
            .unwrap_or_default();
        let (precision, remedy) = match self.to {
            ElementType::F16 => ("f16", "bf16"),
            ElementType::BF16 => ("bf16", "f32"),
            _ => ("f32", "nothing (keep f64)"),
        };
        Err(Overflow {
            value,
            element: self.elements_done + index as u64,
            precision,
            remedy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(from: ElementType, to: ElementType, bytes: &[u8]) -> Result<Vec<u8>, Overflow> {
        Cast::new(from, to).piece(bytes).map(<[u8]>::to_vec)
    }

    #[test]
    fn rounds_to_nearest_once() {
        // A double that rounds to f32 first would round up to the next f16, and is below the middle.
        let value = 1.0 + 2f64.powi(-11) - 2f64.powi(-40);
        let half = cast(ElementType::F64, ElementType::F16, &value.to_le_bytes()).unwrap();
        assert_eq!(half, f16::ONE.to_le_bytes());
        let wide = cast(
            ElementType::BF16,
            ElementType::F32,
            &bf16::from_f32(3.5).to_le_bytes(),
        );
        assert_eq!(wide.unwrap(), 3.5f32.to_le_bytes());
        assert_eq!(
            cast(ElementType::I64, ElementType::I64, &[7; 8]).unwrap(),
            [7; 8]
        );
    }

    #[test]
    fn what_becomes_zero_is_counted() {
        let values = [1e-9f32, 0.0, -1e-9, 6e-8].map(f32::to_le_bytes).concat();
        let mut cast = Cast::new(ElementType::F32, ElementType::F16);
        cast.piece(&values).unwrap();
        assert_eq!(cast.flushed_to_zero(), 2);
        let mut cast = Cast::new(ElementType::F32, ElementType::BF16);
        cast.piece(&values).unwrap();
        assert_eq!(cast.flushed_to_zero(), 0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut cast = Cast::new(ElementType::F32, ElementType::F16);
        let bytes = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
        assert!(cast.piece(&bytes([65504.0, f32::INFINITY])).is_ok());
        assert!(cast.piece(&bytes([f32::NAN, 1.0])).is_ok());
        let overflow = cast
            .piece(&bytes([f32::NEG_INFINITY, -65520.0]))
            .unwrap_err();
        assert_eq!((overflow.value, overflow.element), (-65520.0, 5));
        assert_eq!((overflow.precision, overflow.remedy), ("f16", "bf16"));
        let found = cast.not_finite("a").unwrap();
        assert_eq!(
            (found.count, found.first_element, found.value),
            (3, 1, f64::INFINITY)
        );
        let largest = f32::MAX.to_le_bytes();
        let overflow =
            super::tests::cast(ElementType::F32, ElementType::BF16, &largest).unwrap_err();
        assert_eq!(overflow.remedy, "f32");
    }
}
