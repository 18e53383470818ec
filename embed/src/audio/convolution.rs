//! Convolutions of three bands by three frames, as one-dimensional ones.
//!
//! A row of the result depends on three rows of bands of the input. With those as so many more channels it is a
//! convolution over time, which `nn` has a fast kernel for; the rows are its batch.

use candle_core::Tensor;
use nn::Scope;
use nn::ops::{Conv1dOptions, FrozenConv1d, Fused};

use crate::EmbedError;
use crate::layers::FoldedNorm;

/// Bands and frames that a convolution spans.
const TAPS: usize = 3;
/// Values of gathered input that are in memory at a time.
const GATHERED_VALUES: usize = 8 << 20;

/// One item `[bands, channels, frames]`: a row for each band.
#[derive(Debug)]
pub(super) struct Rows(Tensor);

impl Rows {
    pub(super) fn new(rows: Tensor) -> Result<Self, EmbedError> {
        rows.dims3()?;
        Ok(Self(rows))
    }

    pub(super) fn frames(&self) -> Result<usize, EmbedError> {
        Ok(self.0.dim(2)?)
    }

    pub(super) fn into_tensor(self) -> Tensor {
        self.0
    }
}

/// A convolution with padding 1, for inference.
#[derive(Debug)]
pub(super) struct Convolution {
    over_time: FrozenConv1d,
    band_stride: usize,
}

impl Convolution {
    /// Loads a convolution together with the batch norm after it: `[channels, inputs, 3, 3]` and `[channels]`.
    pub(super) fn folded(
        convolution: &Scope,
        norm: &Scope,
        inputs: usize,
        channels: usize,
    ) -> Result<(Tensor, Tensor), EmbedError> {
        let weight = convolution.get("weight", &[channels, inputs, TAPS, TAPS])?;
        let bias = convolution.get("bias", &[channels])?;
        FoldedNorm::load(norm, channels)?.fold(&weight, Some(&bias))
    }

    /// Of a weight `[channels, inputs, 3, 3]`, a bias `[channels]`, and strides over bands and time.
    pub(super) fn new(
        weight: &Tensor,
        bias: &Tensor,
        [band_stride, stride]: [usize; 2],
    ) -> Result<Self, EmbedError> {
        let (channels, inputs, _, _) = weight.dims4()?;
        let weight = weight
            .transpose(1, 2)?
            .reshape((channels, TAPS * inputs, TAPS))?;
        let options = Conv1dOptions {
            stride,
            padding: 1,
            ..Conv1dOptions::default()
        };
        Ok(Self {
            over_time: FrozenConv1d::new(&weight, Some(bias), options)?,
            band_stride,
        })
    }

    /// The convolution plus `residual`, which has the result's shape.
    pub(super) fn forward(
        &self,
        Rows(x): &Rows,
        residual: Option<&Tensor>,
    ) -> Result<Rows, EmbedError> {
        let (bands, channels, frames) = x.dims3()?;
        let rows = bands.div_ceil(self.band_stride);
        let at_once = (GATHERED_VALUES / (TAPS * channels * frames).max(1)).clamp(1, rows);
        let padded = x.pad_with_zeros(0, 1, 1)?;
        let parts = (0..rows).step_by(at_once).map(|first| {
            let count = at_once.min(rows - first);
            let residual = residual
                .map(|rows| rows.narrow(0, first, count))
                .transpose()?;
            let fused = Fused {
                residual: residual.as_ref(),
                ..Fused::default()
            };
            Ok(self
                .over_time
                .forward(&self.gathered(&padded, first, count)?, fused)?)
        });
        let parts = parts.collect::<Result<Vec<Tensor>, EmbedError>>()?;
        Rows::new(Tensor::cat(&parts, 0)?)
    }

    /// For each of `count` rows of the result the three rows it depends on, `[count, 3 * channels, frames]`.
    fn gathered(&self, padded: &Tensor, first: usize, count: usize) -> Result<Tensor, EmbedError> {
        let rows = (first..first + count).map(|row| {
            let (_, channels, frames) = padded.dims3()?;
            padded
                .narrow(0, row * self.band_stride, TAPS)?
                .reshape((1, TAPS * channels, frames))
        });
        Ok(Tensor::cat(
            &rows.collect::<candle_core::Result<Vec<_>>>()?,
            0,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, pseudo_random};

    #[test]
    fn equals_the_stock_convolution() {
        // `[bands, channels, outputs, frames, band stride, stride]`
        for [bands, channels, outputs, frames, band_stride, stride] in [
            [8, 1, 3, 9, 2, 2],
            [8, 4, 5, 9, 2, 1],
            [6, 5, 4, 7, 1, 1],
            [7, 2, 2, 6, 2, 2],
            [4, 3, 2, 1, 1, 1],
        ] {
            let x = pseudo_random((bands, channels, frames), 1);
            let weight = pseudo_random((outputs, channels, 3, 3), 2);
            let bias = pseudo_random(outputs, 3);
            let convolution = Convolution::new(&weight, &bias, [band_stride, stride]).unwrap();
            let found = convolution
                .forward(&Rows::new(x.clone()).unwrap(), None)
                .unwrap()
                .into_tensor();

            // Stock convolutions have one stride: stride 1, then every so many-th.
            let image = x
                .transpose(0, 1)
                .unwrap()
                .unsqueeze(0)
                .unwrap()
                .contiguous()
                .unwrap();
            let all = image
                .conv2d(&weight, 1, 1, 1, 1)
                .unwrap()
                .squeeze(0)
                .unwrap();
            let every = |count: usize, stride: usize| {
                let indices: Vec<u32> = (0..count as u32).step_by(stride).collect();
                Tensor::new(indices, x.device()).unwrap()
            };
            let expected = all
                .index_select(&every(bands, band_stride), 1)
                .unwrap()
                .index_select(&every(frames, stride), 2)
                .unwrap()
                .broadcast_add(&bias.reshape((outputs, 1, 1)).unwrap())
                .unwrap()
                .transpose(0, 1)
                .unwrap();
            assert_close("convolution", &found, &expected, 1e-5);
            let doubled = convolution
                .forward(&Rows::new(x).unwrap(), Some(&expected))
                .unwrap()
                .into_tensor();
            assert_close("with residual", &doubled, &(expected * 2.0).unwrap(), 1e-5);
        }
    }
}
