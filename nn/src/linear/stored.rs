//! A frozen weight as it is kept in memory, and the two products with it.

use super::four_bit::{FourBit, FourBitCode, FourBitTensors, NF4_BLOCK};
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::vectorized;
use crate::storage::with_values;
use crate::weights::MappedHalves;
use candle_core::{DType, Device, Result, Tensor, bail};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// How frozen weights of linear layers are kept in memory. Whatever it is, products are computed in f32: a tile of the
/// weight at a time is widened, so that nothing of full size is ever made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightPrecision {
    /// 4 bytes a weight.
    #[default]
    F32,
    /// IEEE half precision, 2 bytes a weight: 11 bits, up to 65504.
    F16,
    /// 2 bytes a weight: 8 bits, the range of f32.
    Bf16,
    /// 8-bit integers with one scale for 64 weights of a row, 1.06 bytes a weight. A scheme of our own: the largest
    /// magnitude of a block becomes 127. (bitsandbytes' LLM.int8() has one scale for a whole row instead.)
    Int8,
    /// The 4-bit codes of QLoRA in blocks of 64 with double quantisation, 0.52 bytes a weight; see
    /// [`FourBit`].
    Nf4,
}

impl FromStr for WeightPrecision {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            "nf4" => Ok(Self::Nf4),
            _ => Err("expected f32, f16, bf16, int8 or nf4".to_string()),
        }
    }
}

impl WeightPrecision {
    /// Bytes that `count` weights take.
    pub fn bytes(self, count: usize) -> usize {
        match self {
            Self::F32 => 4 * count,
            Self::F16 | Self::Bf16 => 2 * count,
            Self::Int8 => count + size_of::<f32>() * count.div_ceil(BLOCK),
            Self::Nf4 => FourBit::bytes(count, NF4_BLOCK, true),
        }
    }
}

/// Weights that share a scale in [`WeightPrecision::Int8`].
const BLOCK: usize = 64;
/// Widened weights that one thread works on at a time: half a megabyte stays in its level-2 cache.
const TILE_VALUES: usize = 128 * 1024;
/// Tiles are cut at multiples of the matrix product's registers.
const TILE_MULTIPLE: usize = 16;

/// A weight `[out_features, in_features]`.
#[derive(Clone)]
pub(super) enum Stored {
    /// In f32; on other devices than the CPU also in 16 bits.
    Whole(Tensor),
    Narrow(Arc<Narrow>),
    /// In four bits on another device than the CPU.
    FourBit(Arc<FourBitTensors>),
}

/// A weight in fewer bits.
pub(super) struct Narrow {
    out_features: usize,
    in_features: usize,
    values: Values,
}

enum Values {
    F16(Halves<f16>),
    Bf16(Halves<bf16>),
    /// Rows of values, and rows of `in_features / BLOCK` scales.
    Int8(Vec<i8>, Vec<f32>),
    FourBit(Arc<FourBit>),
}

/// 16-bit values in memory of their own, or where they lie in a mapped file.
enum Halves<T> {
    Owned(Vec<T>),
    Mapped(MappedHalves),
}

impl<T: bytemuck::Pod> Halves<T> {
    fn values(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(mapped) => mapped.values(),
        }
    }
}

impl Stored {
    /// A weight that stays in its file; `precision` is that of the file.
    pub(super) fn mapped(
        halves: MappedHalves,
        out_features: usize,
        in_features: usize,
        precision: WeightPrecision,
    ) -> Self {
        let values = match precision {
            WeightPrecision::Bf16 => Values::Bf16(Halves::Mapped(halves)),
            _ => Values::F16(Halves::Mapped(halves)),
        };
        Self::Narrow(Arc::new(Narrow {
            out_features,
            in_features,
            values,
        }))
    }

    pub(super) fn new(weight: Tensor, precision: WeightPrecision) -> Result<Self> {
        if precision == WeightPrecision::F32 || !weight.device().is_cpu() {
            return match precision {
                WeightPrecision::F32 => Ok(Self::Whole(weight)),
                WeightPrecision::F16 => weight.to_dtype(DType::F16).map(Self::Whole),
                WeightPrecision::Bf16 => weight.to_dtype(DType::BF16).map(Self::Whole),
                WeightPrecision::Int8 => bail!("8-bit weights are for the CPU; choose nf4 or bf16"),
                WeightPrecision::Nf4 => Self::four_bit_on_device(&weight),
            };
        }
        let (out_features, in_features) = weight.dims2()?;
        let weight = weight.contiguous()?;
        let values = with_values("linear", [&weight], |[weight]| {
            Ok(match precision {
                WeightPrecision::F32 | WeightPrecision::F16 => {
                    Values::F16(Halves::Owned(to_f16(weight)?))
                }
                WeightPrecision::Bf16 => {
                    let narrowed = weight.par_iter().map(|&value| bf16::from_f32(value));
                    Values::Bf16(Halves::Owned(narrowed.collect()))
                }
                WeightPrecision::Int8 => to_int8(weight, in_features),
                WeightPrecision::Nf4 => Values::FourBit(Arc::new(to_nf4(weight)?)),
            })
        })?;
        Ok(Self::Narrow(Arc::new(Narrow {
            out_features,
            in_features,
            values,
        })))
    }

    /// A weight that was quantised before.
    pub(super) fn four_bit(
        weight: Arc<FourBit>,
        (out_features, in_features): (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        if !device.is_cpu() {
            let tensors = FourBitTensors::new(&weight, (out_features, in_features), device)?;
            return Ok(Self::FourBit(Arc::new(tensors)));
        }
        Ok(Self::Narrow(Arc::new(Narrow {
            out_features,
            in_features,
            values: Values::FourBit(weight),
        })))
    }

    /// The weight in four bits, if it is kept so on the CPU.
    pub(super) fn as_four_bit(&self) -> Option<&Arc<FourBit>> {
        match self {
            Self::Narrow(narrow) => match &narrow.values {
                Values::FourBit(weight) => Some(weight),
                _ => None,
            },
            _ => None,
        }
    }

    /// Quantised on the CPU, so that the codes are the same on every device.
    pub(super) fn four_bit_on_device(weight: &Tensor) -> Result<Self> {
        let values = weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let tensors = FourBitTensors::new(&to_nf4(&values)?, weight.dims2()?, weight.device())?;
        Ok(Self::FourBit(Arc::new(tensors)))
    }

    pub(super) fn out_features(&self) -> usize {
        match self {
            Self::Whole(weight) => weight.dims()[0],
            Self::FourBit(weight) => weight.shape().0,
            Self::Narrow(narrow) => narrow.out_features,
        }
    }

    pub(super) fn in_features(&self) -> usize {
        match self {
            Self::Whole(weight) => weight.dims()[1],
            Self::FourBit(weight) => weight.shape().1,
            Self::Narrow(narrow) => narrow.in_features,
        }
    }

    pub(super) fn device(&self) -> Device {
        match self {
            Self::Whole(weight) => weight.device().clone(),
            Self::Narrow(_) => Device::Cpu,
            Self::FourBit(weight) => weight.device().clone(),
        }
    }

    pub(super) fn track_op(&self) -> bool {
        matches!(self, Self::Whole(weight) if weight.track_op())
    }

    /// The weight in f32; a copy if it is kept in fewer bits.
    pub(super) fn widened(&self) -> Result<Tensor> {
        let narrow = match self {
            Self::Whole(weight) => return weight.to_dtype(DType::F32),
            Self::FourBit(weight) => return weight.widened(),
            Self::Narrow(narrow) => narrow,
        };
        let mut values = vec![0f32; narrow.out_features * narrow.in_features];
        values
            .par_chunks_mut(narrow.in_features.max(1))
            .enumerate()
            .for_each(|(row, target)| narrow.widen(row, 0..narrow.in_features, target));
        let shape = (narrow.out_features, narrow.in_features);
        Tensor::from_vec(values, shape, &self.device())
    }

    /// The weight in the precision that it is multiplied in on other devices than the CPU: as it is kept, unless that is
    /// no tensor. Ask for it where it is used, and let it go then: it may have been made for that.
    pub(super) fn in_memory(&self) -> Result<Tensor> {
        match self {
            Self::Whole(weight) => Ok(weight.clone()),
            Self::Narrow(_) | Self::FourBit(_) => self.widened(),
        }
    }

    /// `y = x W^T`, plus `y` when `accumulate`; `x`: `[rows, in_features]`, `y`: `[rows, out_features]`.
    pub(super) fn forward(&self, y: &mut [f32], x: &[f32], accumulate: bool) -> Result<()> {
        let (outputs, inputs) = (self.out_features(), self.in_features());
        let rows = x.len() / inputs.max(1);
        let (mut y, x) = (
            MatrixMut::new(y, rows, outputs),
            MatrixRef::new(x, rows, inputs),
        );
        match self {
            Self::Whole(weight) => in_memory(weight, |weight| {
                y.product(x, weight.t(), 1.0, accumulate, Threads::All);
            }),
            Self::FourBit(weight) => in_memory(&weight.widened()?, |weight| {
                y.product(x, weight.t(), 1.0, accumulate, Threads::All);
            }),
            Self::Narrow(narrow) => {
                y.column_blocks(tile(inputs)).into_par_iter().for_each_init(
                    Vec::new,
                    |wide, (first, mut block)| {
                        let height = block.columns();
                        let weight = narrow.tile(first..first + height, 0..inputs, wide);
                        block.product(x, weight.t(), 1.0, accumulate, Threads::One);
                    },
                );
                Ok(())
            }
        }
    }

    /// `for_x = gradient W`, plus `for_x` when `accumulate`; `gradient`: `[rows, out_features]`.
    pub(super) fn backward(
        &self,
        for_x: &mut [f32],
        gradient: &[f32],
        accumulate: bool,
    ) -> Result<()> {
        let (outputs, inputs) = (self.out_features(), self.in_features());
        let rows = gradient.len() / outputs.max(1);
        let mut for_x = MatrixMut::new(for_x, rows, inputs);
        match self {
            Self::Whole(weight) => in_memory(weight, |weight| {
                let gradient = MatrixRef::new(gradient, rows, outputs);
                for_x.product(gradient, weight, 1.0, accumulate, Threads::All);
            }),
            Self::FourBit(weight) => in_memory(&weight.widened()?, |weight| {
                let gradient = MatrixRef::new(gradient, rows, outputs);
                for_x.product(gradient, weight, 1.0, accumulate, Threads::All);
            }),
            Self::Narrow(narrow) => {
                let width = inputs
                    .div_ceil(rayon::current_num_threads())
                    .next_multiple_of(TILE_MULTIPLE);
                for_x.column_blocks(width).into_par_iter().for_each_init(
                    Vec::new,
                    |wide, (first, mut block)| {
                        let columns = first..first + block.columns();
                        let height = tile(columns.len());
                        for start in (0..outputs).step_by(height) {
                            let tile = start..(start + height).min(outputs);
                            let gradient =
                                MatrixRef::strided(&gradient[start..], rows, tile.len(), outputs);
                            let weight = narrow.tile(tile, columns.clone(), wide);
                            let accumulate = accumulate || start > 0;
                            block.product(gradient, weight, 1.0, accumulate, Threads::One);
                        }
                    },
                );
                Ok(())
            }
        }
    }
}

impl Narrow {
    /// Some rows and columns in f32, `[rows, columns]`.
    fn tile<'a>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        wide: &'a mut Vec<f32>,
    ) -> MatrixRef<'a> {
        let (height, width) = (rows.len(), columns.len());
        wide.resize(height * width, 0.0);
        for (row, target) in rows.zip(wide.chunks_exact_mut(width.max(1))) {
            self.widen(row, columns.clone(), target);
        }
        MatrixRef::new(wide, height, width)
    }

    fn widen(&self, row: usize, columns: Range<usize>, target: &mut [f32]) {
        let start = row * self.in_features;
        let place = start + columns.start..start + columns.end;
        match &self.values {
            Values::F16(halves) => halves.values()[place].convert_to_f32_slice(target),
            Values::Bf16(halves) => vectorized(|| {
                for (target, value) in target.iter_mut().zip(&halves.values()[place]) {
                    *target = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
            }),
            Values::FourBit(values) => values.widen(place.start, target),
            Values::Int8(values, scales) => {
                let scales = &scales[row * self.in_features.div_ceil(BLOCK)..];
                let mut column = columns.start;
                let mut target = target;
                while column < columns.end {
                    let end = (column / BLOCK + 1) * BLOCK;
                    let count = end.min(columns.end) - column;
                    let scale = scales[column / BLOCK];
                    let (block, rest) = target.split_at_mut(count);
                    vectorized(|| {
                        for (target, &value) in block.iter_mut().zip(&values[start + column..]) {
                            *target = f32::from(value) * scale;
                        }
                    });
                    (column, target) = (column + count, rest);
                }
            }
        }
    }
}

/// Rows of so many values that make a tile.
fn tile(row: usize) -> usize {
    (TILE_VALUES / row.max(1)).next_multiple_of(TILE_MULTIPLE)
}

/// Calls `work` with an f32 weight of any layout.
fn in_memory(weight: &Tensor, work: impl FnOnce(MatrixRef<'_>)) -> Result<()> {
    let weight = weight.contiguous()?;
    let (rows, columns) = weight.dims2()?;
    with_values("linear", [&weight], |[values]| {
        work(MatrixRef::new(values, rows, columns));
        Ok(())
    })
}

fn to_f16(weight: &[f32]) -> Result<Vec<f16>> {
    let largest = weight
        .iter()
        .fold(0f32, |most, value| most.max(value.abs()));
    if largest > f16::MAX.to_f32() {
        bail!("a weight of {largest} does not fit f16, which ends at 65504; bf16 holds it");
    }
    Ok(weight
        .par_iter()
        .map(|&value| f16::from_f32(value))
        .collect())
}

fn to_nf4(weight: &[f32]) -> Result<FourBit> {
    FourBit::quantise(weight, FourBitCode::Nf4, NF4_BLOCK, true)
}

fn to_int8(weight: &[f32], in_features: usize) -> Values {
    let rows = weight.par_chunks(in_features.max(1));
    let blocks: Vec<(Vec<i8>, Vec<f32>)> = rows
        .map(|row| {
            let mut values = Vec::with_capacity(row.len());
            let mut scales = Vec::with_capacity(row.len().div_ceil(BLOCK));
            for block in row.chunks(BLOCK) {
                let largest = block.iter().fold(0f32, |most, value| most.max(value.abs()));
                let scale = largest / f32::from(i8::MAX);
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                values.extend(block.iter().map(|value| (value * inverse).round() as i8));
                scales.push(scale);
            }
            (values, scales)
        })
        .collect();
    let (values, scales): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    Values::Int8(values.concat(), scales.concat())
}
