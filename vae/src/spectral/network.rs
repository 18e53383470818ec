//! The network on either side of the latents.

use candle_core::Tensor;
use nn::ops::{Conv1dOptions, conv1d, gelu_erf, layer_norm};
use nn::{Linear, Mode};

use crate::VaeError;
use crate::identity::Source;

/// Latent frames that a block's depthwise convolution spans.
const KERNEL: usize = 7;
/// Of both layer norms.
const NORM_EPSILON: f64 = 1e-6;

/// `skip(x) + head(norm(blocks(stem(x))))`, `[batch, frames, inputs]` to `[batch, frames, outputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Half {
    skip: Linear,
    stem: Linear,
    blocks: Vec<ConvNextBlock>,
    norm: LayerNorm,
    head: Linear,
}

/// Sizes of a [`Half`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfSize {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) width: usize,
    pub(crate) blocks: usize,
    pub(crate) hidden_ratio: usize,
}

impl Half {
    pub(crate) fn load(source: &Source, size: HalfSize) -> Result<Self, VaeError> {
        let HalfSize {
            inputs,
            outputs,
            width,
            blocks,
            hidden_ratio,
        } = size;
        let block = |index: usize| {
            ConvNextBlock::load(&source.pp(&format!("blocks.{index}")), width, hidden_ratio)
        };
        Ok(Self {
            skip: linear(&source.pp("skip"), inputs, outputs)?,
            stem: linear(&source.pp("stem"), inputs, width)?,
            blocks: (0..blocks).map(block).collect::<Result<_, _>>()?,
            norm: LayerNorm::load(&source.pp("norm"), width)?,
            head: linear(&source.pp("head"), width, outputs)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        let mut hidden = self.stem.forward(x, &Mode::Inference)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden)?;
        }
        let residual = self
            .head
            .forward(&self.norm.forward(&hidden)?, &Mode::Inference)?;
        Ok((self.skip.forward(x, &Mode::Inference)? + residual)?)
    }

    /// Frames beyond a tile's ends that values inside depend on.
    pub(crate) fn context_frames(&self) -> usize {
        self.blocks.len() * (KERNEL / 2)
    }
}

/// Depthwise convolution along time, then a two-layer network per frame, around a skip (Liu et al. 2022).
#[derive(Debug, Clone)]
struct ConvNextBlock {
    weight: Tensor,
    bias: Tensor,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
}

impl ConvNextBlock {
    fn load(source: &Source, width: usize, hidden_ratio: usize) -> Result<Self, VaeError> {
        let depthwise = source.pp("dwconv");
        Ok(Self {
            weight: depthwise.get("weight", &[width, 1, KERNEL])?,
            bias: depthwise.get("bias", &[width])?,
            norm: LayerNorm::load(&source.pp("norm"), width)?,
            expand: linear(&source.pp("pwconv1"), width, hidden_ratio * width)?,
            contract: linear(&source.pp("pwconv2"), hidden_ratio * width, width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        let options = Conv1dOptions {
            padding: KERNEL / 2,
            groups: x.dim(2)?,
            ..Conv1dOptions::default()
        };
        let channels_first = x.transpose(1, 2)?.contiguous()?;
        let mixed = conv1d(&channels_first, &self.weight, Some(&self.bias), &options)?
            .transpose(1, 2)?
            .contiguous()?;
        let normal = self.norm.forward(&mixed)?;
        let hidden = gelu_erf(&self.expand.forward(&normal, &Mode::Inference)?)?;
        Ok((x + self.contract.forward(&hidden, &Mode::Inference)?)?)
    }
}

/// A layer `[inputs]` to `[outputs]`, trainable where its tensors are variables.
fn linear(source: &Source, inputs: usize, outputs: usize) -> Result<Linear, VaeError> {
    let weight = source.get("weight", &[outputs, inputs])?;
    let bias = source.get("bias", &[outputs])?;
    Ok(Linear::new("autoencoder", weight, Some(bias))?)
}

#[derive(Debug, Clone)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn load(source: &Source, width: usize) -> Result<Self, VaeError> {
        Ok(Self {
            weight: source.get("weight", &[width])?,
            bias: source.get("bias", &[width])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        Ok(layer_norm(
            x,
            Some((&self.weight, &self.bias)),
            NORM_EPSILON,
        )?)
    }
}
