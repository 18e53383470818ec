//! Convolution with a weight that is never trained: transformed once when it is loaded, with the activation before it
//! and the residual after it computed tile by tile in the same pass.

use super::conv::{Conv1dOptions, Filter, conv1d};
use super::snake::{Snake, snake};
use crate::storage::with_values;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// A convolution with its weight and bias, for inference.
#[derive(Clone)]
pub struct FrozenConv1d {
    kernel: Kernel,
    bias: Option<Tensor>,
    options: Conv1dOptions,
}

#[derive(Clone)]
enum Kernel {
    /// Computed tile by tile on the CPU.
    Tiled(Arc<Filter>),
    /// By [`conv1d`]: several groups, or another device.
    General(Tensor),
}

/// What is computed together with a convolution.
#[derive(Clone, Copy, Default)]
pub struct Fused<'a> {
    /// The activation of its input: alpha and beta as for [`snake`], each `[channels_in]`.
    pub snake: Option<(&'a Tensor, &'a Tensor)>,
    /// Added to its result, of the same shape.
    pub residual: Option<&'a Tensor>,
}

impl FrozenConv1d {
    /// Prepares a weight `[channels_out, channels_in / groups, taps]` and a bias `[channels_out]`.
    ///
    /// # Errors
    /// When shapes do not fit or a size in the options is zero.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, options: Conv1dOptions) -> Result<Self> {
        let (channels_out, group_channels, taps) = weight.dims3()?;
        let Conv1dOptions {
            stride,
            dilation,
            groups,
            ..
        } = options;
        if stride * dilation * groups * taps == 0 || channels_out % groups != 0 {
            bail!(
                "frozen conv1d: {options:?} with weight {:?}",
                weight.shape()
            );
        }
        if let Some(bias) = bias
            && bias.dims() != [channels_out]
        {
            bail!(
                "frozen conv1d: bias {:?} for {channels_out} channels",
                bias.shape()
            );
        }
        let kernel = if groups == 1 && weight.device().is_cpu() {
            let weight = weight.contiguous()?;
            Kernel::Tiled(Arc::new(with_values(
                "frozen conv1d",
                [&weight],
                |[values]| {
                    Ok(Filter::new(
                        values,
                        [channels_out, group_channels, taps],
                        &options,
                    ))
                },
            )?))
        } else {
            Kernel::General(weight.contiguous()?)
        };
        Ok(Self {
            kernel,
            bias: bias.map(Tensor::contiguous).transpose()?,
            options,
        })
    }

    /// The convolution of `snake(x)`, plus bias and residual.
    ///
    /// # Shapes
    /// As [`conv1d`].
    ///
    /// # Errors
    /// When shapes do not fit, `x` is shorter than the kernel, or an argument is tracked for a gradient: there is none.
    pub fn forward(&self, x: &Tensor, fused: Fused<'_>) -> Result<Tensor> {
        let filter = match &self.kernel {
            Kernel::General(weight) => return self.composed(x, weight, fused),
            Kernel::Tiled(filter) => filter,
        };
        if x.track_op() || fused.residual.is_some_and(Tensor::track_op) {
            bail!("frozen conv1d has no gradient; conv1d has");
        }
        let (batch, channels, frames) = x.dims3()?;
        if channels != filter.inputs() {
            bail!(
                "frozen conv1d: {channels} channels, the weight has {}",
                filter.inputs()
            );
        }
        let Some(output_frames) = filter.output_frames(frames) else {
            bail!("frozen conv1d: {frames} frames are shorter than the kernel's reach");
        };
        let shape = (batch, filter.outputs(), output_frames);
        let mut y = match fused.residual {
            Some(residual) if residual.dims3()? != shape => {
                bail!(
                    "frozen conv1d: residual {:?} for {shape:?}",
                    residual.shape()
                )
            }
            Some(residual) => residual.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0f32; shape.0 * shape.1 * shape.2],
        };
        if let Some(bias) = &self.bias {
            with_values("frozen conv1d", [bias], |[bias]| {
                filter.add_bias(&mut y, bias, output_frames);
                Ok(())
            })?;
        }
        let x = x.contiguous()?;
        match fused.snake {
            None => with_values("frozen conv1d", [&x], |[x]| {
                filter.add_to(&mut y, x, frames, &|_, _| ());
                Ok(())
            })?,
            Some((alpha, beta)) => {
                if alpha.dims() != [channels] || beta.dims() != [channels] {
                    bail!(
                        "frozen conv1d: snake of {:?} for {channels} channels",
                        alpha.shape()
                    );
                }
                let (alpha, beta) = (alpha.contiguous()?, beta.contiguous()?);
                with_values("frozen conv1d", [&x, &alpha, &beta], |[x, alpha, beta]| {
                    filter.add_to(&mut y, x, frames, &|channel, values| {
                        Snake::new(alpha[channel], beta[channel]).apply(values);
                    });
                    Ok(())
                })?;
            }
        }
        Tensor::from_vec(y, shape, x.device())
    }

    fn composed(&self, x: &Tensor, weight: &Tensor, fused: Fused<'_>) -> Result<Tensor> {
        let x = match fused.snake {
            Some((alpha, beta)) => snake(x, alpha, beta)?,
            None => x.clone(),
        };
        let y = conv1d(&x, weight, self.bias.as_ref(), &self.options)?;
        match fused.residual {
            Some(residual) => y + residual,
            None => Ok(y),
        }
    }
}

impl std::fmt::Debug for FrozenConv1d {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FrozenConv1d")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, pseudo_random};

    /// `[batch, channels_in, channels_out, frames, taps, stride, padding, dilation, groups]`
    const CASES: [[usize; 9]; 14] = [
        [1, 3, 5, 11, 3, 1, 1, 1, 1],
        [2, 4, 6, 13, 1, 1, 0, 1, 2],
        [2, 5, 7, 300, 1, 1, 0, 1, 1],
        [2, 6, 4, 37, 8, 4, 2, 1, 1],
        [1, 2, 9, 1000, 7, 1, 3, 1, 1],
        [1, 130, 2, 50, 7, 1, 3, 1, 1],
        [1, 32, 33, 1, 7, 1, 3, 1, 1],
        [2, 32, 33, 47, 7, 1, 3, 1, 1],
        [2, 33, 32, 1801, 7, 1, 9, 3, 1],
        [1, 40, 35, 2011, 7, 1, 27, 9, 1],
        [2, 32, 32, 61, 7, 1, 0, 2, 1],
        [1, 32, 32, 200, 7, 1, 5, 17, 1],
        [2, 32, 32, 100, 7, 2, 3, 1, 1],
        [1, 32, 32, 5000, 7, 1, 3, 1, 1],
    ];

    struct Case {
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        alpha: Tensor,
        beta: Tensor,
        options: Conv1dOptions,
    }

    fn case(sizes: [usize; 9]) -> Case {
        let [
            batch,
            channels,
            channels_out,
            frames,
            taps,
            stride,
            padding,
            dilation,
            groups,
        ] = sizes;
        let positive = |seed| (pseudo_random(channels, seed) + 1.5).unwrap();
        Case {
            x: pseudo_random((batch, channels, frames), 1),
            weight: pseudo_random((channels_out, channels / groups, taps), 2),
            bias: pseudo_random(channels_out, 3),
            alpha: positive(4),
            beta: positive(5),
            options: Conv1dOptions {
                stride,
                padding,
                dilation,
                groups,
            },
        }
    }

    #[test]
    fn equals_the_trainable_convolution() {
        for sizes in CASES {
            let Case {
                x,
                weight,
                bias,
                options,
                ..
            } = case(sizes);
            let frozen = FrozenConv1d::new(&weight, Some(&bias), options).unwrap();
            let expected = conv1d(&x, &weight, Some(&bias), &options).unwrap();
            let found = frozen.forward(&x, Fused::default()).unwrap();
            assert_close(&format!("{sizes:?}"), &found, &expected, 2e-5);
        }
    }

    #[test]
    fn equals_its_parts_one_after_another() {
        for sizes in CASES {
            let Case {
                x,
                weight,
                bias,
                alpha,
                beta,
                options,
            } = case(sizes);
            let frozen = FrozenConv1d::new(&weight, Some(&bias), options).unwrap();
            let active = snake(&x, &alpha, &beta).unwrap();
            let plain = conv1d(&active, &weight, Some(&bias), &options).unwrap();
            let residual = pseudo_random(plain.dims(), 6);
            let fused = Fused {
                snake: Some((&alpha, &beta)),
                residual: Some(&residual),
            };
            let found = frozen.forward(&x, fused).unwrap();
            assert_close(
                &format!("{sizes:?}"),
                &found,
                &(plain + residual).unwrap(),
                2e-5,
            );
        }
    }

    #[test]
    fn a_strided_input_gives_the_same() {
        let Case {
            x, weight, options, ..
        } = case(CASES[7]);
        let frozen = FrozenConv1d::new(&weight, None, options).unwrap();
        let strided = x
            .transpose(1, 2)
            .unwrap()
            .contiguous()
            .unwrap()
            .transpose(1, 2)
            .unwrap();
        let found = frozen.forward(&strided, Fused::default()).unwrap();
        let expected = frozen.forward(&x, Fused::default()).unwrap();
        assert_close("strided", &found, &expected, 0.0);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let Case {
            x,
            weight,
            bias,
            alpha,
            options,
            ..
        } = case(CASES[0]);
        let zero = Conv1dOptions {
            stride: 0,
            ..options
        };
        assert!(FrozenConv1d::new(&weight, None, zero).is_err());
        assert!(FrozenConv1d::new(&weight, Some(&alpha), options).is_err());
        let frozen = FrozenConv1d::new(&weight, Some(&bias), options).unwrap();
        let forward = |x: &Tensor, fused| frozen.forward(x, fused);
        assert!(forward(&x.narrow(1, 0, 2).unwrap(), Fused::default()).is_err());
        assert!(forward(&x.narrow(2, 0, 0).unwrap(), Fused::default()).is_err());
        let wrong_residual = Fused {
            residual: Some(&x),
            ..Fused::default()
        };
        assert!(forward(&x, wrong_residual).is_err());
        let wrong_snake = Fused {
            snake: Some((&bias, &bias)),
            ..Fused::default()
        };
        assert!(forward(&x, wrong_snake).is_err());
        let variable = candle_core::Var::from_tensor(&x).unwrap();
        assert!(forward(variable.as_tensor(), Fused::default()).is_err());
    }
}
