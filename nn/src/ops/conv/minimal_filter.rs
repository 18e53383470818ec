//! Convolutions of seven taps by minimal filtering: 12 products where the definition has 42.
//!
//! Six outputs of a filter of seven taps are a polynomial product's coefficients, which its values at twelve points
//! decide (Winograd 1980, "Arithmetic Complexity of Computations"; for networks: Lavin, Gray 2016, "Fast Algorithms for
//! Convolutional Neural Networks"). Input and kernel are transformed to those points, multiplied there as matrices over
//! the channels, and transformed back. The points, 0, infinity and five pairs, are the ones that lost least precision in
//! single precision among simple fractions: 4e-6 of the result's size, where the direct sum loses 5e-7.

use super::pieces_of_each;
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::vectorized;
use rayon::prelude::*;

/// Taps of the kernels this computes.
pub(super) const TAPS: usize = 7;
/// Outputs of one transform.
const OUTPUTS: usize = 6;
/// Points, and inputs of one transform.
const POINTS: usize = OUTPUTS + TAPS - 1;
/// The points are 0, each of these and its negative, and infinity.
const PAIRS: [f64; 5] = [1.0, 0.4, 2.0 / 3.0, 1.5, 2.5];
/// Transforms done at once in vector registers.
const LANES: usize = 8;
/// Transforms in a tile: as many as the matrix product is fastest with.
const TILE_TRANSFORMS: usize = 144;

/// A kernel `[outputs, inputs, 7]` at the points: `[points, outputs, inputs]`.
#[derive(Clone)]
pub(super) struct Kernel {
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
    transform: Transform,
}

/// The frames of one convolution, and what is fused with it.
pub(super) struct Frames<'a> {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
    /// Applied to each input channel's frames before the convolution; must map zero to zero.
    pub(super) before: &'a (dyn Fn(usize, &mut [f32]) + Sync),
}

/// Coefficients of the transforms, each row scaled by a power of two so that values and kernels are of like size.
#[derive(Clone)]
struct Transform {
    /// For zero, on the inputs of even number.
    zero: [f32; OUTPUTS],
    /// For infinity, on the inputs of odd number.
    infinity: [f32; OUTPUTS],
    /// For a pair: on the inputs of even number from 2, and of odd number.
    pairs: [([f32; 5], [f32; 5]); 5],
    /// Powers of the pairs' points, by output.
    powers: [[f32; OUTPUTS]; 5],
    /// `kernel value = sum over taps`, by point.
    kernel: [[f64; TAPS]; POINTS],
}

impl Transform {
    fn new() -> Self {
        let all = product_of_squares(&PAIRS);
        let others: Vec<Vec<f64>> = (0..PAIRS.len())
            .map(|pair| {
                let mut rest = PAIRS.to_vec();
                rest.remove(pair);
                product_of_squares(&rest)
            })
            .collect();
        let mut points = vec![0.0];
        points.extend(PAIRS.iter().flat_map(|&point| [point, -point]));
        let mut kernel = [[0.0; TAPS]; POINTS];
        for (index, &point) in points.iter().enumerate() {
            let product: f64 = points
                .iter()
                .filter(|&&other| other != point)
                .map(|&other| point - other)
                .product();
            kernel[index] = std::array::from_fn(|tap| point.powi(tap as i32) / product);
        }
        kernel[POINTS - 1][TAPS - 1] = 1.0;
        let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let mut balance = |point: usize, row: f64| {
            let scale = (norm(&kernel[point]) / row).sqrt().log2().round().exp2();
            kernel[point] = kernel[point].map(|value| value / scale);
            scale
        };
        let zero = balance(0, norm(&all));
        let infinity = balance(POINTS - 1, norm(&all));
        let pairs = std::array::from_fn(|pair| {
            let (point, rest) = (PAIRS[pair], &others[pair]);
            let row = norm(rest) * (1.0 + point * point).sqrt();
            let (scale, same) = (balance(2 * pair + 1, row), balance(2 * pair + 2, row));
            debug_assert!(scale == same);
            (
                std::array::from_fn(|k| (rest[k] * scale) as f32),
                std::array::from_fn(|k| (rest[k] * point * scale) as f32),
            )
        });
        Self {
            zero: std::array::from_fn(|k| (all[k] * zero) as f32),
            infinity: std::array::from_fn(|k| (all[k] * infinity) as f32),
            pairs,
            powers: PAIRS
                .map(|point| std::array::from_fn(|output| point.powi(output as i32) as f32)),
            kernel,
        }
    }

    /// Twelve inputs to their values at the points, in lanes.
    #[inline(always)]
    fn input(&self, x: &[[f32; LANES]; POINTS]) -> [[f32; LANES]; POINTS] {
        let mut values = [[0f32; LANES]; POINTS];
        for lane in 0..LANES {
            let (mut zero, mut infinity) = (0f32, 0f32);
            for k in 0..OUTPUTS {
                zero += self.zero[k] * x[2 * k][lane];
                infinity += self.infinity[k] * x[2 * k + 1][lane];
            }
            values[0][lane] = zero;
            values[POINTS - 1][lane] = infinity;
            for (pair, (even, odd)) in self.pairs.iter().enumerate() {
                let (mut same, mut opposite) = (0f32, 0f32);
                for k in 0..even.len() {
                    same += even[k] * x[2 * k + 2][lane];
                    opposite += odd[k] * x[2 * k + 1][lane];
                }
                values[2 * pair + 1][lane] = same + opposite;
                values[2 * pair + 2][lane] = same - opposite;
            }
        }
        values
    }

    /// Products at the points to six outputs, in lanes.
    #[inline(always)]
    fn output(&self, values: &[[f32; LANES]; POINTS]) -> [[f32; LANES]; OUTPUTS] {
        let mut outputs = [[0f32; LANES]; OUTPUTS];
        for lane in 0..LANES {
            outputs[0][lane] = values[0][lane];
            outputs[OUTPUTS - 1][lane] = values[POINTS - 1][lane];
            for (pair, powers) in self.powers.iter().enumerate() {
                let (plus, minus) = (values[2 * pair + 1][lane], values[2 * pair + 2][lane]);
                let (sum, difference) = (plus + minus, plus - minus);
                for (output, power) in powers.iter().enumerate() {
                    outputs[output][lane] += power * if output % 2 == 0 { sum } else { difference };
                }
            }
        }
        outputs
    }
}

/// Coefficients of the product over `points` of `(y - point²)`, lowest first.
fn product_of_squares(points: &[f64]) -> Vec<f64> {
    points.iter().fold(vec![1.0], |product, point| {
        let mut longer = vec![0.0; product.len() + 1];
        for (power, coefficient) in product.iter().enumerate() {
            longer[power + 1] += coefficient;
            longer[power] -= coefficient * point * point;
        }
        longer
    })
}

/// What one thread works with.
#[derive(Default)]
struct Scratch {
    window: Vec<f32>,
    phases: Vec<f32>,
    /// `[points, inputs, transforms]`
    input: Vec<f32>,
    /// `[points, outputs, transforms]`
    output: Vec<f32>,
}

impl Kernel {
    /// Transforms a weight `[outputs, inputs, 7]`.
    pub(super) fn new(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        let transform = Transform::new();
        let mut values = vec![0f32; POINTS * inputs * outputs];
        let plane = inputs * outputs;
        values
            .par_chunks_mut(plane.max(1))
            .zip(&transform.kernel)
            .for_each(|(plane, row)| {
                for (value, taps) in plane.iter_mut().zip(weight.chunks_exact(TAPS)) {
                    let sum: f64 = taps
                        .iter()
                        .zip(row)
                        .map(|(&tap, k)| f64::from(tap) * k)
                        .sum();
                    *value = sum as f32;
                }
            });
        Self {
            values,
            inputs,
            outputs,
            transform,
        }
    }

    /// Adds the convolution of `x` `[batch, inputs, frames]` to `y` `[batch, outputs, frames']`.
    pub(super) fn add_to(&self, y: &mut [f32], x: &[f32], frames: &Frames<'_>) {
        if y.is_empty() {
            return;
        }
        let batch = y.len() / (self.outputs * frames.output);
        let transforms = tile_transforms(batch, frames);
        let width = OUTPUTS * frames.dilation * transforms;
        let pieces: Vec<_> = y
            .chunks_mut(self.outputs * frames.output)
            .zip(x.chunks(self.inputs * frames.input))
            .flat_map(|(y, x)| {
                let blocks = MatrixMut::new(y, self.outputs, frames.output).column_blocks(width);
                blocks
                    .into_iter()
                    .map(move |(first, block)| (x, first, block))
            })
            .collect();
        pieces
            .into_par_iter()
            .for_each_init(Scratch::default, |scratch, (x, first, mut block)| {
                self.transform_input(x, first, transforms, frames, scratch);
                self.multiply(transforms * frames.dilation, scratch);
                self.transform_output(&mut block, transforms, frames.dilation, scratch);
            });
    }

    fn transform_input(
        &self,
        x: &[f32],
        first: usize,
        transforms: usize,
        frames: &Frames<'_>,
        scratch: &mut Scratch,
    ) {
        let period = OUTPUTS * frames.dilation;
        let (columns, row) = (transforms * frames.dilation, transforms + 1);
        scratch.window.resize(period * row, 0.0);
        scratch.phases.resize(period * row, 0.0);
        scratch.input.resize(POINTS * self.inputs * columns, 0.0);
        let plane = self.inputs * columns;
        for (channel, x) in x.chunks_exact(frames.input).enumerate() {
            fill_window(&mut scratch.window, x, first, frames.padding, |inside| {
                (frames.before)(channel, inside);
            });
            for (index, period) in scratch.window.chunks_exact(period).enumerate() {
                for (phase, &value) in period.iter().enumerate() {
                    scratch.phases[phase * row + index] = value;
                }
            }
            let (phases, values) = (&scratch.phases, &mut scratch.input);
            vectorized(|| {
                for start in 0..frames.dilation {
                    for index in (0..transforms).step_by(LANES) {
                        let x = std::array::from_fn(|input| {
                            let phase = (input % OUTPUTS) * frames.dilation + start;
                            lanes(phases, phase * row + input / OUTPUTS + index)
                        });
                        let place = channel * columns + start * transforms + index;
                        for (point, values_at) in self.transform.input(&x).iter().enumerate() {
                            values[point * plane + place..][..LANES].copy_from_slice(values_at);
                        }
                    }
                }
            });
        }
    }

    fn multiply(&self, columns: usize, scratch: &mut Scratch) {
        scratch.output.resize(POINTS * self.outputs * columns, 0.0);
        let planes = scratch
            .output
            .chunks_exact_mut(self.outputs * columns)
            .zip(scratch.input.chunks_exact(self.inputs * columns))
            .zip(self.values.chunks_exact(self.outputs * self.inputs));
        for ((output, input), kernel) in planes {
            MatrixMut::new(output, self.outputs, columns).product(
                MatrixRef::new(kernel, self.outputs, self.inputs),
                MatrixRef::new(input, self.inputs, columns),
                1.0,
                false,
                Threads::One,
            );
        }
    }

    fn transform_output(
        &self,
        block: &mut MatrixMut<'_>,
        transforms: usize,
        dilation: usize,
        scratch: &mut Scratch,
    ) {
        let columns = transforms * dilation;
        let plane = self.outputs * columns;
        scratch.phases.resize(OUTPUTS * columns, 0.0);
        for channel in 0..self.outputs {
            let (phases, values) = (&mut scratch.phases, &scratch.output);
            vectorized(|| {
                for start in 0..dilation {
                    for index in (0..transforms).step_by(LANES) {
                        let place = channel * columns + start * transforms + index;
                        let values =
                            std::array::from_fn(|point| lanes(values, point * plane + place));
                        for (output, y) in self.transform.output(&values).iter().enumerate() {
                            let phase = output * dilation + start;
                            phases[phase * transforms + index..][..LANES].copy_from_slice(y);
                        }
                    }
                }
            });
            let row = block.row_mut(channel);
            for (index, period) in row.chunks_mut(OUTPUTS * dilation).enumerate() {
                for (phase, y) in period.iter_mut().enumerate() {
                    *y += scratch.phases[phase * transforms + index];
                }
            }
        }
    }
}

/// Transforms per phase of the dilation in one tile: a multiple of the lanes.
fn tile_transforms(batch: usize, frames: &Frames<'_>) -> usize {
    let wanted = pieces_of_each(batch);
    let shared = frames
        .output
        .div_ceil(OUTPUTS * frames.dilation)
        .div_ceil(wanted);
    (TILE_TRANSFORMS / frames.dilation)
        .min(shared)
        .next_multiple_of(LANES)
        .max(LANES)
}

/// Copies the frames of `x` from `first - padding` on into the window, zeros where there are none, and lets `work`
/// change those that are there.
pub(super) fn fill_window(
    window: &mut [f32],
    x: &[f32],
    first: usize,
    padding: usize,
    work: impl FnOnce(&mut [f32]),
) {
    let start = padding.saturating_sub(first).min(window.len());
    let read = (first + start).saturating_sub(padding).min(x.len());
    let count = (window.len() - start).min(x.len() - read);
    window[..start].fill(0.0);
    window[start + count..].fill(0.0);
    let inside = &mut window[start..start + count];
    inside.copy_from_slice(&x[read..read + count]);
    work(inside);
}

#[inline(always)]
fn lanes(values: &[f32], start: usize) -> [f32; LANES] {
    let mut lanes = [0f32; LANES];
    lanes.copy_from_slice(&values[start..start + LANES]);
    lanes
}
