//! Global response normalisation (Woo et al. 2023, "ConvNeXt V2"), its L2 norm taken over time.

use super::composed;
use crate::simd::vectorized;
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Added to the mean response of the channels, as in the paper's code.
pub(super) const EPSILON: f32 = 1e-6;

/// `gamma (x N) + beta + x` with `N[c] = G[c] / (mean over channels of G + 1e-6)` and `G[c]` the L2 norm of channel `c`
/// over all frames: padding frames count, so the padded length matters.
///
/// # Shapes
/// `x`: `[batch, frames, channels]`; `gamma`, `beta`: `[channels]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn grn(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let (_, _, channels) = x.dims3()?;
    if gamma.dims() != [channels] || beta.dims() != [channels] {
        bail!(
            "grn: gamma {:?} and beta {:?} for {channels} channels",
            gamma.shape(),
            beta.shape()
        );
    }
    if !x.device().is_cpu() {
        return composed::grn(x, gamma, beta);
    }
    x.contiguous()?
        .apply_op3(&gamma.contiguous()?, &beta.contiguous()?, Grn)
}

struct Grn;

/// One item's norms `G` and the mean response with its epsilon.
fn responses(x: &[f32], channels: usize) -> (Vec<f32>, f32) {
    let mut norms = vec![0f32; channels];
    vectorized(|| {
        for frame in x.chunks_exact(channels) {
            norms
                .iter_mut()
                .zip(frame)
                .for_each(|(norm, x)| *norm += x * x);
        }
        norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
    });
    let mean = norms.iter().sum::<f32>() / channels as f32 + EPSILON;
    (norms, mean)
}

/// What one item gives back for x (written), gamma and beta.
fn backward(for_x: &mut [f32], x: &[f32], gamma: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = gamma.len();
    let (norms, mean) = responses(x, channels);
    let (mut along_x, mut for_beta) = (vec![0f32; channels], vec![0f32; channels]);
    for (x, gradient) in x
        .chunks_exact(channels)
        .zip(gradient.chunks_exact(channels))
    {
        vectorized(|| {
            for ((along, x), gradient) in along_x.iter_mut().zip(x).zip(gradient) {
                *along += gradient * x;
            }
            for_beta
                .iter_mut()
                .zip(gradient)
                .for_each(|(sum, gradient)| *sum += gradient);
        });
    }
    let share = along_x
        .iter()
        .zip(gamma)
        .zip(&norms)
        .map(|((a, g), n)| a * g * n)
        .sum::<f32>();
    let share = share / (channels as f32 * mean * mean);
    // dL/dG over G: multiplied by x it is the part that flows through the norm. Zero for a silent channel.
    let through: Vec<f32> = along_x
        .iter()
        .zip(gamma)
        .zip(&norms)
        .map(|((along, gamma), &norm)| {
            if norm > 0.0 {
                (along * gamma / mean - share) / norm
            } else {
                0.0
            }
        })
        .collect();
    let direct: Vec<f32> = gamma
        .iter()
        .zip(&norms)
        .map(|(gamma, norm)| 1.0 + gamma * norm / mean)
        .collect();
    let frames = for_x
        .chunks_exact_mut(channels)
        .zip(x.chunks_exact(channels));
    for ((for_x, x), gradient) in frames.zip(gradient.chunks_exact(channels)) {
        vectorized(|| {
            for channel in 0..channels {
                for_x[channel] =
                    gradient[channel] * direct[channel] + x[channel] * through[channel];
            }
        });
    }
    let for_gamma = along_x
        .iter()
        .zip(&norms)
        .map(|(along, norm)| along * norm / mean)
        .collect();
    (for_gamma, for_beta)
}

impl CustomOp3 for Grn {
    fn name(&self) -> &'static str {
        "grn"
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
        let (x, gamma, beta) = (
            slice("grn", s1, l1)?,
            slice("grn", s2, l2)?,
            slice("grn", s3, l3)?,
        );
        let (_, frames, channels) = l1.shape().dims3()?;
        let item = (frames * channels).max(1);
        let mut y = vec![0f32; x.len()];
        y.par_chunks_mut(item)
            .zip(x.par_chunks(item))
            .for_each(|(y, x)| {
                let (norms, mean) = responses(x, channels);
                let factor: Vec<f32> = gamma
                    .iter()
                    .zip(&norms)
                    .map(|(gamma, norm)| 1.0 + gamma * norm / mean)
                    .collect();
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    vectorized(|| {
                        for (((y, x), factor), beta) in y.iter_mut().zip(x).zip(&factor).zip(beta) {
                            *y = x * factor + beta;
                        }
                    });
                }
            });
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let (_, frames, channels) = x.dims3()?;
        let item = (frames * channels).max(1);
        let mut for_x = vec![0f32; x.elem_count()];
        let sums: Vec<_> = with_values("grn", [x, gamma, &gradient], |[x, gamma, gradient]| {
            let items = for_x
                .par_chunks_mut(item)
                .zip(x.par_chunks(item))
                .zip(gradient.par_chunks(item));
            Ok(items
                .map(|((for_x, x), gradient)| backward(for_x, x, gamma, gradient))
                .collect())
        })?;
        let (mut for_gamma, mut for_beta) = (vec![0f32; channels], vec![0f32; channels]);
        for (gamma, beta) in sums {
            for_gamma
                .iter_mut()
                .zip(gamma)
                .for_each(|(sum, value)| *sum += value);
            for_beta
                .iter_mut()
                .zip(beta)
                .for_each(|(sum, value)| *sum += value);
        }
        Ok((
            gradient_for(x, for_x)?,
            gradient_for(gamma, for_gamma)?,
            gradient_for(beta, for_beta)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::D;
    use testing::{assert_close, assert_gradients, pseudo_random};

    fn arguments(batch: usize, frames: usize, channels: usize) -> [Tensor; 3] {
        [
            (pseudo_random((batch, frames, channels), 1) + 0.4).unwrap(),
            pseudo_random(channels, 2),
            pseudo_random(channels, 3),
        ]
    }

    #[test]
    fn matches_the_formula() {
        for (batch, frames, channels) in [(1, 1, 1), (2, 5, 7), (1, 40, 33)] {
            let [x, gamma, beta] = arguments(batch, frames, channels);
            let norms = x.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
            let mean = (norms.mean_keepdim(D::Minus1).unwrap() + 1e-6).unwrap();
            let normal = x
                .broadcast_mul(&norms.broadcast_div(&mean).unwrap())
                .unwrap();
            let scaled = normal
                .broadcast_mul(&gamma)
                .unwrap()
                .broadcast_add(&beta)
                .unwrap();
            assert_close(
                "grn",
                &grn(&x, &gamma, &beta).unwrap(),
                &(scaled + &x).unwrap(),
                1e-6,
            );
        }
    }

    #[test]
    fn gradients() {
        for (batch, frames, channels) in [(1, 1, 2), (2, 5, 3), (1, 9, 7)] {
            assert_gradients("grn", &arguments(batch, frames, channels), |t| {
                grn(&t[0], &t[1], &t[2])
            });
        }
    }

    #[test]
    fn a_silent_input_has_finite_gradients() {
        let [x, gamma, beta] = arguments(1, 3, 2);
        let x = candle_core::Var::from_tensor(&x.zeros_like().unwrap()).unwrap();
        let gradients = grn(&x, &gamma, &beta)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let values: Vec<f32> = gradients
            .get(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        assert_eq!(values, vec![1.0; 6]);
    }
}
