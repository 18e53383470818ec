//! A fixed kernel of one group, prepared for convolving tile by tile.

use super::minimal_filter::{self, Frames, fill_window};
use super::{Conv1dOptions, pieces_of_each};
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use rayon::prelude::*;

/// Below this many channels on either side the transforms of minimal filtering cost more than they save.
const MINIMAL_CHANNELS: usize = 32;
/// Values of input that one thread works on at a time: they stay in its level-2 cache.
const TILE_VALUES: usize = 48 * 1024;
/// Output frames of a tile at least.
const TILE_FRAMES_MIN: usize = 128;

/// The kernel of a convolution without groups.
pub(crate) struct Filter {
    kernel: Kernel,
    /// `[outputs, inputs, taps]`
    shape: [usize; 3],
    options: Conv1dOptions,
}

enum Kernel {
    /// As it is, for unfolded input.
    Direct(Vec<f32>),
    /// Transformed, see [`minimal_filter`].
    Minimal(Box<minimal_filter::Kernel>),
}

impl Filter {
    pub(crate) fn new(weight: &[f32], shape: [usize; 3], options: &Conv1dOptions) -> Self {
        let [outputs, inputs, taps] = shape;
        let minimal = taps == minimal_filter::TAPS
            && options.stride == 1
            && inputs.min(outputs) >= MINIMAL_CHANNELS;
        let kernel = match minimal {
            true => Kernel::Minimal(Box::new(minimal_filter::Kernel::new(
                weight, inputs, outputs,
            ))),
            false => Kernel::Direct(weight.to_vec()),
        };
        Self {
            kernel,
            shape,
            options: *options,
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.shape[1]
    }

    pub(crate) fn outputs(&self) -> usize {
        self.shape[0]
    }

    /// Frames of the result; none when the input is shorter than the kernel.
    pub(crate) fn output_frames(&self, frames: usize) -> Option<usize> {
        let Conv1dOptions {
            stride,
            padding,
            dilation,
            ..
        } = self.options;
        let reach = dilation * (self.shape[2] - 1) + 1;
        let span = (frames + 2 * padding).checked_sub(reach)?;
        Some(span / stride + 1)
    }

    /// Adds the bias `[outputs]` to `y` `[batch, outputs, output_frames]`.
    pub(crate) fn add_bias(&self, y: &mut [f32], bias: &[f32], output_frames: usize) {
        y.par_chunks_mut(output_frames.max(1))
            .enumerate()
            .for_each(|(row, y)| {
                let bias = bias[row % bias.len()];
                y.iter_mut().for_each(|y| *y += bias);
            });
    }

    /// Adds the convolution of `before(x)` to `y`; `before` is given a channel's number and some of its frames.
    pub(crate) fn add_to(
        &self,
        y: &mut [f32],
        x: &[f32],
        frames: usize,
        before: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        let Some(output) = self.output_frames(frames) else {
            return;
        };
        match &self.kernel {
            Kernel::Minimal(kernel) => {
                let frames = Frames {
                    input: frames,
                    output,
                    padding: self.options.padding,
                    dilation: self.options.dilation,
                    before,
                };
                kernel.add_to(y, x, &frames);
            }
            Kernel::Direct(weight) => self.add_direct(y, x, weight, [frames, output], before),
        }
    }

    fn add_direct(
        &self,
        y: &mut [f32],
        x: &[f32],
        weight: &[f32],
        [frames, output_frames]: [usize; 2],
        before: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        let [outputs, inputs, taps] = self.shape;
        let Conv1dOptions {
            stride,
            padding,
            dilation,
            ..
        } = self.options;
        let batch = y.len() / (outputs * output_frames).max(1);
        let wanted = pieces_of_each(batch);
        let width = (TILE_VALUES / (inputs * taps))
            .min(output_frames.div_ceil(wanted))
            .max(TILE_FRAMES_MIN);
        let pieces: Vec<_> = y
            .chunks_mut((outputs * output_frames).max(1))
            .zip(x.chunks((inputs * frames).max(1)))
            .flat_map(|(y, x)| {
                let blocks = MatrixMut::new(y, outputs, output_frames).column_blocks(width);
                blocks
                    .into_iter()
                    .map(move |(first, block)| (x, first, block))
            })
            .collect();
        pieces.into_par_iter().for_each_init(
            Default::default,
            |(window, unfolded): &mut (Vec<f32>, Vec<f32>), (x, first, mut block)| {
                let width = block.columns();
                let reach = (width - 1) * stride + dilation * (taps - 1) + 1;
                window.resize(reach, 0.0);
                unfolded.resize(inputs * taps * width, 0.0);
                let rows = unfolded.chunks_exact_mut(taps * width);
                for ((channel, x), rows) in x.chunks_exact(frames).enumerate().zip(rows) {
                    fill_window(window, x, first * stride, padding, |inside| {
                        before(channel, inside);
                    });
                    for (tap, row) in rows.chunks_exact_mut(width).enumerate() {
                        let source = &window[tap * dilation..];
                        if stride == 1 {
                            row.copy_from_slice(&source[..width]);
                        } else {
                            for (value, &source) in
                                row.iter_mut().zip(source.iter().step_by(stride))
                            {
                                *value = source;
                            }
                        }
                    }
                }
                block.product(
                    MatrixRef::new(weight, outputs, inputs * taps),
                    MatrixRef::new(&unfolded[..inputs * taps * width], inputs * taps, width),
                    1.0,
                    true,
                    Threads::One,
                );
            },
        );
    }
}
