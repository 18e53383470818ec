//! `y = z gain + bias`, one gain for each output: what DoRA does with the product of the moved weight.

use crate::simd::vectorized;
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Rows that one thread adds up at a time; a constant, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

/// With gradients for `z` `[.., out_features]` and `gain` `[out_features]`, none for the bias.
pub(super) fn with_gain(z: &Tensor, gain: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !z.device().is_cpu() {
        let y = z.broadcast_mul(gain)?;
        return match bias {
            Some(bias) => y.broadcast_add(&bias.detach()),
            None => Ok(y),
        };
    }
    let bias = bias.map(Tensor::contiguous).transpose()?;
    z.contiguous()?
        .apply_op2(&gain.contiguous()?, WithGain { bias })
}

struct WithGain {
    bias: Option<Tensor>,
}

impl CustomOp2 for WithGain {
    fn name(&self) -> &'static str {
        "gain"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (z, gain) = (slice("gain", s1, l1)?, slice("gain", s2, l2)?);
        let mut y = scaled(z, gain);
        if let Some(bias) = &self.bias {
            with_values("gain", [bias], |[bias]| {
                y.par_chunks_mut(bias.len().max(1)).for_each(|row| {
                    vectorized(|| row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias));
                });
                Ok(())
            })?;
        }
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        z: &Tensor,
        gain: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let (for_z, for_gain) =
            with_values("gain", [z, gain, &gradient], |[z, gain, gradient]| {
                Ok((scaled(gradient, gain), products(gradient, z, gain.len())))
            })?;
        Ok((gradient_for(z, for_z)?, gradient_for(gain, for_gain)?))
    }
}

/// Every row times `gain`.
fn scaled(rows: &[f32], gain: &[f32]) -> Vec<f32> {
    let mut result = rows.to_vec();
    result.par_chunks_mut(gain.len().max(1)).for_each(|row| {
        vectorized(|| row.iter_mut().zip(gain).for_each(|(y, gain)| *y *= gain));
    });
    result
}

/// `left * right`, added up over the rows.
fn products(left: &[f32], right: &[f32], columns: usize) -> Vec<f32> {
    let piece = ROWS * columns.max(1);
    let sums: Vec<Vec<f32>> = left
        .par_chunks(piece)
        .zip(right.par_chunks(piece))
        .map(|(left, right)| {
            let mut sum = vec![0f32; columns];
            let rows = left.chunks(columns.max(1));
            for (left, right) in rows.zip(right.chunks(columns.max(1))) {
                vectorized(|| {
                    for ((sum, left), right) in sum.iter_mut().zip(left).zip(right) {
                        *sum += left * right;
                    }
                });
            }
            sum
        })
        .collect();
    super::kronecker::sum_of(sums, columns)
}
