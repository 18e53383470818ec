//! Every operation composed of candle's own, for devices on which there is no kernel of ours (CUDA). Only stock ops whose
//! gradient was found right are used. They keep their intermediates: an own kernel would save that memory, but cannot be
//! tested where there is no such device, and a wrong gradient is worse than a large one.
//!
//! The same formulas are what the kernels are tested against, on whatever device is at hand.

use super::attention::{AttentionOptions, Mask};
use super::conv::{Conv1dOptions, ConvTranspose1dOptions};
use super::grn::EPSILON as GRN_EPSILON;
use super::rotary::RotaryTable;
use super::snake::EPSILON as SNAKE_EPSILON;
use crate::known::with_backward;
use candle_core::{D, DType, Result, Tensor, bail};

/// What a hidden score is set to: its exponential is zero beside any that is seen.
const HIDDEN: f64 = -1e9;

pub(super) fn mish(x: &Tensor) -> Result<Tensor> {
    // ln(1 + e^x) without overflow; candle has no gradient for the absolute value's sign at zero, nor needs one here.
    let softplus = (x.relu()? + ((x.abs()?.neg()?.exp()? + 1.0)?.log()?))?;
    x * softplus.tanh()?
}

pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let most = x.max_keepdim(D::Minus1)?.detach();
    let shares = x.broadcast_sub(&most)?.exp()?;
    shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    x.broadcast_div(&scale)?.broadcast_mul(weight)
}

pub(super) fn layer_norm(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    epsilon: f64,
) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    let normal = centred.broadcast_div(&scale)?;
    match affine {
        None => Ok(normal),
        Some((weight, bias)) => normal.broadcast_mul(weight)?.broadcast_add(bias),
    }
}

pub(super) fn grn(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    // The smallest normal number keeps a silent channel's gradient finite.
    let norms = (x.sqr()?.sum_keepdim(1)? + f64::from(f32::MIN_POSITIVE))?.sqrt()?;
    let mean = (norms.mean_keepdim(D::Minus1)? + f64::from(GRN_EPSILON))?;
    let scaled = x.broadcast_mul(&norms.broadcast_div(&mean)?)?;
    scaled.broadcast_mul(gamma)?.broadcast_add(beta)? + x
}

pub(super) fn snake(x: &Tensor, alpha: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let channel = |vector: &Tensor| vector.reshape((1, (), 1));
    let wave = x.broadcast_mul(&channel(alpha)?)?.sin()?.sqr()?;
    x + wave.broadcast_div(&(channel(beta)? + f64::from(SNAKE_EPSILON))?)?
}

pub(super) fn rotary(x: &Tensor, table: &RotaryTable) -> Result<Tensor> {
    let (batch, frames, features) = x.dims3()?;
    let (head_dim, rotated) = table.sizes();
    let half = rotated / 2;
    let (cosines, sines) = table.tensors(frames, x.device())?;
    let heads = x.reshape((batch, frames, features / head_dim, head_dim))?;
    let (first, second) = (heads.narrow(3, 0, half)?, heads.narrow(3, half, half)?);
    let turned = [
        (first.broadcast_mul(&cosines)? - second.broadcast_mul(&sines)?)?,
        (second.broadcast_mul(&cosines)? + first.broadcast_mul(&sines)?)?,
    ];
    let mut parts = turned.to_vec();
    if rotated < head_dim {
        parts.push(heads.narrow(3, rotated, head_dim - rotated)?);
    }
    Tensor::cat(&parts, 3)?.reshape((batch, frames, features))
}

pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    options: &AttentionOptions,
) -> Result<Tensor> {
    let (batch, frames, features) = q.dims3()?;
    let (key_frames, head_dim) = (k.dim(1)?, features / options.heads);
    let split = |x: &Tensor, frames, heads: usize| {
        x.reshape((batch, frames, heads, 1, head_dim))?
            .broadcast_as((batch, frames, heads, options.heads / heads, head_dim))?
            .reshape((batch, frames, options.heads, head_dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    let q = split(q, frames, options.heads)?;
    let k = split(k, key_frames, options.key_heads)?;
    let v = split(v, key_frames, options.key_heads)?;
    let keys = k.transpose(2, 3)?.contiguous()?;
    let scores = (q.matmul(&keys)? / (head_dim as f64).sqrt())?;
    let (scores, answered) = match &options.mask {
        Mask::None => (scores, None),
        Mask::Causal => {
            let seen: Vec<u8> = (0..frames)
                .flat_map(|frame| (0..key_frames).map(move |key| u8::from(key <= frame)))
                .collect();
            let seen = Tensor::from_vec(seen, (1, 1, frames, key_frames), q.device())?;
            (hide(&scores, &seen)?, None)
        }
        Mask::Keys(seen) => {
            let seen = seen.to_device(q.device())?;
            let answered = seen.max_keepdim(1)?.to_dtype(DType::F32)?;
            let seen = seen.reshape((batch, 1, 1, key_frames))?;
            (hide(&scores, &seen)?, Some(answered))
        }
    };
    let mixed = softmax(&scores)?
        .matmul(&v)?
        .transpose(1, 2)?
        .reshape((batch, frames, features))?;
    match answered {
        None => Ok(mixed),
        Some(answered) => mixed.broadcast_mul(&answered.reshape((batch, 1, 1))?),
    }
}

fn hide(scores: &Tensor, seen: &Tensor) -> Result<Tensor> {
    let hidden = ((seen.to_dtype(DType::F32)? - 1.0)? * -HIDDEN)?;
    scores.broadcast_add(&hidden)
}

/// The weight gets no gradient: stock convolutions give a wrong one at batch 2 and more.
#[expect(
    clippy::disallowed_methods,
    reason = "forward passes alone are used, of contiguous weights"
)]
pub(super) fn conv1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &Conv1dOptions,
) -> Result<Tensor> {
    refuse_trained("conv1d", weight, bias)?;
    let Conv1dOptions {
        stride,
        padding,
        dilation,
        groups,
    } = *options;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let y = x
        .detach()
        .conv1d(&weight, padding, stride, dilation, groups)?;
    let (frames, reach) = (x.dim(2)?, dilation * (weight.dim(2)? - 1) + 1);
    let output_padding = (frames + 2 * padding - reach) % stride;
    let y = with_backward(&x, &y, move |gradient| {
        items(gradient, |item| {
            item.conv_transpose1d(&weight, padding, output_padding, stride, dilation, groups)
        })
    })?;
    with_bias(y, bias)
}

/// As [`conv1d`], the weight gets no gradient.
#[expect(
    clippy::disallowed_methods,
    reason = "forward passes alone are used, item by item"
)]
pub(super) fn conv_transpose1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &ConvTranspose1dOptions,
) -> Result<Tensor> {
    refuse_trained("conv_transpose1d", weight, bias)?;
    let ConvTranspose1dOptions {
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    } = *options;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let y = items(&x.detach(), |item| {
        item.conv_transpose1d(&weight, padding, output_padding, stride, dilation, groups)
    })?;
    let frames = x.dim(2)?;
    let y = with_backward(&x, &y, move |gradient| {
        let found = gradient.conv1d(&weight, padding, stride, dilation, groups)?;
        found.narrow(2, 0, frames)
    })?;
    with_bias(y, bias)
}

/// Each item of a batch on its own: stock transposed convolution without padding is wrong at batch 2 and more.
fn items(x: &Tensor, work: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let items: Vec<Tensor> = (0..x.dim(0)?)
        .map(|item| work(&x.narrow(0, item, 1)?.contiguous()?))
        .collect::<Result<_>>()?;
    Tensor::cat(&items, 0)
}

fn refuse_trained(op: &str, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    if weight.track_op() || bias.is_some_and(Tensor::track_op) {
        bail!("{op}: weights of convolutions are trained on the CPU only");
    }
    Ok(())
}

fn with_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        None => Ok(y),
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use candle_core::{Device, Var};
    use testing::{assert_close, device, pseudo_random};

    /// A copy on the device at hand.
    fn here(tensor: &Tensor) -> Tensor {
        tensor.to_device(&device()).unwrap()
    }

    /// Values and gradients of a kernel, and of its composed form on the device at hand.
    fn agree(
        name: &str,
        arguments: &[Tensor],
        kernel: impl Fn(&[Tensor]) -> Result<Tensor>,
        composed: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        let (expected, expected_gradients) = run(arguments, kernel);
        let moved: Vec<Tensor> = arguments.iter().map(here).collect();
        let (found, found_gradients) = run(&moved, composed);
        assert_close(name, &found, &expected, 1e-5);
        for (number, (found, expected)) in
            found_gradients.iter().zip(&expected_gradients).enumerate()
        {
            assert_close(&format!("{name}: gradient {number}"), found, expected, 2e-5);
        }
    }

    /// The value, and the gradients of all arguments.
    fn run(
        arguments: &[Tensor],
        function: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> (Tensor, Vec<Tensor>) {
        let variables: Vec<Var> = arguments
            .iter()
            .map(|argument| Var::from_tensor(argument).unwrap())
            .collect();
        let tensors: Vec<Tensor> = variables
            .iter()
            .map(|variable| variable.as_tensor().clone())
            .collect();
        let value = function(&tensors).unwrap();
        let weights = pseudo_random(value.dims(), 9)
            .to_device(value.device())
            .unwrap();
        let sum = (&value * weights).unwrap().sum_all().unwrap();
        let gradients = sum.backward().unwrap();
        let found = variables
            .iter()
            .map(|variable| gradients.get(variable).unwrap().clone())
            .collect();
        (value, found)
    }

    #[test]
    fn activations() {
        for batch in [1, 2] {
            let pair = [
                (pseudo_random((batch, 5, 6), 1) * 4.0).unwrap(),
                (pseudo_random((batch, 5, 6), 2) * 4.0).unwrap(),
            ];
            let one = &pair[..1];
            agree("silu", one, |t| ops::silu(&t[0]), |t| t[0].silu());
            agree("gelu", one, |t| ops::gelu_erf(&t[0]), |t| t[0].gelu_erf());
            agree("mish", one, |t| ops::mish(&t[0]), |t| mish(&t[0]));
            agree("softmax", one, |t| ops::softmax(&t[0]), |t| softmax(&t[0]));
            agree(
                "swiglu",
                &pair,
                |t| ops::swiglu(&t[0], &t[1]),
                |t| swiglu(&t[0], &t[1]),
            );
        }
    }

    #[test]
    fn norms() {
        for batch in [1, 2] {
            let vector = |seed| (pseudo_random(7, seed) + 1.5).unwrap();
            let arguments = [pseudo_random((batch, 5, 7), 1), vector(2), vector(3)];
            agree(
                "rms",
                &arguments[..2],
                |t| ops::rms_norm(&t[0], &t[1], 1e-6),
                |t| rms_norm(&t[0], &t[1], 1e-6),
            );
            agree(
                "layer",
                &arguments,
                |t| ops::layer_norm(&t[0], Some((&t[1], &t[2])), 1e-6),
                |t| layer_norm(&t[0], Some((&t[1], &t[2])), 1e-6),
            );
            agree(
                "grn",
                &arguments,
                |t| ops::grn(&t[0], &t[1], &t[2]),
                |t| grn(&t[0], &t[1], &t[2]),
            );
            let turned = [
                arguments[0].transpose(1, 2).unwrap().contiguous().unwrap(),
                vector(2),
                vector(3),
            ];
            agree(
                "snake",
                &turned,
                |t| ops::snake(&t[0], &t[1], &t[2]),
                |t| snake(&t[0], &t[1], &t[2]),
            );
        }
    }

    #[test]
    fn rotation() {
        for (head_dim, rotated) in [(4, 4), (6, 2)] {
            let table = RotaryTable::partial(9, head_dim, rotated, 1e4).unwrap();
            agree(
                "rotary",
                &[pseudo_random((2, 7, 3 * head_dim), 1)],
                |t| ops::rotary(&t[0], &table),
                |t| rotary(&t[0], &table),
            );
        }
    }

    #[test]
    fn attention_with_every_mask() {
        let marks = Tensor::from_vec(vec![0u8, 0, 0, 0, 0, 1, 0, 1, 1, 1], (2, 5), &Device::Cpu);
        for mask in [Mask::None, Mask::Causal, Mask::Keys(marks.unwrap())] {
            let options = AttentionOptions {
                heads: 4,
                key_heads: 2,
                mask,
            };
            agree(
                &format!("{options:?}"),
                &[
                    pseudo_random((2, 5, 12), 1),
                    pseudo_random((2, 5, 6), 2),
                    pseudo_random((2, 5, 6), 3),
                ],
                |t| ops::attention(&t[0], &t[1], &t[2], &options),
                |t| attention(&t[0], &t[1], &t[2], &options),
            );
        }
    }

    #[test]
    fn convolutions_of_frozen_weights() {
        // [taps, stride, padding, dilation, groups]
        for [taps, stride, padding, dilation, groups] in [
            [1, 1, 0, 1, 1],
            [3, 1, 1, 1, 1],
            [4, 2, 1, 1, 2],
            [7, 1, 9, 3, 1],
            [5, 3, 2, 2, 2],
        ] {
            for batch in [1, 2] {
                let name = format!("{taps} {stride} {padding} {dilation} {groups} {batch}");
                let (weight, bias) = (pseudo_random((6, 4 / groups, taps), 2), pseudo_random(6, 3));
                let options = Conv1dOptions {
                    stride,
                    padding,
                    dilation,
                    groups,
                };
                agree(
                    &name,
                    &[pseudo_random((batch, 4, 20), 1)],
                    |t| ops::conv1d(&t[0], &weight, Some(&bias), &options),
                    |t| conv1d(&t[0], &here(&weight), Some(&here(&bias)), &options),
                );
                let (weight, bias) = (pseudo_random((4, 6 / groups, taps), 2), pseudo_random(6, 3));
                let options = ConvTranspose1dOptions {
                    stride,
                    padding: padding.min(taps / 2),
                    output_padding: stride - 1,
                    dilation,
                    groups,
                };
                agree(
                    &format!("transposed {name}"),
                    &[pseudo_random((batch, 4, 20), 1)],
                    |t| ops::conv_transpose1d(&t[0], &weight, Some(&bias), &options),
                    |t| conv_transpose1d(&t[0], &here(&weight), Some(&here(&bias)), &options),
                );
            }
        }
    }

    #[test]
    fn trained_convolutions_are_refused() {
        let weight = Var::from_tensor(&pseudo_random((2, 2, 3), 1)).unwrap();
        let x = pseudo_random((1, 2, 9), 2);
        assert!(conv1d(&x, &weight, None, &Conv1dOptions::default()).is_err());
        let options = ConvTranspose1dOptions::default();
        assert!(conv_transpose1d(&x, &weight, None, &options).is_err());
    }
}
