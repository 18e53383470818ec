//! Convolutions whose weight norm (Salimans, Kingma 2016) is folded into a plain weight when they are loaded.

use candle_core::Tensor;
use nn::ops::{Conv1dOptions, ConvTranspose1dOptions, FrozenConv1d, Fused, conv_transpose1d};

use super::snake::Snake;
use crate::VaeError;
use crate::identity::Source;

/// A convolution along time, `[batch, inputs, frames]` to `[batch, outputs, frames']`.
#[derive(Debug, Clone)]
pub(crate) struct Convolution(FrozenConv1d);

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
        Ok(Self(FrozenConv1d::new(&weight, bias.as_ref(), options)?))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, VaeError> {
        Ok(self.0.forward(x, Fused::default())?)
    }

    /// The convolution of `snake(x)`, plus a residual.
    pub(crate) fn forward_active(
        &self,
        snake: &Snake,
        x: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<Tensor, VaeError> {
        let fused = Fused {
            snake: Some(snake.parameters()),
            residual,
        };
        Ok(self.0.forward(x, fused)?)
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
    let gain = gain.flatten_all()?.to_vec1::<f32>()?;
    let direction = source.get("weight_v", &shape)?;
    let device = direction.device().clone();
    let mut values = direction.flatten_all()?.to_vec1::<f32>()?;
    // The largest is 128 MB, so it is folded in place.
    drop(direction);
    let rows = values.chunks_mut((shape[1] * shape[2]).max(1));
    for (row, gain) in rows.zip(gain) {
        let square: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        let factor = gain / square.sqrt() as f32;
        row.iter_mut().for_each(|value| *value *= factor);
    }
    Ok(Tensor::from_vec(values, &shape, &device)?)
}
