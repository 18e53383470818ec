//! Sound to the parameters of the latents' distribution.

use candle_core::Tensor;

use super::OobleckConfig;
use super::convolution::{Convolution, Size};
use super::layout::Layout;
use super::receptive_field::{KERNEL, LATENT_KERNEL};
use super::residual::ResidualUnit;
use super::snake::Snake;
use crate::VaeError;
use crate::identity::Source;

/// `[batch, audio_channels, samples]` to `[batch, 2 * latent_channels, frames]`.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    first: Convolution,
    blocks: Vec<Block>,
    snake: Snake,
    last: Convolution,
}

/// Three residual units, then a step down.
#[derive(Debug, Clone)]
struct Block {
    units: Vec<ResidualUnit>,
    snake: Snake,
    down: Convolution,
}

impl Encoder {
    pub(crate) fn load(
        config: &OobleckConfig,
        source: &Source,
        layout: Layout,
    ) -> Result<Self, VaeError> {
        let widths = config.encoder_widths();
        let (narrow, wide) = (widths[0], widths[widths.len() - 1]);
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
            inputs: config.audio_channels,
            outputs: narrow,
            kernel: KERNEL,
        };
        let last = Size {
            inputs: wide,
            outputs: 2 * config.decoder_input_channels,
            kernel: LATENT_KERNEL,
        };
        Ok(Self {
            first: Convolution::same(&source.pp(layout.first_convolution()), first, 1, true)?,
            blocks: config
                .downsampling_ratios
                .iter()
                .enumerate()
                .map(load_block)
                .collect::<Result<_, _>>()?,
            snake: Snake::load(&source.pp(&layout.last_snake(count)), layout, wide)?,
            last: Convolution::same(&source.pp(&layout.last_convolution(count)), last, 1, true)?,
        })
    }

    pub(crate) fn forward(&self, audio: &Tensor) -> Result<Tensor, VaeError> {
        let mut hidden = self.first.forward(audio)?;
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
        let (units, snake, down) = layout.down();
        Ok(Self {
            units: ResidualUnit::load_all(source, layout, units, inputs)?,
            snake: Snake::load(&source.pp(snake), layout, inputs)?,
            down: Convolution::down(&source.pp(down), inputs, outputs, stride)?,
        })
    }

    fn forward(&self, mut hidden: Tensor) -> Result<Tensor, VaeError> {
        for unit in &self.units {
            hidden = unit.forward(&hidden)?;
        }
        self.down.forward(&self.snake.forward(&hidden)?)
    }
}
