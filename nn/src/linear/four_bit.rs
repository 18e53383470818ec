//! Weights in four bits, as bitsandbytes 0.50 has them and QLoRA uses them (Dettmers et al. 2023, arXiv:2305.14314): the
//! values in blocks, row after row without regard to where a row ends, each value the nearest of 16 codes times the
//! block's largest magnitude ("absmax").
//!
//! With double quantisation the largest magnitudes are themselves kept in 8 bits: their mean is taken off, and what is
//! left is the nearest of 256 codes times the largest of 256 of them. At blocks of 64 that is 4.13 bits a weight instead
//! of 4.5.
//!
//! Everything is bit for bit what bitsandbytes computes on a CPU, down to the order in which PyTorch adds up the mean
//! (of one thread; PyTorch shares the sum among threads above 32768 blocks). On a GPU it adds in another order, so
//! the mean may differ in its last bit there. One thing is not copied: where rows are multiples of 16 but not of the
//! block, bitsandbytes' AVX-512 kernel widens with the scales of other blocks.

use crate::simd::vectorized;
use candle_core::{DType, Device, Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::LazyLock;

/// What the 16 codes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FourBitCode {
    /// Quantiles of the normal distribution, in their order.
    Nf4,
    /// One bit of sign, two of exponent, one of fraction; for reading what others stored so.
    Fp4,
}

/// QLoRA's block.
pub const NF4_BLOCK: usize = 64;
/// Magnitudes that share a scale in double quantisation.
const NESTED_BLOCK: usize = 256;
/// Values that one thread quantises at a time, rounded to whole blocks.
const PIECE: usize = 64 * 1024;

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
const FP4: [f32; 16] = [
    0.0,
    0.0625 / 12.0,
    8.0 / 12.0,
    1.0,
    4.0 / 12.0,
    6.0 / 12.0,
    2.0 / 12.0,
    3.0 / 12.0,
    0.0,
    -0.0625 / 12.0,
    -8.0 / 12.0,
    -1.0,
    -4.0 / 12.0,
    -6.0 / 12.0,
    -2.0 / 12.0,
    -3.0 / 12.0,
];
/// Codes from the most negative value to the largest.
const NF4_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const FP4_ORDER: [u8; 16] = [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3];

static NF4_PAIRS: LazyLock<[[f32; 2]; 256]> = LazyLock::new(|| pairs(&NF4));
static FP4_PAIRS: LazyLock<[[f32; 2]; 256]> = LazyLock::new(|| pairs(&FP4));
static DYNAMIC: LazyLock<[f32; 256]> = LazyLock::new(dynamic_map);
static DYNAMIC_NEAREST: LazyLock<Vec<u8>> = LazyLock::new(|| nearest_of(&DYNAMIC));

impl FourBitCode {
    /// The value of each code, in `[-1, 1]`.
    pub fn values(self) -> &'static [f32; 16] {
        match self {
            Self::Nf4 => &NF4,
            Self::Fp4 => &FP4,
        }
    }

    /// The two values of each byte: the first is in the high half.
    fn pairs(self) -> &'static [[f32; 2]; 256] {
        match self {
            Self::Nf4 => &NF4_PAIRS,
            Self::Fp4 => &FP4_PAIRS,
        }
    }

    /// Where one code ends and the next in order begins.
    fn bounds(self) -> ([f32; 15], &'static [u8; 16]) {
        let order = match self {
            Self::Nf4 => &NF4_ORDER,
            Self::Fp4 => &FP4_ORDER,
        };
        let value = |place: usize| self.values()[usize::from(order[place])];
        let bounds = std::array::from_fn(|place| (value(place) + value(place + 1)) / 2.0);
        (bounds, order)
    }
}

fn pairs(values: &[f32; 16]) -> [[f32; 2]; 256] {
    std::array::from_fn(|byte| [values[byte >> 4], values[byte & 15]])
}

/// Values in four bits each.
#[derive(Clone, Debug, PartialEq)]
pub struct FourBit {
    code: FourBitCode,
    block: usize,
    count: usize,
    packed: Vec<u8>,
    scales: BlockScales,
}

/// The largest magnitude of each block.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockScales {
    /// As it is.
    Plain(Vec<f32>),
    /// In 8 bits (double quantisation).
    Double(DoubleScales),
}

/// Magnitudes of blocks in 8 bits: `code * largest + offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct DoubleScales {
    /// A code for each block, bitsandbytes' `absmax`.
    pub codes: Vec<u8>,
    /// For each 256 blocks what their codes are multiplied by, `nested_absmax`.
    pub largest: Vec<f32>,
    /// The mean of the magnitudes, `nested_offset`.
    pub offset: f32,
}

impl FourBit {
    /// Rounds values to codes, in blocks of so many (bitsandbytes has 32, 64, ... 4096; any even number works).
    ///
    /// # Errors
    /// When the block is odd or zero, or a value is not finite.
    pub fn quantise(values: &[f32], code: FourBitCode, block: usize, double: bool) -> Result<Self> {
        check_block(block)?;
        let piece = (PIECE / block).max(1) * block;
        let parts: Vec<(Vec<u8>, Vec<f32>)> = values
            .par_chunks(piece)
            .map(|values| quantise_piece(values, code, block))
            .collect();
        let (packed, scales): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let scales = scales.concat();
        if let Some(block) = scales.iter().position(|scale| !scale.is_finite()) {
            bail!("weights of block {block} are not finite");
        }
        Ok(Self {
            code,
            block,
            count: values.len(),
            packed: packed.concat(),
            scales: match double {
                false => BlockScales::Plain(scales),
                true => BlockScales::Double(DoubleScales::new(scales)),
            },
        })
    }

    /// Values that were quantised before: `count` codes in `packed`, two a byte, the first in the high half.
    ///
    /// # Errors
    /// When the lengths do not belong together.
    pub fn from_parts(
        code: FourBitCode,
        block: usize,
        count: usize,
        packed: Vec<u8>,
        scales: BlockScales,
    ) -> Result<Self> {
        check_block(block)?;
        let blocks = count.div_ceil(block);
        let (found, nested) = match &scales {
            BlockScales::Plain(scales) => (scales.len(), None),
            BlockScales::Double(double) => (double.codes.len(), Some(double.largest.len())),
        };
        let nested_fits = nested.is_none_or(|found| found == blocks.div_ceil(NESTED_BLOCK));
        if packed.len() != count.div_ceil(2) || found != blocks || !nested_fits {
            bail!(
                "{} bytes of codes and {found} scales for {count} weights in blocks of {block}",
                packed.len()
            );
        }
        Ok(Self {
            code,
            block,
            count,
            packed,
            scales,
        })
    }

    /// Bytes that `count` values take.
    pub fn bytes(count: usize, block: usize, double: bool) -> usize {
        let blocks = count.div_ceil(block);
        let scales = match double {
            false => size_of::<f32>() * blocks,
            true => blocks + size_of::<f32>() * (blocks.div_ceil(NESTED_BLOCK) + 1),
        };
        count.div_ceil(2) + scales
    }

    /// What the codes mean.
    pub fn code(&self) -> FourBitCode {
        self.code
    }

    /// Values of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The codes, two a byte, the first in the high half.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The blocks' magnitudes as they are kept.
    pub fn scales(&self) -> &BlockScales {
        &self.scales
    }

    /// All values in f32.
    pub fn dequantised(&self) -> Vec<f32> {
        let mut values = vec![0f32; self.count];
        let piece = (PIECE / self.block).max(1) * self.block;
        values
            .par_chunks_mut(piece)
            .enumerate()
            .for_each(|(number, target)| self.widen(number * piece, target));
        values
    }

    /// Fills `target` with the values from `start` on.
    pub(super) fn widen(&self, start: usize, target: &mut [f32]) {
        let pairs = self.code.pairs();
        let (mut place, mut target) = (start, target);
        while !target.is_empty() {
            let number = place / self.block;
            let count = ((number + 1) * self.block - place).min(target.len());
            let (piece, rest) = std::mem::take(&mut target).split_at_mut(count);
            self.widen_within(self.scale(number), place, piece, pairs);
            (place, target) = (place + count, rest);
        }
    }

    /// Fills `target` from one block.
    #[inline(always)]
    fn widen_within(&self, scale: f32, place: usize, target: &mut [f32], pairs: &[[f32; 2]; 256]) {
        // A block begins with a whole byte, a tile of it may begin with the second half of one.
        let (odd, target) = target.split_at_mut((place % 2).min(target.len()));
        let bytes = &self.packed[place / 2..];
        if let Some(value) = odd.first_mut() {
            *value = pairs[usize::from(bytes[0])][1] * scale;
        }
        let bytes = &bytes[odd.len()..];
        let (twos, last) = target.as_chunks_mut::<2>();
        for (two, &byte) in twos.iter_mut().zip(bytes) {
            *two = pairs[usize::from(byte)];
        }
        if let Some(value) = last.first_mut() {
            *value = pairs[usize::from(bytes[twos.len()])][0] * scale;
        }
        vectorized(|| {
            for value in twos.as_flattened_mut() {
                *value *= scale;
            }
        });
    }

    /// The magnitude of a block.
    fn scale(&self, block: usize) -> f32 {
        match &self.scales {
            BlockScales::Plain(scales) => scales[block],
            BlockScales::Double(double) => double.value(block),
        }
    }
}

impl DoubleScales {
    fn new(mut scales: Vec<f32>) -> Self {
        let offset = match scales.len() {
            0 => 0.0,
            count => torch_sum(&scales) / count as f32,
        };
        scales.iter_mut().for_each(|scale| *scale -= offset);
        let (mut codes, mut largest) = (Vec::with_capacity(scales.len()), Vec::new());
        for block in scales.chunks(NESTED_BLOCK) {
            let most = magnitude(block);
            largest.push(most);
            let inverse = 1.0 / most;
            codes.extend(block.iter().map(|value| match most > 0.0 {
                true => DYNAMIC_NEAREST[nearest_place(value * inverse)],
                false => 0,
            }));
        }
        Self {
            codes,
            largest,
            offset,
        }
    }

    /// The value of each code, in `[-1, 1]`: bitsandbytes' "dynamic" map, finer towards zero.
    pub fn code_values() -> &'static [f32; 256] {
        &DYNAMIC
    }

    fn value(&self, block: usize) -> f32 {
        let code = DYNAMIC[usize::from(self.codes[block])];
        code * self.largest[block / NESTED_BLOCK] + self.offset
    }
}

fn check_block(block: usize) -> Result<()> {
    if block == 0 || !block.is_multiple_of(2) {
        bail!("4-bit weights in blocks of {block}: expected an even number such as {NF4_BLOCK}");
    }
    Ok(())
}

/// Codes and magnitudes of whole blocks; only the last of all may be shorter.
fn quantise_piece(values: &[f32], code: FourBitCode, block: usize) -> (Vec<u8>, Vec<f32>) {
    /// Stands for a magnitude of zero where one divides by it.
    const LEAST: f32 = 1e-38;
    let (bounds, order) = code.bounds();
    let mut scales = Vec::with_capacity(values.len().div_ceil(block));
    let mut codes = vec![0u8; values.len().next_multiple_of(2)];
    for (values, codes) in values.chunks(block).zip(codes.chunks_mut(block)) {
        let largest = magnitude(values);
        let nonzero = if largest < LEAST { LEAST } else { largest };
        let whole = values.len() == block;
        // A last block that is not whole is divided, others are multiplied with the inverse.
        let (divisor, factor) = match whole {
            true => (1.0, 1.0 / nonzero),
            false => (nonzero, 1.0),
        };
        scales.push(if whole { largest } else { nonzero });
        vectorized(|| {
            for (code, value) in codes.iter_mut().zip(values) {
                *code = place_among(&bounds, (value * factor / divisor).clamp(-1.0, 1.0));
            }
        });
        if codes.len() > values.len() {
            codes[values.len()] = place_among(&bounds, 0.0);
        }
    }
    let halves = codes.as_chunks::<2>().0.iter();
    let packed = halves
        .map(|&[first, second]| order[usize::from(first)] << 4 | order[usize::from(second)])
        .collect();
    (packed, scales)
}

/// How many of the bounds lie below a value.
#[inline(always)]
fn place_among(bounds: &[f32; 15], value: f32) -> u8 {
    let below = bounds.iter().map(|&bound| u32::from(bound < value));
    below.sum::<u32>() as u8
}

fn magnitude(values: &[f32]) -> f32 {
    let larger = |most: f32, value: f32| match value > most || value.is_nan() {
        true => value,
        false => most,
    };
    values.iter().map(|value| value.abs()).fold(0f32, larger)
}

/// The 8-bit codes of bitsandbytes' `create_dynamic_map`: between 10^(n-1) and 10^n there are 2^(n+6) values on each
/// side, for n from -6 to 0.
fn dynamic_map() -> [f32; 256] {
    let mut values = vec![0f32, 1.0];
    for exponent in 0..7 {
        let count = 1usize << exponent;
        let step = (1.0 - 0.1f32) / count as f32;
        // As PyTorch's linspace: from both ends to the middle.
        let boundary = |index: usize| match index < count.div_ceil(2) {
            true => step.mul_add(index as f32, 0.1),
            false => (-step).mul_add((count - index) as f32, 1.0),
        };
        let factor = 10f64.powi(exponent - 6) as f32;
        for index in 0..count {
            let mean = (boundary(index) + boundary(index + 1)) / 2.0;
            values.extend([factor * mean, -(factor * mean)]);
        }
    }
    values.sort_by(f32::total_cmp);
    std::array::from_fn(|code| values[code])
}

/// The nearest code at each of 65536 places from -1 to 1.
fn nearest_of(codes: &[f32; 256]) -> Vec<u8> {
    let mut nearest = 0;
    let places = (0..=u16::MAX).map(|place| {
        let value = -1.0 + (2.0 * f32::from(place)) / f32::from(u16::MAX);
        while nearest < 255 && 0.5 * (codes[nearest] + codes[nearest + 1]) < value {
            nearest += 1;
        }
        nearest as u8
    });
    places.collect()
}

/// Which of the 65536 places a value in `[-1, 1]` is at; one rounding, as bitsandbytes is compiled.
fn nearest_place(value: f32) -> usize {
    let half = (value.clamp(-1.0, 1.0) + 1.0) * 0.5;
    half.mul_add(f32::from(u16::MAX), 0.5) as usize
}

/// The sum in PyTorch's order on a CPU (`SumKernel.cpp`, vectors of 8): vectors in four interleaved rows, each in
/// cascades, then the rows, then what is left, then the lanes.
fn torch_sum(values: &[f32]) -> f32 {
    const LANES: usize = 8;
    if values.len() < LANES {
        let single: Vec<[f32; 1]> = values.iter().map(|&value| [value]).collect();
        return sum_of_rows(&single)[0];
    }
    let (vectors, rest) = values.as_chunks::<LANES>();
    let lanes = sum_of_rows(vectors);
    let rest = rest.iter().fold(0f32, |sum, value| sum + value);
    lanes.iter().fold(rest, |sum, lane| sum + lane)
}

fn sum_of_rows<const N: usize>(vectors: &[[f32; N]]) -> [f32; N] {
    let (groups, rest) = vectors.as_chunks::<4>();
    let mut rows: [[f32; N]; 4] = cascade(groups);
    for vector in rest {
        add(&mut rows[0], vector);
    }
    let [mut sum, others @ ..] = rows;
    for row in &others {
        add(&mut sum, row);
    }
    sum
}

/// Sums over the first index, in four levels whose partial sums stay of like size.
fn cascade<const N: usize>(groups: &[[[f32; N]; 4]]) -> [[f32; N]; 4] {
    const LEVELS: usize = 4;
    let log2 = groups.len().next_power_of_two().trailing_zeros() as usize;
    let power = (log2 / LEVELS).max(4);
    let step = 1usize << power;
    let mut levels = [[[0f32; N]; 4]; LEVELS];
    let whole = groups.len() / step * step;
    for (number, group) in groups.iter().enumerate() {
        for (row, vector) in levels[0].iter_mut().zip(group) {
            add(row, vector);
        }
        let done = number + 1;
        if done <= whole && done.is_multiple_of(step) {
            for level in 1..LEVELS {
                let below = std::mem::replace(&mut levels[level - 1], [[0f32; N]; 4]);
                for (row, vector) in levels[level].iter_mut().zip(&below) {
                    add(row, vector);
                }
                if done & ((step - 1) << (level * power)) != 0 {
                    break;
                }
            }
        }
    }
    let [mut sum, others @ ..] = levels;
    for level in &others {
        for (row, vector) in sum.iter_mut().zip(level) {
            add(row, vector);
        }
    }
    sum
}

fn add<const N: usize>(sum: &mut [f32; N], values: &[f32; N]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The same in tensors, for devices on which there is no kernel of ours: widened by stock operations.
pub(super) struct FourBitTensors {
    shape: (usize, usize),
    block: usize,
    /// Whole blocks of bytes.
    packed: Tensor,
    /// `[256, 2]`
    pairs: Tensor,
    scales: ScaleTensors,
}

enum ScaleTensors {
    Plain(Tensor),
    Double {
        /// Whole blocks of codes.
        codes: Tensor,
        /// `[256, 1]`
        values: Tensor,
        /// `[nested blocks, 1]`
        largest: Tensor,
        offset: f64,
    },
}

impl FourBitTensors {
    pub(super) fn new(weight: &FourBit, shape: (usize, usize), device: &Device) -> Result<Self> {
        let blocks = weight.count.div_ceil(weight.block);
        let mut packed = weight.packed.clone();
        packed.resize(blocks * weight.block / 2, 0);
        Ok(Self {
            shape,
            block: weight.block,
            packed: Tensor::from_vec(packed, blocks * weight.block / 2, device)?,
            pairs: Tensor::new(weight.code.pairs(), device)?,
            scales: match &weight.scales {
                BlockScales::Plain(scales) => {
                    ScaleTensors::Plain(Tensor::from_slice(scales, (blocks, 1), device)?)
                }
                BlockScales::Double(double) => {
                    let nested = double.largest.len();
                    let mut codes = double.codes.clone();
                    codes.resize(nested * NESTED_BLOCK, 0);
                    ScaleTensors::Double {
                        codes: Tensor::from_vec(codes, nested * NESTED_BLOCK, device)?,
                        values: Tensor::from_slice(&*DYNAMIC, (256, 1), device)?,
                        largest: Tensor::from_slice(&double.largest, (nested, 1), device)?,
                        offset: f64::from(double.offset),
                    }
                }
            },
        })
    }

    pub(super) fn shape(&self) -> (usize, usize) {
        self.shape
    }

    pub(super) fn device(&self) -> &Device {
        self.packed.device()
    }

    /// The weight in f32, `[out_features, in_features]`: made anew at each call.
    pub(super) fn widened(&self) -> Result<Tensor> {
        let blocks = self.packed.elem_count() * 2 / self.block;
        let scales = match &self.scales {
            ScaleTensors::Plain(scales) => scales.clone(),
            ScaleTensors::Double {
                codes,
                values,
                largest,
                offset,
            } => {
                let codes = look_up(values, codes)?.reshape(((), NESTED_BLOCK))?;
                let scales = (codes.broadcast_mul(largest)? + *offset)?;
                scales.flatten_all()?.narrow(0, 0, blocks)?.unsqueeze(1)?
            }
        };
        let values = look_up(&self.pairs, &self.packed)?.reshape((blocks, self.block))?;
        let values = values.broadcast_mul(&scales)?.flatten_all()?;
        let (outputs, inputs) = self.shape;
        values.narrow(0, 0, outputs * inputs)?.reshape(self.shape)
    }
}

/// Rows of a table by number. The numbers are widened first: candle takes the largest of a type for "none".
fn look_up(table: &Tensor, numbers: &Tensor) -> Result<Tensor> {
    table.index_select(&numbers.to_dtype(DType::U32)?, 0)
}
