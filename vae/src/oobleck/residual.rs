//! The residual unit of every block.

use candle_core::Tensor;

use super::convolution::{Convolution, Size};
use super::layout::Layout;
use super::receptive_field::{DILATIONS, KERNEL};
use super::snake::Snake;
use crate::VaeError;
use crate::identity::Source;

/// `x + pointwise(snake(dilated(snake(x))))`, `[batch, channels, frames]`.
#[derive(Debug, Clone)]
pub(crate) struct ResidualUnit {
    snake_in: Snake,
    dilated: Convolution,
    snake_out: Snake,
    pointwise: Convolution,
}

impl ResidualUnit {
    /// The three units of a block, at `names` with growing dilation.
    pub(crate) fn load_all(
        source: &Source,
        layout: Layout,
        names: [&str; 3],
        channels: usize,
    ) -> Result<Vec<Self>, VaeError> {
        let units = names.iter().zip(DILATIONS);
        units
            .map(|(name, dilation)| Self::load(&source.pp(name), layout, channels, dilation))
            .collect()
    }

    fn load(
        source: &Source,
        layout: Layout,
        channels: usize,
        dilation: usize,
    ) -> Result<Self, VaeError> {
        let [snake_in, dilated, snake_out, pointwise] =
            layout.residual().map(|name| source.pp(name));
        let size = |kernel| Size {
            inputs: channels,
            outputs: channels,
            kernel,
        };
        Ok(Self {
            snake_in: Snake::load(&snake_in, layout, channels)?,
            dilated: Convolution::same(&dilated, size(KERNEL), dilation, true)?,
            snake_out: Snake::load(&snake_out, layout, channels)?,
            pointwise: Convolution::same(&pointwise, size(1), 1, true)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        let hidden = self.dilated.forward_active(&self.snake_in, x, None)?;
        self.pointwise
            .forward_active(&self.snake_out, &hidden, Some(x))
    }
}
