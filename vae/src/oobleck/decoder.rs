//! Latents to sound.

use candle_core::Tensor;

use super::OobleckConfig;
use super::convolution::{Convolution, Size, TransposedConvolution};
use super::layout::Layout;
use super::receptive_field::KERNEL;
use super::residual::ResidualUnit;
use super::snake::Snake;
use crate::VaeError;
use crate::identity::Source;

/// `[batch, latent_channels, frames]` to `[batch, audio_channels, samples]`.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
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
        let strides = config.downsampling_ratios.iter().rev();
        Ok(Self {
            first: Convolution::same(&source.pp(layout.first_convolution()), first, 1, true)?,
            blocks: strides
                .enumerate()
                .map(load_block)
                .collect::<Result<_, _>>()?,
            snake: Snake::load(&source.pp(&layout.last_snake(count)), layout, narrow)?,
            last: Convolution::same(&source.pp(&layout.last_convolution(count)), last, 1, false)?,
        })
    }

    pub(crate) fn forward(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        let mut hidden = self.first.forward(latents)?;
        for block in &self.blocks {
            hidden = block.forward(hidden)?;
        }
        self.last.forward(&self.snake.forward(&hidden)?)
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
