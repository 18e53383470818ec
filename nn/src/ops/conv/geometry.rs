//! The three kernels of a convolution's geometry, as tiles of unfolded input times weight, parallel over batch,
//! groups and tiles.

use super::pieces_of_each;
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::{dot, vectorized};
use rayon::prelude::*;
use std::ops::Range;

/// Values of unfolded input that one thread works on at a time: half a megabyte stays in its level-2 cache.
const TILE_VALUES: usize = 128 * 1024;
/// Frames in a tile at least and at most.
const TILE_FRAMES: Range<usize> = 128..4096;

/// Sizes of a convolution that reads `[batch, groups * inputs, input_frames]` and writes
/// `[batch, groups * outputs, output_frames]` with a weight `[groups * outputs, inputs, taps]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of one group on the input side.
    pub(super) inputs: usize,
    /// Channels of one group on the output side.
    pub(super) outputs: usize,
    pub(super) taps: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
    pub(super) input_frames: usize,
    pub(super) output_frames: usize,
}

impl Geometry {
    /// `y[o, n] = bias[o] + sum over c, tap of weight[o, c, tap] * x[c, n stride + tap dilation - padding]`.
    pub(super) fn correlate(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let mut y = vec![0f32; self.batch * self.groups * self.outputs * self.output_frames];
        if y.is_empty() {
            return y;
        }
        fill_rows(&mut y, self.output_frames, bias);
        if self.depthwise() {
            self.correlate_depthwise(x, weight, &mut y);
            return y;
        }
        let pieces: Vec<_> = y
            .chunks_mut(self.outputs * self.output_frames)
            .enumerate()
            .flat_map(|(part, y)| {
                let blocks = MatrixMut::new(y, self.outputs, self.output_frames)
                    .column_blocks(self.tile_frames(self.inputs, self.batch * self.groups));
                blocks
                    .into_iter()
                    .map(move |(first, block)| (part, first, block))
            })
            .collect();
        pieces
            .into_par_iter()
            .for_each_init(Vec::new, |unfolded, (part, first, mut block)| {
                let width = block.columns();
                let (x, weight) = (self.input_part(x, part), self.weight_part(weight, part));
                let left = MatrixRef::new(weight, self.outputs, self.inputs * self.taps);
                let right = if self.pointwise() {
                    MatrixRef::strided(&x[first..], self.inputs, width, self.input_frames)
                } else {
                    unfolded.resize(self.inputs * self.taps * width, 0.0);
                    self.unfold(x, 0..self.inputs, first..first + width, unfolded);
                    MatrixRef::new(unfolded, self.inputs * self.taps, width)
                };
                block.product(left, right, 1.0, true, Threads::One);
            });
        y
    }

    /// The adjoint of [`Self::correlate`]: from `y` back to `x`, with a bias per channel of `x`.
    pub(super) fn scatter(&self, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let mut x = vec![0f32; self.batch * self.groups * self.inputs * self.input_frames];
        if x.is_empty() {
            return x;
        }
        fill_rows(&mut x, self.input_frames, bias);
        if self.depthwise() {
            self.scatter_depthwise(y, weight, &mut x);
            return x;
        }
        let channels = self.channels_per_piece(self.batch * self.groups);
        let tile = self.tile_frames(channels, usize::MAX);
        let pieces: Vec<_> = x
            .chunks_mut(self.inputs * self.input_frames)
            .enumerate()
            .flat_map(|(part, x)| {
                x.chunks_mut(channels * self.input_frames)
                    .enumerate()
                    .map(move |(piece, x)| (part, piece * channels, x))
            })
            .collect();
        pieces
            .into_par_iter()
            .for_each_init(Vec::new, |unfolded, (part, channel, x)| {
                let rows = x.len() / self.input_frames * self.taps;
                let (y, weight) = (self.output_part(y, part), self.weight_part(weight, part));
                let whole_row = self.inputs * self.taps;
                let left = MatrixRef::strided(
                    &weight[channel * self.taps..],
                    self.outputs,
                    rows,
                    whole_row,
                )
                .t();
                for first in (0..self.output_frames).step_by(tile) {
                    let width = tile.min(self.output_frames - first);
                    unfolded.resize(rows * width, 0.0);
                    let right =
                        MatrixRef::strided(&y[first..], self.outputs, width, self.output_frames);
                    MatrixMut::new(&mut unfolded[..rows * width], rows, width).product(
                        left,
                        right,
                        1.0,
                        false,
                        Threads::One,
                    );
                    self.fold(&unfolded[..rows * width], first..first + width, x);
                }
            });
        x
    }

    /// The gradient of [`Self::correlate`] for its weight, summed over the batch.
    pub(super) fn weight_gradient(&self, x: &[f32], y: &[f32]) -> Vec<f32> {
        let mut weight = vec![0f32; self.groups * self.outputs * self.inputs * self.taps];
        if weight.is_empty() {
            return weight;
        }
        if self.depthwise() {
            self.weight_gradient_depthwise(x, y, &mut weight);
            return weight;
        }
        let channels = self.channels_per_piece(self.groups);
        let tile = self.tile_frames(channels, usize::MAX);
        let row = self.inputs * self.taps;
        let pieces: Vec<_> = weight
            .chunks_mut(self.outputs * row)
            .enumerate()
            .flat_map(|(group, weight)| {
                let blocks =
                    MatrixMut::new(weight, self.outputs, row).column_blocks(channels * self.taps);
                blocks
                    .into_iter()
                    .map(move |(first, block)| (group, first / self.taps, block))
            })
            .collect();
        pieces
            .into_par_iter()
            .for_each_init(Vec::new, |unfolded, (group, channel, mut block)| {
                let rows = block.columns();
                for part in (0..self.batch).map(|item| item * self.groups + group) {
                    let (x, y) = (self.input_part(x, part), self.output_part(y, part));
                    for first in (0..self.output_frames).step_by(tile) {
                        let width = tile.min(self.output_frames - first);
                        unfolded.resize(rows * width, 0.0);
                        self.unfold(
                            x,
                            channel..channel + rows / self.taps,
                            first..first + width,
                            unfolded,
                        );
                        let left = MatrixRef::strided(
                            &y[first..],
                            self.outputs,
                            width,
                            self.output_frames,
                        );
                        let right = MatrixRef::new(&unfolded[..rows * width], rows, width).t();
                        block.product(left, right, 1.0, true, Threads::One);
                    }
                }
            });
        weight
    }

    fn depthwise(&self) -> bool {
        self.inputs == 1 && self.outputs == 1
    }

    /// Whether the input itself is its unfolding.
    fn pointwise(&self) -> bool {
        self.taps == 1 && self.stride == 1 && self.padding == 0
    }

    fn input_part<'a>(&self, x: &'a [f32], part: usize) -> &'a [f32] {
        let size = self.inputs * self.input_frames;
        &x[part * size..(part + 1) * size]
    }

    fn output_part<'a>(&self, y: &'a [f32], part: usize) -> &'a [f32] {
        let size = self.outputs * self.output_frames;
        &y[part * size..(part + 1) * size]
    }

    fn weight_part<'a>(&self, weight: &'a [f32], part: usize) -> &'a [f32] {
        let (size, group) = (self.outputs * self.inputs * self.taps, part % self.groups);
        &weight[group * size..(group + 1) * size]
    }

    /// Frames of a tile over `channels` input channels, small enough to give every thread work when there are only
    /// `parts` other pieces.
    fn tile_frames(&self, channels: usize, parts: usize) -> usize {
        let cached = TILE_VALUES / (channels * self.taps);
        let wanted = pieces_of_each(parts);
        let shared = self.output_frames.div_ceil(wanted);
        cached.min(shared).clamp(TILE_FRAMES.start, TILE_FRAMES.end)
    }

    fn channels_per_piece(&self, parts: usize) -> usize {
        let wanted = pieces_of_each(parts);
        self.inputs.div_ceil(wanted)
    }

    /// Output frames of `frames` at which a tap reads inside the input, and the input frame that the first reads.
    fn reached(&self, tap: usize, frames: &Range<usize>) -> (Range<usize>, usize) {
        let offset = tap * self.dilation;
        let first = self
            .padding
            .saturating_sub(offset)
            .div_ceil(self.stride)
            .max(frames.start);
        let last = (self.input_frames + self.padding)
            .checked_sub(offset + 1)
            .map_or(0, |furthest| furthest / self.stride + 1)
            .min(frames.end);
        if first >= last {
            return (frames.start..frames.start, 0);
        }
        (first..last, first * self.stride + offset - self.padding)
    }

    /// Writes `unfolded[(c, tap), n]`, the input that each tap reads for the output frames of a tile.
    fn unfold(
        &self,
        x: &[f32],
        channels: Range<usize>,
        frames: Range<usize>,
        unfolded: &mut [f32],
    ) {
        let rows = unfolded.chunks_exact_mut(frames.len());
        for (row, target) in rows.enumerate().take(channels.len() * self.taps) {
            let (channel, tap) = (channels.start + row / self.taps, row % self.taps);
            let x = &x[channel * self.input_frames..][..self.input_frames];
            let (inside, read) = self.reached(tap, &frames);
            let (start, end) = (inside.start - frames.start, inside.end - frames.start);
            target[..start].fill(0.0);
            target[end..].fill(0.0);
            let target = &mut target[start..end];
            if self.stride == 1 {
                target.copy_from_slice(&x[read..read + inside.len()]);
            } else if !target.is_empty() {
                for (value, &source) in target.iter_mut().zip(x[read..].iter().step_by(self.stride))
                {
                    *value = source;
                }
            }
        }
    }

    /// Adds `unfolded[(c, tap), n]` to the frames of `x` that each tap reads.
    fn fold(&self, unfolded: &[f32], frames: Range<usize>, x: &mut [f32]) {
        for (row, source) in unfolded.chunks_exact(frames.len()).enumerate() {
            let (channel, tap) = (row / self.taps, row % self.taps);
            let x = &mut x[channel * self.input_frames..][..self.input_frames];
            let (inside, read) = self.reached(tap, &frames);
            let source = &source[inside.start - frames.start..inside.end - frames.start];
            if self.stride == 1 {
                vectorized(|| {
                    for (value, &add) in x[read..read + source.len()].iter_mut().zip(source) {
                        *value += add;
                    }
                });
            } else if !source.is_empty() {
                for (value, &add) in x[read..].iter_mut().step_by(self.stride).zip(source) {
                    *value += add;
                }
            }
        }
    }

    fn correlate_depthwise(&self, x: &[f32], weight: &[f32], y: &mut [f32]) {
        y.par_chunks_mut(self.output_frames)
            .enumerate()
            .for_each(|(part, y)| {
                let (x, weight) = (self.input_part(x, part), self.weight_part(weight, part));
                for (tap, &factor) in weight.iter().enumerate() {
                    let (inside, read) = self.reached(tap, &(0..self.output_frames));
                    let y = &mut y[inside];
                    if self.stride == 1 {
                        let x = &x[read..read + y.len()];
                        vectorized(|| y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x));
                    } else if !y.is_empty() {
                        let x = x[read..].iter().step_by(self.stride);
                        y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
                    }
                }
            });
    }

    fn scatter_depthwise(&self, y: &[f32], weight: &[f32], x: &mut [f32]) {
        x.par_chunks_mut(self.input_frames)
            .enumerate()
            .for_each(|(part, x)| {
                let (y, weight) = (self.output_part(y, part), self.weight_part(weight, part));
                for (tap, &factor) in weight.iter().enumerate() {
                    let (inside, read) = self.reached(tap, &(0..self.output_frames));
                    let y = &y[inside];
                    if self.stride == 1 {
                        let x = &mut x[read..read + y.len()];
                        vectorized(|| x.iter_mut().zip(y).for_each(|(x, y)| *x += factor * y));
                    } else if !y.is_empty() {
                        let x = x[read..].iter_mut().step_by(self.stride);
                        x.zip(y).for_each(|(x, y)| *x += factor * y);
                    }
                }
            });
    }

    fn weight_gradient_depthwise(&self, x: &[f32], y: &[f32], weight: &mut [f32]) {
        weight
            .par_chunks_mut(self.taps)
            .enumerate()
            .for_each(|(group, weight)| {
                for part in (0..self.batch).map(|item| item * self.groups + group) {
                    let (x, y) = (self.input_part(x, part), self.output_part(y, part));
                    for (tap, gradient) in weight.iter_mut().enumerate() {
                        let (inside, read) = self.reached(tap, &(0..self.output_frames));
                        let y = &y[inside];
                        *gradient += if self.stride == 1 {
                            vectorized(|| dot(&x[read..read + y.len()], y))
                        } else if y.is_empty() {
                            0.0
                        } else {
                            x[read..]
                                .iter()
                                .step_by(self.stride)
                                .zip(y)
                                .map(|(x, y)| x * y)
                                .sum()
                        };
                    }
                }
            });
    }
}

/// Sets every row of `[batch, channels, frames]` to its channel's bias.
fn fill_rows(values: &mut [f32], frames: usize, bias: Option<&[f32]>) {
    if let Some(bias) = bias {
        for (row, &bias) in values.chunks_mut(frames).zip(bias.iter().cycle()) {
            row.fill(bias);
        }
    }
}
