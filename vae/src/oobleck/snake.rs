//! The snake activation with its two parameters stored as logarithms.

use candle_core::Tensor;

use super::layout::Layout;
use crate::VaeError;
use crate::identity::Source;

/// `x + sin²(e^alpha x) / e^beta` per channel, `[batch, channels, frames]`.
#[derive(Debug, Clone)]
pub(crate) struct Snake {
    alpha: Tensor,
    beta: Tensor,
}

impl Snake {
    pub(crate) fn load(source: &Source, layout: Layout, channels: usize) -> Result<Self, VaeError> {
        let shape = layout.snake_shape(channels);
        let linear = |name: &str| -> Result<Tensor, VaeError> {
            Ok(source.get(name, &shape)?.flatten_all()?.exp()?)
        };
        Ok(Self {
            alpha: linear("alpha")?,
            beta: linear("beta")?,
        })
    }

    /// Alpha and beta in linear scale, each `[channels]`.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.alpha, &self.beta)
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        Ok(nn::ops::snake(x, &self.alpha, &self.beta)?)
    }
}
