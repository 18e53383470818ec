//! Normalisation over the last dimension.

use super::composed;
use crate::simd::{dot, sum, sum_by, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail,
};
use rayon::prelude::*;

/// Rows that one thread takes at a time.
const ROWS: usize = 32;

/// `weight x / sqrt(mean(x²) + epsilon)` over the last dimension (Zhang and Sennrich 2019).
///
/// # Shapes
/// `x`: `[.., features]`; `weight`: `[features]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    check("rms_norm", x, weight)?;
    if !x.device().is_cpu() {
        return composed::rms_norm(x, weight, epsilon);
    }
    let op = RmsNorm {
        epsilon: epsilon as f32,
    };
    x.contiguous()?.apply_op2(&weight.contiguous()?, op)
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last dimension, then times `weight` plus `bias` where they are
/// given (Ba et al. 2016).
///
/// # Shapes
/// `x`: `[.., features]`; `weight`, `bias`: `[features]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn layer_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, epsilon: f64) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::layer_norm(x, affine, epsilon);
    }
    let op = LayerNorm {
        epsilon: epsilon as f32,
    };
    let x = x.contiguous()?;
    match affine {
        None => x.apply_op1(op),
        Some((weight, bias)) => {
            check("layer_norm", &x, weight)?;
            check("layer_norm", &x, bias)?;
            x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
        }
    }
}

fn check(op: &str, x: &Tensor, weight: &Tensor) -> Result<()> {
    if weight.dims() != [x.dim(D::Minus1)?] {
        bail!(
            "{op}: weight {:?} for input {:?}",
            weight.shape(),
            x.shape()
        );
    }
    Ok(())
}

struct RmsNorm {
    epsilon: f32,
}

impl RmsNorm {
    #[inline(always)]
    fn inverse(&self, row: &[f32]) -> f32 {
        1.0 / (dot(row, row) / row.len() as f32 + self.epsilon).sqrt()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (slice("rms_norm", s1, l1)?, slice("rms_norm", s2, l2)?);
        let mut y = vec![0f32; x.len()];
        for_rows(&mut y, weight.len(), |first, y| {
            let rows = y
                .chunks_exact_mut(weight.len())
                .zip(x[first..].chunks_exact(weight.len()));
            for (y, x) in rows {
                let inverse = self.inverse(x);
                for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                    *y = x * inverse * weight;
                }
            }
        });
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let mut for_x = vec![0f32; x.elem_count()];
        let mut for_weight = vec![0f32; weight.elem_count()];
        with_values(
            "rms_norm",
            [x, weight, &gradient],
            |[x, weight, gradient]| {
                let features = weight.len();
                for_rows(&mut for_x, features, |first, for_x| {
                    let mut scaled = vec![0f32; features];
                    for (row, for_x) in for_x.chunks_exact_mut(features).enumerate() {
                        let place = first + row * features..first + (row + 1) * features;
                        let (x, gradient) = (&x[place.clone()], &gradient[place]);
                        let inverse = self.inverse(x);
                        for ((scaled, gradient), weight) in
                            scaled.iter_mut().zip(gradient).zip(weight)
                        {
                            *scaled = gradient * weight;
                        }
                        let back = dot(&scaled, x) * inverse * inverse * inverse / features as f32;
                        for ((for_x, scaled), x) in for_x.iter_mut().zip(&scaled).zip(x) {
                            *for_x = scaled * inverse - x * back;
                        }
                    }
                });
                Ok(())
            },
        )?;
        // On one thread: a norm's weight is trained only while a base is made.
        if weight.track_op() {
            with_values("rms_norm", [x, &gradient], |[x, gradient]| {
                let features = for_weight.len();
                for (x, gradient) in x
                    .chunks_exact(features)
                    .zip(gradient.chunks_exact(features))
                {
                    let inverse = self.inverse(x);
                    for ((sum, x), gradient) in for_weight.iter_mut().zip(x).zip(gradient) {
                        *sum += gradient * x * inverse;
                    }
                }
                Ok(())
            })?;
        }
        Ok((gradient_for(x, for_x)?, gradient_for(weight, for_weight)?))
    }
}

struct LayerNorm {
    epsilon: f32,
}

impl LayerNorm {
    /// Mean and inverse deviation of a row.
    #[inline(always)]
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let count = row.len() as f32;
        let mean = sum(row) / count;
        let variance = sum_by(row, |value| (value - mean) * (value - mean)) / count;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }

    fn forward(&self, x: &[f32], features: usize, affine: Option<(&[f32], &[f32])>) -> Vec<f32> {
        let mut y = vec![0f32; x.len()];
        for_rows(&mut y, features, |first, y| {
            let rows = y
                .chunks_exact_mut(features)
                .zip(x[first..].chunks_exact(features));
            for (y, x) in rows {
                let (mean, inverse) = self.moments(x);
                for (y, x) in y.iter_mut().zip(x) {
                    *y = (x - mean) * inverse;
                }
                if let Some((weight, bias)) = affine {
                    for ((y, weight), bias) in y.iter_mut().zip(weight).zip(bias) {
                        *y = *y * weight + bias;
                    }
                }
            }
        });
        y
    }

    fn input_gradient(
        &self,
        x: &[f32],
        weight: Option<&[f32]>,
        gradient: &[f32],
        features: usize,
    ) -> Vec<f32> {
        let mut for_x = vec![0f32; x.len()];
        for_rows(&mut for_x, features, |first, for_x| {
            let mut normal = vec![0f32; features];
            for (row, for_x) in for_x.chunks_exact_mut(features).enumerate() {
                let place = first + row * features..first + (row + 1) * features;
                let (x, gradient) = (&x[place.clone()], &gradient[place]);
                let (mean, inverse) = self.moments(x);
                for (normal, x) in normal.iter_mut().zip(x) {
                    *normal = (x - mean) * inverse;
                }
                for_x.copy_from_slice(gradient);
                if let Some(weight) = weight {
                    for_x
                        .iter_mut()
                        .zip(weight)
                        .for_each(|(for_x, weight)| *for_x *= weight);
                }
                let count = features as f32;
                let (along_one, along_normal) = (sum(for_x) / count, dot(for_x, &normal) / count);
                for (for_x, normal) in for_x.iter_mut().zip(&normal) {
                    *for_x = (*for_x - along_one - normal * along_normal) * inverse;
                }
            }
        });
        for_x
    }
}

impl CustomOp1 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice("layer_norm", storage, layout)?;
        let features = layout.dims().last().copied().unwrap_or(1);
        Ok((
            CpuStorage::F32(self.forward(x, features, None)),
            layout.shape().clone(),
        ))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (gradient, features) = (incoming(gradient)?, x.dim(D::Minus1)?);
        let for_x = with_values("layer_norm", [x, &gradient], |[x, gradient]| {
            Ok(self.input_gradient(x, None, gradient, features))
        })?;
        gradient_for(x, for_x)
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
        let name = "layer_norm";
        let (x, weight, bias) = (
            slice(name, s1, l1)?,
            slice(name, s2, l2)?,
            slice(name, s3, l3)?,
        );
        Ok((
            CpuStorage::F32(self.forward(x, weight.len(), Some((weight, bias)))),
            l1.shape().clone(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (gradient, features) = (incoming(gradient)?, weight.elem_count());
        let for_x = with_values(
            "layer_norm",
            [x, weight, &gradient],
            |[x, weight, gradient]| Ok(self.input_gradient(x, Some(weight), gradient, features)),
        )?;
        let (mut for_weight, mut for_bias) = (vec![0f32; features], vec![0f32; features]);
        if weight.track_op() || bias.track_op() {
            with_values("layer_norm", [x, &gradient], |[x, gradient]| {
                for (x, gradient) in x
                    .chunks_exact(features)
                    .zip(gradient.chunks_exact(features))
                {
                    let (mean, inverse) = self.moments(x);
                    let sums = for_weight.iter_mut().zip(for_bias.iter_mut());
                    for (((for_weight, for_bias), x), gradient) in sums.zip(x).zip(gradient) {
                        *for_weight += gradient * (x - mean) * inverse;
                        *for_bias += gradient;
                    }
                }
                Ok(())
            })?;
        }
        Ok((
            gradient_for(x, for_x)?,
            gradient_for(weight, for_weight)?,
            gradient_for(bias, for_bias)?,
        ))
    }
}

/// Calls `work` with pieces of whole rows and the position of each piece's first value, on all threads.
fn for_rows(values: &mut [f32], features: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let piece = ROWS * features.max(1);
    values
        .par_chunks_mut(piece)
        .enumerate()
        .for_each(|(number, values)| {
            vectorized(|| work(number * piece, values));
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    const EPSILON: f64 = 1e-6;

    fn arguments(batch: usize, frames: usize, features: usize) -> [Tensor; 3] {
        [
            (pseudo_random((batch, frames, features), 1) + 0.3).unwrap(),
            (pseudo_random(features, 2) + 1.2).unwrap(),
            pseudo_random(features, 3),
        ]
    }

    #[test]
    fn match_their_formulas() {
        for (batch, frames, features) in [(1, 1, 2), (2, 5, 7), (1, 67, 33)] {
            let [x, weight, bias] = arguments(batch, frames, features);
            let square = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let expected = x
                .broadcast_div(&(square + EPSILON).unwrap().sqrt().unwrap())
                .unwrap();
            let expected = expected.broadcast_mul(&weight).unwrap();
            assert_close(
                "rms_norm",
                &rms_norm(&x, &weight, EPSILON).unwrap(),
                &expected,
                1e-6,
            );

            let centred = x
                .broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap())
                .unwrap();
            let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let normal = centred
                .broadcast_div(&(variance + EPSILON).unwrap().sqrt().unwrap())
                .unwrap();
            assert_close(
                "plain",
                &layer_norm(&x, None, EPSILON).unwrap(),
                &normal,
                1e-6,
            );
            let expected = normal
                .broadcast_mul(&weight)
                .unwrap()
                .broadcast_add(&bias)
                .unwrap();
            let found = layer_norm(&x, Some((&weight, &bias)), EPSILON).unwrap();
            assert_close("layer_norm", &found, &expected, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        // Two features would make a layer norm's result a sign, with no gradient to measure.
        for (batch, frames, features) in [(1, 1, 3), (2, 3, 5), (1, 35, 4), (2, 2, 17)] {
            let arguments = arguments(batch, frames, features);
            // A larger epsilon keeps the curvature small enough for central differences.
            let epsilon = 0.05;
            assert_gradients("rms_norm", &arguments[..2], |t| {
                rms_norm(&t[0], &t[1], epsilon)
            });
            assert_gradients("plain", &arguments[..1], |t| {
                layer_norm(&t[0], None, epsilon)
            });
            assert_gradients("layer_norm", &arguments, |t| {
                layer_norm(&t[0], Some((&t[1], &t[2])), epsilon)
            });
        }
    }
}
