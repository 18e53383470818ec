//! One-dimensional convolution and its transpose, with stride, dilation, groups, padding, at any batch size.
//!
//! The two are adjoint: the input gradient of one is the forward pass of the other with the same weight, so three
//! kernels (in `geometry`) serve both directions.

mod filter;
mod geometry;
mod minimal_filter;

pub(crate) use filter::Filter;

use super::composed;
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use geometry::Geometry;

/// Pieces that each of `parts` independent parts is cut into: two for a thread, so that none waits long for the last.
fn pieces_of_each(parts: usize) -> usize {
    const PIECES_PER_THREAD: usize = 2;
    (PIECES_PER_THREAD * rayon::current_num_threads()).div_ceil(parts.max(1))
}

/// How [`conv1d`] walks over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1dOptions {
    /// Input frames from one output frame to the next.
    pub stride: usize,
    /// Zero frames added at both ends of the input.
    pub padding: usize,
    /// Input frames from one tap of the kernel to the next.
    pub dilation: usize,
    /// Parts of the channels that do not see each other.
    pub groups: usize,
}

impl Default for Conv1dOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
        }
    }
}

/// How [`conv_transpose1d`] spreads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose1dOptions {
    /// Output frames from one input frame to the next.
    pub stride: usize,
    /// Frames cut off at both ends of the output.
    pub padding: usize,
    /// Frames added at the end of the output; smaller than the stride.
    pub output_padding: usize,
    /// Output frames from one tap of the kernel to the next.
    pub dilation: usize,
    /// Parts of the channels that do not see each other.
    pub groups: usize,
}

impl Default for ConvTranspose1dOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            output_padding: 0,
            dilation: 1,
            groups: 1,
        }
    }
}

/// Cross-correlation, what `torch.nn.functional.conv1d` computes.
///
/// # Shapes
/// `x`: `[batch, channels_in, frames]`, `weight`: `[channels_out, channels_in / groups, taps]`, `bias`:
/// `[channels_out]`; result: `[batch, channels_out, (frames + 2 padding - dilation (taps - 1) - 1) / stride + 1]`.
///
/// # Errors
/// When shapes do not fit, a size in the options is zero, or the input is shorter than the kernel.
pub fn conv1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &Conv1dOptions,
) -> Result<Tensor> {
    let (batch, channels, frames) = x.dims3()?;
    let (channels_out, group_channels, taps) = weight.dims3()?;
    let Conv1dOptions {
        stride,
        padding,
        dilation,
        groups,
    } = *options;
    if stride * dilation * groups * taps == 0
        || channels != group_channels * groups
        || channels_out % groups != 0
    {
        bail!(
            "conv1d: {options:?} with input {:?} and weight {:?}",
            x.shape(),
            weight.shape()
        );
    }
    let reach = dilation * (taps - 1) + 1;
    if frames + 2 * padding < reach {
        bail!(
            "conv1d: {frames} frames with padding {padding} are shorter than the kernel's reach of {reach}"
        );
    }
    if !x.device().is_cpu() {
        return composed::conv1d(x, weight, bias, options);
    }
    let geometry = Geometry {
        batch,
        groups,
        inputs: group_channels,
        outputs: channels_out / groups,
        taps,
        stride,
        padding,
        dilation,
        input_frames: frames,
        output_frames: (frames + 2 * padding - reach) / stride + 1,
    };
    let op = Convolution {
        geometry,
        transposed: false,
    };
    op.apply(x, weight, bias)
}

/// Transposed convolution, what `torch.nn.functional.conv_transpose1d` computes.
///
/// # Shapes
/// `x`: `[batch, channels_in, frames]`, `weight`: `[channels_in, channels_out / groups, taps]`, `bias`:
/// `[channels_out]`; result: `[batch, channels_out, (frames - 1) stride - 2 padding + dilation (taps - 1) +
/// output_padding + 1]`.
///
/// # Errors
/// When shapes do not fit, a size in the options is zero, or nothing would be left of the output.
pub fn conv_transpose1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &ConvTranspose1dOptions,
) -> Result<Tensor> {
    let (batch, channels, frames) = x.dims3()?;
    let (weight_channels, group_channels, taps) = weight.dims3()?;
    let ConvTranspose1dOptions {
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    } = *options;
    let sizes = stride * dilation * groups * taps * frames;
    if sizes == 0
        || channels != weight_channels
        || channels % groups != 0
        || output_padding >= stride.max(dilation)
    {
        bail!(
            "conv_transpose1d: {options:?} with input {:?} and weight {:?}",
            x.shape(),
            weight.shape()
        );
    }
    let whole = (frames - 1) * stride + dilation * (taps - 1) + output_padding + 1;
    if whole <= 2 * padding {
        bail!("conv_transpose1d: {whole} frames with {padding} cut off at both ends leave none");
    }
    if !x.device().is_cpu() {
        return composed::conv_transpose1d(x, weight, bias, options);
    }
    let geometry = Geometry {
        batch,
        groups,
        inputs: group_channels,
        outputs: channels / groups,
        taps,
        stride,
        padding,
        dilation,
        input_frames: whole - 2 * padding,
        output_frames: frames,
    };
    let op = Convolution {
        geometry,
        transposed: true,
    };
    op.apply(x, weight, bias)
}

/// Either direction over one geometry; `transposed` runs from the geometry's outputs to its inputs.
#[derive(Clone, Copy)]
struct Convolution {
    geometry: Geometry,
    transposed: bool,
}

impl Convolution {
    fn apply(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (x, weight) = (x.contiguous()?, weight.contiguous()?);
        match bias {
            None => x.apply_op2(&weight, self),
            Some(bias) => {
                let channels = self.result_shape().dims()[1];
                if bias.dims() != [channels] {
                    bail!(
                        "convolution: bias {:?} for {channels} output channels",
                        bias.shape()
                    );
                }
                x.apply_op3(&weight, &bias.contiguous()?, self)
            }
        }
    }

    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> CpuStorage {
        CpuStorage::F32(if self.transposed {
            self.geometry.scatter(x, weight, bias)
        } else {
            self.geometry.correlate(x, weight, bias)
        })
    }

    fn result_shape(&self) -> Shape {
        let geometry = &self.geometry;
        let (channels, frames) = if self.transposed {
            (geometry.inputs, geometry.input_frames)
        } else {
            (geometry.outputs, geometry.output_frames)
        };
        Shape::from((geometry.batch, geometry.groups * channels, frames))
    }

    fn input_gradient(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>> {
        if !x.track_op() {
            return Ok(None);
        }
        let values = with_values("conv", [gradient, weight], |[gradient, weight]| {
            Ok(if self.transposed {
                self.geometry.correlate(gradient, weight, None)
            } else {
                self.geometry.scatter(gradient, weight, None)
            })
        })?;
        gradient_for(x, values)
    }

    fn weight_gradient(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>> {
        if !weight.track_op() {
            return Ok(None);
        }
        let values = with_values("conv", [gradient, x], |[gradient, x]| {
            Ok(if self.transposed {
                self.geometry.weight_gradient(gradient, x)
            } else {
                self.geometry.weight_gradient(x, gradient)
            })
        })?;
        gradient_for(weight, values)
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let result = self.forward(slice("conv", s1, l1)?, slice("conv", s2, l2)?, None);
        Ok((result, self.result_shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        Ok((
            self.input_gradient(x, weight, &gradient)?,
            self.weight_gradient(x, weight, &gradient)?,
        ))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (
            slice("conv", s1, l1)?,
            slice("conv", s2, l2)?,
            slice("conv", s3, l3)?,
        );
        Ok((self.forward(x, weight, Some(bias)), self.result_shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let bias_gradient = if bias.track_op() {
            Some(gradient.sum((0, 2))?)
        } else {
            None
        };
        Ok((
            self.input_gradient(x, weight, &gradient)?,
            self.weight_gradient(x, weight, &gradient)?,
            bias_gradient,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    /// `[batch, channels_in, channels_out, frames, taps, stride, padding, dilation, groups]`
    const CASES: [[usize; 9]; 10] = [
        [1, 1, 1, 5, 1, 1, 0, 1, 1],
        [2, 3, 5, 11, 3, 1, 1, 1, 1],
        [2, 4, 6, 13, 1, 1, 0, 1, 2],
        [1, 4, 2, 17, 7, 1, 9, 3, 1],
        [2, 4, 4, 15, 4, 2, 1, 1, 4],
        [2, 6, 3, 19, 5, 3, 2, 2, 3],
        [1, 2, 3, 9, 8, 4, 2, 1, 1],
        [2, 5, 5, 12, 7, 1, 3, 1, 5],
        [2, 3, 2, 10, 1, 2, 0, 1, 1],
        [1, 2, 2, 4, 3, 5, 4, 1, 1],
    ];

    fn at(tensor: &[f32], dims: [usize; 3], place: [usize; 3]) -> f64 {
        f64::from(tensor[(place[0] * dims[1] + place[1]) * dims[2] + place[2]])
    }

    /// The definition, one product at a time.
    fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, options: &Conv1dOptions) -> Tensor {
        let (batch, channels, frames) = x.dims3().unwrap();
        let (channels_out, group_channels, taps) = weight.dims3().unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (xs, ws, bs) = (flat(x), flat(weight), flat(bias));
        let frames_out =
            (frames + 2 * options.padding - options.dilation * (taps - 1) - 1) / options.stride + 1;
        let mut out = Vec::new();
        for b in 0..batch {
            for (o, &bias) in bs.iter().enumerate() {
                let first = o / (channels_out / options.groups) * group_channels;
                for n in 0..frames_out {
                    let mut sum = f64::from(bias);
                    for c in 0..group_channels {
                        for tap in 0..taps {
                            let frame = (n * options.stride + tap * options.dilation)
                                .checked_sub(options.padding);
                            if let Some(frame) = frame.filter(|&frame| frame < frames) {
                                sum += at(&xs, [batch, channels, frames], [b, first + c, frame])
                                    * at(&ws, [channels_out, group_channels, taps], [o, c, tap]);
                            }
                        }
                    }
                    out.push(sum as f32);
                }
            }
        }
        Tensor::from_vec(out, (batch, channels_out, frames_out), x.device()).unwrap()
    }

    fn case(sizes: [usize; 9]) -> ([Tensor; 3], Conv1dOptions) {
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
        let tensors = [
            pseudo_random((batch, channels, frames), 1),
            pseudo_random((channels_out, channels / groups, taps), 2),
            pseudo_random(channels_out, 3),
        ];
        let options = Conv1dOptions {
            stride,
            padding,
            dilation,
            groups,
        };
        (tensors, options)
    }

    fn transposed(options: &Conv1dOptions, output_padding: usize) -> ConvTranspose1dOptions {
        ConvTranspose1dOptions {
            stride: options.stride,
            padding: options.padding,
            output_padding,
            dilation: options.dilation,
            groups: options.groups,
        }
    }

    #[test]
    fn conv1d_matches_its_definition() {
        for sizes in CASES {
            let ([x, weight, bias], options) = case(sizes);
            let found = conv1d(&x, &weight, Some(&bias), &options).unwrap();
            let expected = reference(&x, &weight, &bias, &options);
            assert_close(&format!("{sizes:?}"), &found, &expected, 1e-6);
        }
    }

    #[test]
    fn conv1d_over_many_tiles_matches_its_definition() {
        let ([x, weight, bias], options) = case([2, 12, 10, 5000, 5, 1, 4, 2, 2]);
        let found = conv1d(&x, &weight, Some(&bias), &options).unwrap();
        assert_close(
            "tiles",
            &found,
            &reference(&x, &weight, &bias, &options),
            1e-6,
        );
    }

    #[test]
    fn conv1d_gradients() {
        for sizes in CASES {
            let (tensors, options) = case(sizes);
            assert_gradients(&format!("{sizes:?}"), &tensors, |t| {
                conv1d(&t[0], &t[1], Some(&t[2]), &options)
            });
        }
    }

    /// `<conv(x), y> = <x, conv_transpose(y)>` for all x and y.
    #[test]
    fn conv_transpose1d_is_the_adjoint() {
        for sizes in CASES {
            let ([x, weight, _], options) = case(sizes);
            let conv = conv1d(&x, &weight, None, &options).unwrap();
            let y = pseudo_random(conv.dims(), 4);
            let covered = (y.dim(2).unwrap() - 1) * sizes[5] + sizes[7] * (sizes[4] - 1) + 1;
            let missing = x.dim(2).unwrap() + 2 * sizes[6] - covered;
            let spread =
                conv_transpose1d(&y, &weight, None, &transposed(&options, missing)).unwrap();
            let sum = |t: Tensor| t.sum_all().unwrap().to_scalar::<f32>().unwrap();
            let (left, right) = (sum((conv * &y).unwrap()), sum((spread * &x).unwrap()));
            assert!((left - right).abs() < 1e-4, "{sizes:?}: {left} {right}");
        }
    }

    #[test]
    fn conv_transpose1d_gradients() {
        for sizes in CASES {
            let [batch, channels, channels_out, frames, taps, _, _, _, groups] = sizes;
            let (_, options) = case(sizes);
            let options = ConvTranspose1dOptions {
                padding: options.padding.min(taps / 2),
                ..transposed(&options, options.stride - 1)
            };
            let tensors = [
                pseudo_random((batch, channels, frames), 1),
                pseudo_random((channels, channels_out / groups, taps), 2),
                pseudo_random(channels_out, 3),
            ];
            assert_gradients(&format!("{sizes:?}"), &tensors, |t| {
                conv_transpose1d(&t[0], &t[1], Some(&t[2]), &options)
            });
        }
    }

    #[test]
    fn strided_arguments_give_the_same_result() {
        let ([x, weight, bias], options) = case([2, 3, 5, 11, 3, 1, 1, 1, 1]);
        let expected = conv1d(&x, &weight, Some(&bias), &options).unwrap();
        let strided = |t: &Tensor| {
            t.transpose(0, 2)
                .unwrap()
                .contiguous()
                .unwrap()
                .transpose(0, 2)
                .unwrap()
        };
        let found = conv1d(&strided(&x), &strided(&weight), Some(&bias), &options).unwrap();
        assert_close("strided", &found, &expected, 0.0);
    }

    #[test]
    fn frozen_weights_get_no_gradient() {
        let ([x, weight, bias], options) = case([2, 3, 5, 11, 3, 1, 1, 1, 1]);
        let x = candle_core::Var::from_tensor(&x).unwrap();
        let gradients = conv1d(&x, &weight, Some(&bias), &options)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        assert!(gradients.get(&x).is_some());
        assert!(gradients.get(&weight).is_none() && gradients.get(&bias).is_none());
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let ([x, weight, bias], options) = case([2, 4, 6, 13, 3, 1, 0, 1, 2]);
        let zero = Conv1dOptions {
            stride: 0,
            ..options
        };
        assert!(conv1d(&x, &weight, None, &zero).is_err());
        assert!(
            conv1d(
                &x,
                &weight,
                None,
                &Conv1dOptions {
                    groups: 1,
                    ..options
                }
            )
            .is_err()
        );
        assert!(conv1d(&x, &weight, Some(&bias.narrow(0, 0, 3).unwrap()), &options).is_err());
        let short = x.narrow(2, 0, 2).unwrap();
        assert!(conv1d(&short, &weight, None, &options).is_err());
        let cut = ConvTranspose1dOptions {
            padding: 8,
            ..transposed(&options, 0)
        };
        let weight = pseudo_random((4, 3, 3), 1);
        assert!(conv_transpose1d(&x, &weight, None, &cut).is_err());
    }
}
