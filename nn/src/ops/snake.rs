//! Snake: `x + sin²(alpha x) / beta`, a periodic activation (Ziyin et al. 2020, "Neural Networks Fail to Learn Periodic
//! Functions"; BigVGAN's form with a separate beta, as in Oobleck).

use super::composed;
use crate::simd::vectorized;
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Keeps the division finite; the reference adds it too.
pub(super) const EPSILON: f32 = 1e-9;

/// `x + sin²(alpha x) / (beta + 1e-9)`, with alpha and beta per channel in linear scale (a model that stores their
/// logarithms exponentiates them when it loads).
///
/// # Shapes
/// `x`: `[batch, channels, frames]`; `alpha`, `beta`: `[channels]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn snake(x: &Tensor, alpha: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let (_, channels, _) = x.dims3()?;
    if alpha.dims() != [channels] || beta.dims() != [channels] {
        bail!(
            "snake: alpha {:?} and beta {:?} for {channels} channels",
            alpha.shape(),
            beta.shape()
        );
    }
    if !x.device().is_cpu() {
        return composed::snake(x, alpha, beta);
    }
    x.contiguous()?
        .apply_op3(&alpha.contiguous()?, &beta.contiguous()?, SnakeOp)
}

struct SnakeOp;

/// One channel's activation.
pub(crate) struct Snake {
    alpha: f32,
    inverse_beta: f32,
}

impl Snake {
    pub(crate) fn new(alpha: f32, beta: f32) -> Self {
        Self {
            alpha,
            inverse_beta: 1.0 / (beta + EPSILON),
        }
    }

    /// Applies it in place.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        vectorized(|| {
            for value in values {
                let (sine, _) = sine_cosine(self.alpha * *value);
                *value += self.inverse_beta * sine * sine;
            }
        });
    }
}

/// Sine and cosine of `angle` up to one sign that both share: their products and squares have period pi, so the angle
/// is reduced to `[-pi/2, pi/2]`.
#[inline(always)]
fn sine_cosine(angle: f32) -> (f32, f32) {
    // Pi in two parts, the first exact in few bits, so that its multiples have no rounding error.
    const PI_HIGH: f32 = 3.140_625;
    const PI_LOW: f32 = 9.676_536e-4;
    const ROUND: f32 = 12_582_912.0;
    let whole = (angle * std::f32::consts::FRAC_1_PI + ROUND) - ROUND;
    let rest = (angle - whole * PI_HIGH) - whole * PI_LOW;
    let square = rest * rest;
    // Minimax polynomials of degree 11 and 10 (DirectXMath's XMScalarSinCos).
    let mut sine = -2.388_859e-8;
    sine = sine * square + 2.752_556_2e-6;
    sine = sine * square - 1.984_087_4e-4;
    sine = sine * square + 8.333_331e-3;
    sine = sine * square - 1.666_666_7e-1;
    let sine = rest + rest * square * sine;
    let mut cosine = -2.605_161_5e-7;
    cosine = cosine * square + 2.476_049_5e-5;
    cosine = cosine * square - 1.388_837_8e-3;
    cosine = cosine * square + 4.166_663_8e-2;
    cosine = cosine * square - 5e-1;
    (sine, 1.0 + square * cosine)
}

impl CustomOp3 for SnakeOp {
    fn name(&self) -> &'static str {
        "snake"
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
        let (x, alpha, beta) = (
            slice("snake", s1, l1)?,
            slice("snake", s2, l2)?,
            slice("snake", s3, l3)?,
        );
        let (frames, channels) = (l1.dims()[2].max(1), alpha.len());
        let mut result = vec![0f32; x.len()];
        let rows = result
            .par_chunks_mut(frames)
            .zip(x.par_chunks(frames))
            .enumerate();
        rows.for_each(|(row, (result, x))| {
            result.copy_from_slice(x);
            Snake::new(alpha[row % channels], beta[row % channels]).apply(result);
        });
        Ok((CpuStorage::F32(result), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        alpha: &Tensor,
        beta: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let (_, channels, frames) = x.dims3()?;
        let mut for_x = vec![0f32; x.elem_count()];
        let arguments = [x, alpha, beta, &gradient];
        let sums = with_values("snake", arguments, |[x, alpha, beta, gradient]| {
            Ok(rows_backward(&mut for_x, x, gradient, alpha, beta, frames))
        })?;
        let mut for_alpha = vec![0f32; channels];
        let mut for_beta = vec![0f32; channels];
        for (row, (alpha, beta)) in sums.into_iter().enumerate() {
            for_alpha[row % channels] += alpha;
            for_beta[row % channels] += beta;
        }
        Ok((
            gradient_for(x, for_x)?,
            gradient_for(alpha, for_alpha)?,
            gradient_for(beta, for_beta)?,
        ))
    }
}

/// Writes the gradient for x and returns each row's sums for alpha and beta.
fn rows_backward(
    for_x: &mut [f32],
    x: &[f32],
    gradient: &[f32],
    alpha: &[f32],
    beta: &[f32],
    frames: usize,
) -> Vec<(f32, f32)> {
    let frames = frames.max(1);
    let rows = for_x
        .par_chunks_mut(frames)
        .zip(x.par_chunks(frames))
        .zip(gradient.par_chunks(frames));
    rows.enumerate()
        .map(|(row, ((for_x, x), gradient))| {
            let channel = row % alpha.len();
            let (alpha, inverse) = (alpha[channel], 1.0 / (beta[channel] + EPSILON));
            vectorized(|| {
                let (mut for_alpha, mut for_beta) = (0f32, 0f32);
                for ((for_x, &x), &gradient) in for_x.iter_mut().zip(x).zip(gradient) {
                    let (sine, cosine) = sine_cosine(alpha * x);
                    let slope = 2.0 * sine * cosine * inverse;
                    *for_x = gradient * (1.0 + alpha * slope);
                    for_alpha += gradient * x * slope;
                    for_beta -= gradient * sine * sine * inverse * inverse;
                }
                (for_alpha, for_beta)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    fn arguments(batch: usize, channels: usize, frames: usize) -> [Tensor; 3] {
        let positive = |seed| (pseudo_random(channels, seed) + 1.5).unwrap();
        [
            (pseudo_random((batch, channels, frames), 1) * 3.0).unwrap(),
            positive(2),
            positive(3),
        ]
    }

    #[test]
    fn matches_the_formula() {
        for (batch, channels, frames) in [(1, 1, 1), (2, 3, 37), (1, 5, 64)] {
            let [x, alpha, beta] = arguments(batch, channels, frames);
            let x = (x * 20.0).unwrap();
            let channel = |t: &Tensor| t.reshape((1, channels, 1)).unwrap();
            let wave = x
                .broadcast_mul(&channel(&alpha))
                .unwrap()
                .sin()
                .unwrap()
                .sqr()
                .unwrap();
            let expected = (&x + wave.broadcast_div(&channel(&beta)).unwrap()).unwrap();
            assert_close("snake", &snake(&x, &alpha, &beta).unwrap(), &expected, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        for (batch, channels, frames) in [(1, 1, 1), (2, 3, 5), (1, 2, 19)] {
            assert_gradients("snake", &arguments(batch, channels, frames), |t| {
                snake(&t[0], &t[1], &t[2])
            });
        }
    }
}
