//! Activations: one value in, one value out.

use super::composed;
use crate::simd::{PARALLEL_MIN, erf, exp, sigmoid, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

/// `x sigmoid(x)` (also called swish), any shape.
///
/// # Errors
/// When `x` is not f32; so for every function here.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.silu();
    }
    apply::<Silu>(x)
}

/// `x Phi(x)` with the exact normal distribution function (PyTorch's default `gelu`), any shape.
///
/// # Errors
/// As [`silu`].
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.gelu_erf();
    }
    apply::<GeluErf>(x)
}

/// `x tanh(ln(1 + e^x))` (Misra 2019), any shape.
///
/// # Errors
/// As [`silu`].
pub fn mish(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::mish(x);
    }
    apply::<Mish>(x)
}

trait Activation: Send + Sync + 'static {
    const NAME: &'static str;
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

struct Silu;

impl Activation for Silu {
    const NAME: &'static str = "silu";

    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * sigmoid(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let share = sigmoid(x);
        share * (1.0 + x * (1.0 - share))
    }
}

struct GeluErf;

impl Activation for GeluErf {
    const NAME: &'static str = "gelu_erf";

    #[inline(always)]
    fn value(x: f32) -> f32 {
        0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        // 1 / sqrt(2 pi)
        const DENSITY: f32 = 0.398_942_3;
        0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * DENSITY * exp(-0.5 * x * x)
    }
}

struct Mish;

impl Mish {
    /// `tanh(ln(1 + e^x))` without a logarithm: `(u^2 + 2u) / (u^2 + 2u + 2)` with `u = e^x`. Beyond 20 it is 1 in f32.
    #[inline(always)]
    fn gate(x: f32) -> f32 {
        let power = exp(if x > 20.0 { 20.0 } else { x });
        let above = power * (power + 2.0);
        above / (above + 2.0)
    }
}

impl Activation for Mish {
    const NAME: &'static str = "mish";

    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * Self::gate(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let gate = Self::gate(x);
        gate + x * (1.0 - gate * gate) * sigmoid(x)
    }
}

fn apply<A: Activation>(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Elementwise::<A>(PhantomData))
}

struct Elementwise<A>(PhantomData<A>);

impl<A: Activation> CustomOp1 for Elementwise<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(A::NAME, storage, layout)?;
        let mut y = vec![0f32; x.len()];
        let pieces = y
            .par_chunks_mut(PARALLEL_MIN)
            .zip(x.par_chunks(PARALLEL_MIN));
        pieces.for_each(|(y, x)| {
            vectorized(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = A::value(x)));
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = incoming(gradient)?;
        let mut for_x = vec![0f32; x.elem_count()];
        with_values(A::NAME, [x, &gradient], |[x, gradient]| {
            let pieces = for_x
                .par_chunks_mut(PARALLEL_MIN)
                .zip(x.par_chunks(PARALLEL_MIN));
            pieces
                .zip(gradient.par_chunks(PARALLEL_MIN))
                .for_each(|((for_x, x), gradient)| {
                    vectorized(|| {
                        for ((for_x, &x), &gradient) in for_x.iter_mut().zip(x).zip(gradient) {
                            *for_x = gradient * A::slope(x);
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

    fn wide(shape: (usize, usize, usize), seed: u64) -> Tensor {
        (pseudo_random(shape, seed) * 6.0).unwrap()
    }

    fn reference(x: &Tensor, value: impl Fn(f64) -> f64) -> Tensor {
        let values: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f32> = values
            .into_iter()
            .map(|x| value(f64::from(x)) as f32)
            .collect();
        Tensor::from_vec(values, x.shape(), x.device()).unwrap()
    }

    type Op = fn(&Tensor) -> Result<Tensor>;

    #[test]
    fn values_match_their_formulas() {
        let x = wide((2, 3, 7001), 1);
        let silu_of = |x: f64| x / (1.0 + (-x).exp());
        assert_close("silu", &silu(&x).unwrap(), &reference(&x, silu_of), 1e-6);
        let mish_of = |x: f64| x * x.exp().ln_1p().tanh();
        assert_close("mish", &mish(&x).unwrap(), &reference(&x, mish_of), 1e-6);
        assert_close("gelu", &gelu_erf(&x).unwrap(), &x.gelu_erf().unwrap(), 1e-6);
    }

    #[test]
    fn values_stay_finite_far_out() {
        let x = Tensor::new(
            &[-1e30f32, -200.0, 0.0, 200.0, 1e30],
            &candle_core::Device::Cpu,
        )
        .unwrap();
        for (name, op) in [("silu", silu as Op), ("gelu", gelu_erf), ("mish", mish)] {
            let values: Vec<f32> = op(&x).unwrap().to_vec1().unwrap();
            assert!(
                values.iter().all(|value| value.is_finite()),
                "{name}: {values:?}"
            );
            assert!((values[4] / 1e30 - 1.0).abs() < 1e-6, "{name}: {values:?}");
        }
    }

    #[test]
    fn gradients() {
        for shape in [(1, 1, 1), (2, 3, 5), (1, 2, 33)] {
            for (name, op) in [("silu", silu as Op), ("gelu", gelu_erf), ("mish", mish)] {
                assert_gradients(name, &[wide(shape, 1)], |t| op(&t[0]));
            }
        }
    }

    #[test]
    fn transposed_inputs_and_gradients() {
        assert_gradients("silu", &[wide((2, 3, 5), 1)], |t| {
            silu(&t[0].transpose(1, 2)?)?.transpose(0, 1)
        });
    }
}
