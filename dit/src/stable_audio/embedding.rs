//! What enters the blocks beside latents: time and global conditions as one token, and the prompt.

use candle_core::{Result, Tensor};
use nn::ops::silu;
use nn::{Linear, Mode, Scope, VisitLinears, WeightsError};

/// Two linear layers with a silu between them.
#[derive(Clone)]
pub(super) struct Projection {
    first: Linear,
    second: Linear,
}

impl Projection {
    pub(super) fn load(
        scope: &Scope,
        in_features: usize,
        out_features: usize,
        bias: bool,
    ) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            first: Linear::load(&scope.pp("0"), in_features, out_features, bias)?,
            second: Linear::load(&scope.pp("2"), out_features, out_features, bias)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let hidden = silu(&self.first.forward(x, mode)?)?;
        self.second.forward(&hidden, mode)
    }
}

impl VisitLinears for Projection {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        visit(&mut self.first);
        visit(&mut self.second);
    }
}

/// Cosines and sines of `2 pi time` times fixed random frequencies (Tancik et al. 2020, "Fourier Features").
pub(super) struct FourierFeatures {
    /// `[features / 2]`
    frequencies: Tensor,
}

impl FourierFeatures {
    pub(super) fn load(scope: &Scope, features: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            frequencies: scope.get("weight", &[features / 2])?,
        })
    }

    /// `[batch]` to `[batch, features]`: cosines first.
    pub(super) fn forward(&self, time: &Tensor) -> Result<Tensor> {
        // In the reference's order of products: the angles are large, where rounding shows.
        let turned = time.affine(std::f64::consts::TAU, 0.0)?.unsqueeze(1)?;
        let angles = turned.broadcast_mul(&self.frequencies.unsqueeze(0)?)?;
        Tensor::cat(&[angles.cos()?, angles.sin()?], 1)
    }
}

/// A convolution of one tap without bias, added to its input: `x + W x` for every frame.
pub(super) struct ResidualPointwise {
    /// `[channels, channels]`
    layer: Linear,
}

impl ResidualPointwise {
    pub(super) fn load(scope: &Scope, channels: usize) -> std::result::Result<Self, crate::Error> {
        let weight = scope.get("weight", &[channels, channels, 1])?;
        let layer = Linear::new(scope.path(), weight.squeeze(2)?, None)?;
        Ok(Self { layer })
    }

    /// `[batch, frames, channels]` to the same.
    pub(super) fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        self.layer.forward(x, mode)? + x
    }
}
