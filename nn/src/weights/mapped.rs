//! 16-bit weights used where they lie in a mapped file.

use crate::linear::WeightPrecision;
use checkpoint::MappedBytes;
use half::{bf16, f16};

/// A tensor's bytes in a mapped file, on an address that 16-bit values can have.
pub(crate) struct MappedHalves(MappedBytes);

/// The bits of an exponent that only infinities and NaN fill.
const F16_EXPONENT: u16 = 0x7c00;
const BF16_EXPONENT: u16 = 0x7f80;

impl MappedHalves {
    /// `None` where the bytes cannot be taken for numbers of this machine: on an odd address, or on a big-endian one.
    pub(super) fn new(bytes: MappedBytes) -> Option<Self> {
        let fits =
            cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, u16>(&bytes).is_ok();
        fits.then_some(Self(bytes))
    }

    /// The values as numbers of two bytes.
    pub(crate) fn values<T: bytemuck::Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.0)
    }

    /// The place and value of the first that is no number or infinite.
    pub(super) fn first_not_finite(&self, precision: WeightPrecision) -> Option<(usize, f32)> {
        let (exponent, widen): (u16, fn(u16) -> f32) = match precision {
            WeightPrecision::Bf16 => (BF16_EXPONENT, |bits| bf16::from_bits(bits).to_f32()),
            _ => (F16_EXPONENT, |bits| f16::from_bits(bits).to_f32()),
        };
        let bits: &[u16] = self.values();
        let found = bits.iter().position(|bits| bits & exponent == exponent)?;
        Some((found, widen(bits[found])))
    }
}
