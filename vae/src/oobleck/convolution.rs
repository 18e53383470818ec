//! Convolutions whose weight norm (Salimans, Kingma 2016) is folded into a plain weight when they are loaded.

use candle_core::Tensor;
use nn::ops::{Conv1dOptions, ConvTranspose1dOptions, conv_transpose1d, conv1d};

use crate::VaeError;
use crate::identity::Source;

/// A convolution along time, `[batch, inputs, frames]` to `[batch, outputs, frames']`.
#[derive(Debug, Clone)]
pub(crate) struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    options: Conv1dOptions,
}

/// Channels and kernel of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
}

impl Convolution {
    /// A convolution that keeps the length.
    pub(crate) fn same(
        source: &Source,
        size: Size,
        dilation: usize,
        bias: bool,
    ) -> Result<Self, VaeError> {
        let padding = (size.kernel - 1) * dilation / 2;
        Self::load(
            source,
            size,
            bias,
            Conv1dOptions {
                padding,
                dilation,
                ..Conv1dOptions::default()
            },
        )
    }

    /// The encoder's step down by `stride`.
    pub(crate) fn down(
        source: &Source,
        inputs: usize,
        outputs: usize,
        stride: usize,
    ) -> Result<Self, VaeError> {
        let size = Size {
            inputs,
            outputs,
            kernel: 2 * stride,
        };
        let options = Conv1dOptions {
            stride,
            padding: stride.div_ceil(2),
            ..Conv1dOptions::default()
        };
        Self::load(source, size, true, options)
    }

    fn load(
        source: &Source,
        size: Size,
        bias: bool,
        options: Conv1dOptions,
    ) -> Result<Self, VaeError> {
        let weight = weight(source, [size.outputs, size.inputs, size.kernel])?;
        let bias = bias
            .then(|| source.get("bias", &[size.outputs]))
            .transpose()?;
        Ok(Self {
            weight,
            bias,
            options,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        Ok(conv1d(x, &self.weight, self.bias.as_ref(), &self.options)?)
    }
}

/// The decoder's step up by `stride`, `[batch, inputs, frames]` to `[batch, outputs, stride * frames]`.
#[derive(Debug, Clone)]
pub(crate) struct TransposedConvolution {
    weight: Tensor,
    bias: Tensor,
    options: ConvTranspose1dOptions,
}

impl TransposedConvolution {
    pub(crate) fn up(
        source: &Source,
        inputs: usize,
        outputs: usize,
        stride: usize,
    ) -> Result<Self, VaeError> {
        let options = ConvTranspose1dOptions {
            stride,
            padding: stride.div_ceil(2),
            ..Default::default()
        };
        let weight = weight(source, [inputs, outputs, 2 * stride])?;
        Ok(Self {
            weight,
            bias: source.get("bias", &[outputs])?,
            options,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        Ok(conv_transpose1d(
            x,
            &self.weight,
            Some(&self.bias),
            &self.options,
        )?)
    }
}

/// `weight` as it is, or `weight_g * weight_v / |weight_v|` with one norm for each index of the first dimension.
fn weight(source: &Source, shape: [usize; 3]) -> Result<Tensor, VaeError> {
    if !source.contains("weight_g") {
        return source.get("weight", &shape);
    }
    let gain = source.get("weight_g", &[shape[0], 1, 1])?;
    let direction = source.get("weight_v", &shape)?;
    let norm = direction.sqr()?.sum_keepdim((1, 2))?.sqrt()?;
    Ok(direction.broadcast_mul(&(gain / norm)?)?)
}
