//! Latents to sound.

use candle_core::Tensor;

use super::OobleckConfig;
use super::convolution::{Convolution, Size, TransposedConvolution};
use super::layout::Layout;
use super::receptive_field::{KERNEL, decoder_end_context};
use super::residual::ResidualUnit;
use super::snake::Snake;
use super::{TILE_VALUES, WHOLE_VALUES};
use crate::VaeError;
use crate::identity::Source;
use crate::tiling::run_exact_up;

/// `[batch, latent_channels, frames]` to `[batch, audio_channels, samples]`.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    /// Channels before the first block, after the first, ...
    widths: Vec<usize>,
    strides: Vec<usize>,
    first: Convolution,
    blocks: Vec<Block>,
    snake: Snake,
    last: Convolution,
}

/// A step up, then three residual units.
#[derive(Debug, Clone)]
struct Block {
    snake: Snake,
    up: TransposedConvolution,
    units: Vec<ResidualUnit>,
}

impl Decoder {
    pub(crate) fn load(
        config: &OobleckConfig,
        source: &Source,
        layout: Layout,
    ) -> Result<Self, VaeError> {
        let widths = config.decoder_widths();
        let (wide, narrow) = (widths[0], widths[widths.len() - 1]);
        let count = config.downsampling_ratios.len();
        let load_block = |(index, &stride): (usize, &usize)| {
            Block::load(
                &source.pp(&layout.block(index)),
                layout,
                widths[index],
                widths[index + 1],
                stride,
            )
        };
        let first = Size {
            inputs: config.decoder_input_channels,
            outputs: wide,
            kernel: KERNEL,
        };
        let last = Size {
            inputs: narrow,
            outputs: config.audio_channels,
            kernel: KERNEL,
        };
        let strides: Vec<usize> = config.downsampling_ratios.iter().rev().copied().collect();
        Ok(Self {
            first: Convolution::same(&source.pp(layout.first_convolution()), first, 1, true)?,
            blocks: strides
                .iter()
                .enumerate()
                .map(load_block)
                .collect::<Result<_, _>>()?,
            snake: Snake::load(&source.pp(&layout.last_snake(count)), layout, narrow)?,
            last: Convolution::same(&source.pp(&layout.last_convolution(count)), last, 1, false)?,
            widths,
            strides,
        })
    }

    /// A long clip runs through the last blocks, where it is largest, in exact tiles.
    pub(crate) fn forward(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        let (batch, _, mut frames) = latents.dims3()?;
        let mut count = 0;
        for (stride, width) in self.strides.iter().zip(&self.widths[1..]) {
            frames *= stride;
            if batch * width * frames > WHOLE_VALUES {
                break;
            }
            count += 1;
        }
        let (first, rest) = self.blocks.split_at(count);
        let hidden = self.first.forward(latents)?;
        let hidden = first
            .iter()
            .try_fold(hidden, |hidden, block| block.forward(hidden))?;
        let strides = &self.strides[count..];
        let hop: usize = strides.iter().product();
        let core = match rest {
            [] => usize::MAX,
            _ => (TILE_VALUES / (batch * self.widths[self.strides.len()] * hop)).max(1),
        };
        run_exact_up(&hidden, core, decoder_end_context(strides), hop, |hidden| {
            let hidden = rest
                .iter()
                .try_fold(hidden.clone(), |hidden, block| block.forward(hidden))?;
            self.last.forward_active(&self.snake, &hidden, None)
        })
    }
}

impl Block {
    fn load(
        source: &Source,
        layout: Layout,
        inputs: usize,
        outputs: usize,
        stride: usize,
    ) -> Result<Self, VaeError> {
        let (snake, up, units) = layout.up();
        Ok(Self {
            snake: Snake::load(&source.pp(snake), layout, inputs)?,
            up: TransposedConvolution::up(&source.pp(up), inputs, outputs, stride)?,
            units: ResidualUnit::load_all(source, layout, units, outputs)?,
        })
    }

    fn forward(&self, hidden: Tensor) -> Result<Tensor, VaeError> {
        let mut hidden = self.up.forward(&self.snake.forward(&hidden)?)?;
        for unit in &self.units {
            hidden = unit.forward(&hidden)?;
        }
        Ok(hidden)
    }
}
