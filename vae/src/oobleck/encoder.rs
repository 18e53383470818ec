//! Sound to the parameters of the latents' distribution.

use candle_core::Tensor;

use super::OobleckConfig;
use super::convolution::{Convolution, Size};
use super::layout::Layout;
use super::receptive_field::{KERNEL, LATENT_KERNEL, encoder_start_context};
use super::residual::ResidualUnit;
use super::snake::Snake;
use super::{TILE_VALUES, WHOLE_VALUES};
use crate::VaeError;
use crate::identity::Source;
use crate::tiling::run_exact_down;

/// `[batch, audio_channels, samples]` to `[batch, 2 * latent_channels, frames]`.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    /// Channels before the first block, after the first, ...
    widths: Vec<usize>,
    strides: Vec<usize>,
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
            strides: config.downsampling_ratios.clone(),
            first: Convolution::same(&source.pp(layout.first_convolution()), first, 1, true)?,
            blocks: config
                .downsampling_ratios
                .iter()
                .enumerate()
                .map(load_block)
                .collect::<Result<_, _>>()?,
            snake: Snake::load(&source.pp(&layout.last_snake(count)), layout, wide)?,
            last: Convolution::same(&source.pp(&layout.last_convolution(count)), last, 1, true)?,
            widths,
        })
    }

    /// Long sound runs through the first blocks, where it is largest, in exact tiles.
    pub(crate) fn forward(&self, audio: &Tensor) -> Result<Tensor, VaeError> {
        let (batch, _, samples) = audio.dims3()?;
        let mut frames = samples;
        let mut count = 0;
        while count < self.blocks.len() && batch * self.widths[count] * frames > WHOLE_VALUES {
            frames /= self.strides[count];
            count += 1;
        }
        let (first, rest) = self.blocks.split_at(count);
        let strides = &self.strides[..count];
        let hop: usize = strides.iter().product();
        let core = match count {
            0 => usize::MAX,
            _ => (TILE_VALUES / (batch * self.widths[0] * hop)).max(1),
        };
        let context = encoder_start_context(strides);
        let hidden = run_exact_down(audio, core, context, hop, |audio| {
            let hidden = self.first.forward(audio)?;
            first
                .iter()
                .try_fold(hidden, |hidden, block| block.forward(hidden))
        })?;
        let hidden = rest
            .iter()
            .try_fold(hidden, |hidden, block| block.forward(hidden))?;
        self.last.forward_active(&self.snake, &hidden, None)
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
        self.down.forward_active(&self.snake, &hidden, None)
    }
}
