//! Softmax over the last dimension.

use super::composed;
use crate::simd::{dot, exp, maximum, sum, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `e^x / sum(e^x)` over the last dimension of any shape.
///
/// # Errors
/// When `x` is not f32.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::softmax(x);
    }
    x.contiguous()?.apply_op1(Softmax)
}

struct Softmax;

/// Replaces a row by its softmax. Call it inside `vectorized`.
#[inline(always)]
pub(super) fn softmax_row(row: &mut [f32]) {
    let most = maximum(row);
    row.iter_mut().for_each(|value| *value = exp(*value - most));
    let inverse = 1.0 / sum(row);
    row.iter_mut().for_each(|value| *value *= inverse);
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = slice("softmax", storage, layout)?.to_vec();
        let features = layout.dims().last().copied().unwrap_or(1).max(1);
        y.par_chunks_mut(features)
            .for_each(|row| vectorized(|| softmax_row(row)));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (gradient, features) = (incoming(gradient)?, x.dim(D::Minus1)?.max(1));
        let mut for_x = vec![0f32; x.elem_count()];
        with_values("softmax", [result, &gradient], |[y, gradient]| {
            let rows = for_x
                .par_chunks_mut(features)
                .zip(y.par_chunks(features))
                .zip(gradient.par_chunks(features));
            rows.for_each(|((for_x, y), gradient)| {
                vectorized(|| {
                    let along = dot(y, gradient);
                    for ((for_x, y), gradient) in for_x.iter_mut().zip(y).zip(gradient) {
                        *for_x = y * (gradient - along);
                    }
                });
            });
            Ok(())
        })?;
        gradient_for(x, for_x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    fn wide(shape: (usize, usize, usize)) -> Tensor {
        (pseudo_random(shape, 1) * 10.0).unwrap()
    }

    #[test]
    fn matches_the_formula() {
        for shape in [(1, 1, 1), (2, 3, 5), (2, 2, 37)] {
            let x = wide(shape);
            let powers = x.exp().unwrap();
            let expected = powers
                .broadcast_div(&powers.sum_keepdim(D::Minus1).unwrap())
                .unwrap();
            assert_close("softmax", &softmax(&x).unwrap(), &expected, 1e-6);
        }
    }

    #[test]
    fn a_constant_does_not_change_it() {
        let x = wide((2, 3, 5));
        let shifted = softmax(&(&x + 1e4).unwrap()).unwrap();
        assert_close("shifted", &shifted, &softmax(&x).unwrap(), 1e-3);
    }

    #[test]
    fn gradients() {
        for shape in [(1, 1, 2), (2, 3, 5), (1, 2, 19)] {
            assert_gradients("softmax", &[pseudo_random(shape, 1)], |t| softmax(&t[0]));
        }
    }
}
