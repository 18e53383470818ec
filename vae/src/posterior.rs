//! What an encoder says about a sound: a Gaussian per latent value.

use candle_core::{D, Tensor};
use nn::Stream;

use crate::VaeError;

/// Independent Gaussians, mean and standard deviation `[batch, latent_channels, latent_frames]`.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// The most likely latents.
    pub mean: Tensor,
    /// Their standard deviations; zero for an encoder without noise.
    pub std: Tensor,
}

impl Posterior {
    /// A draw: `mean + std * noise`, the noise taken from `stream`.
    pub fn sample(&self, stream: &Stream) -> Result<Tensor, VaeError> {
        self.sample_with(&stream.normal(self.mean.dims(), self.mean.device())?)
    }
    /// A draw with given standard normal noise of the latents' shape.
    pub fn sample_with(&self, noise: &Tensor) -> Result<Tensor, VaeError> {
        Ok((&self.mean + (&self.std * noise)?)?)
    }

    /// Divergence from the standard normal as the reference implementation counts it: without the usual half, summed
    /// over channels, mean over batch and frames (diffusers, `OobleckDiagonalGaussianDistribution.kl`).
    pub fn kl(&self) -> Result<Tensor, VaeError> {
        let variance = self.std.sqr()?;
        let terms = ((self.mean.sqr()? + &variance)? - variance.log()?)?;
        Ok((terms - 1.0)?.sum(D::Minus2)?.mean_all()?)
    }
}
