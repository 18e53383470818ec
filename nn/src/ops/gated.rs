//! The gated activation of Llama's MLP (Shazeer 2020, "GLU Variants Improve Transformer"): `up * silu(gate)`.

use super::composed;
use crate::simd::{sigmoid, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Values that one thread takes at a time at least, in whole rows.
const PIECE_MIN: usize = 16 * 1024;

/// `silu(gate) * up`, any shape.
///
/// # Errors
/// When the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.dims() != up.dims() {
        bail!("swiglu: gate {:?} and up {:?}", gate.shape(), up.shape());
    }
    if !gate.device().is_cpu() {
        return composed::swiglu(gate, up);
    }
    gate.contiguous()?.apply_op2(&up.contiguous()?, Apart)
}

/// `up * silu(gate)` where the last dimension holds `up`, then `gate`: diffusers' `SwiGLU`.
///
/// # Shapes
/// `x`: `[.., 2 * features]`; result: `[.., features]`.
///
/// # Errors
/// When the last dimension is odd.
pub fn swiglu_packed(x: &Tensor) -> Result<Tensor> {
    let features = x.dim(D::Minus1)?;
    if features == 0 || !features.is_multiple_of(2) {
        bail!("swiglu: {:?} cannot be halved", x.shape());
    }
    if !x.device().is_cpu() {
        let half = features / 2;
        let (up, gate) = (
            x.narrow(D::Minus1, 0, half)?,
            x.narrow(D::Minus1, half, half)?,
        );
        return composed::swiglu(&gate, &up);
    }
    x.contiguous()?.apply_op1(Packed)
}

#[inline(always)]
fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate * sigmoid(gate) * up;
    }
}

#[inline(always)]
fn backward(for_gate: &mut [f32], for_up: &mut [f32], [gate, up, gradient]: [&[f32]; 3]) {
    let sources = gate.iter().zip(up).zip(gradient);
    let targets = for_gate.iter_mut().zip(for_up);
    for ((for_gate, for_up), ((&gate, &up), &gradient)) in targets.zip(sources) {
        let share = sigmoid(gate);
        *for_gate = gradient * up * share * (1.0 + gate * (1.0 - share));
        *for_up = gradient * gate * share;
    }
}

struct Apart;

impl CustomOp2 for Apart {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (slice("swiglu", s1, l1)?, slice("swiglu", s2, l2)?);
        let mut y = vec![0f32; gate.len()];
        let sources = gate.par_chunks(PIECE_MIN).zip(up.par_chunks(PIECE_MIN));
        y.par_chunks_mut(PIECE_MIN)
            .zip(sources)
            .for_each(|(y, (gate, up))| vectorized(|| forward(y, gate, up)));
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let mut for_gate = vec![0f32; gate.elem_count()];
        let mut for_up = vec![0f32; gate.elem_count()];
        with_values("swiglu", [gate, up, &gradient], |[gate, up, gradient]| {
            let sources = gate
                .par_chunks(PIECE_MIN)
                .zip(up.par_chunks(PIECE_MIN))
                .zip(gradient.par_chunks(PIECE_MIN));
            for_gate
                .par_chunks_mut(PIECE_MIN)
                .zip(for_up.par_chunks_mut(PIECE_MIN))
                .zip(sources)
                .for_each(|((for_gate, for_up), ((gate, up), gradient))| {
                    vectorized(|| backward(for_gate, for_up, [gate, up, gradient]));
                });
            Ok(())
        })?;
        Ok((gradient_for(gate, for_gate)?, gradient_for(up, for_up)?))
    }
}

struct Packed;

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice("swiglu", storage, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            bail!("swiglu: a scalar cannot be halved");
        };
        *last /= 2;
        let features = *last;
        let mut y = vec![0f32; x.len() / 2];
        let piece = whole_rows(features);
        y.par_chunks_mut(piece)
            .zip(x.par_chunks(2 * piece))
            .for_each(|(y, x)| {
                vectorized(|| {
                    let rows = y.chunks_exact_mut(features);
                    for (y, x) in rows.zip(x.chunks_exact(2 * features)) {
                        let (up, gate) = x.split_at(features);
                        forward(y, gate, up);
                    }
                });
            });
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (gradient, features) = (incoming(gradient)?, result.dim(D::Minus1)?);
        let mut for_x = vec![0f32; x.elem_count()];
        let piece = whole_rows(features);
        with_values("swiglu", [x, &gradient], |[x, gradient]| {
            let sources = x.par_chunks(2 * piece).zip(gradient.par_chunks(piece));
            for_x
                .par_chunks_mut(2 * piece)
                .zip(sources)
                .for_each(|(for_x, (x, gradient))| {
                    vectorized(|| {
                        let sources = x
                            .chunks_exact(2 * features)
                            .zip(gradient.chunks_exact(features));
                        for (for_x, (x, gradient)) in
                            for_x.chunks_exact_mut(2 * features).zip(sources)
                        {
                            let (up, gate) = x.split_at(features);
                            let (for_up, for_gate) = for_x.split_at_mut(features);
                            backward(for_gate, for_up, [gate, up, gradient]);
                        }
                    });
                });
            Ok(())
        })?;
        gradient_for(x, for_x)
    }
}

fn whole_rows(features: usize) -> usize {
    PIECE_MIN.div_ceil(features) * features
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    fn wide(shape: (usize, usize, usize), seed: u64) -> Tensor {
        (pseudo_random(shape, seed) * 6.0).unwrap()
    }

    #[test]
    fn both_match_the_formula() {
        for shape in [(1, 1, 1), (2, 3, 7001), (2, 70, 512)] {
            let (gate, up) = (wide(shape, 1), wide(shape, 2));
            let share = ((gate.neg().unwrap().exp().unwrap() + 1.0).unwrap())
                .recip()
                .unwrap();
            let expected = ((&gate * share).unwrap() * &up).unwrap();
            assert_close("apart", &swiglu(&gate, &up).unwrap(), &expected, 1e-6);
            let packed = Tensor::cat(&[&up, &gate], D::Minus1).unwrap();
            assert_close("packed", &swiglu_packed(&packed).unwrap(), &expected, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        for shape in [(1, 1, 1), (2, 3, 5), (1, 2, 33)] {
            assert_gradients("apart", &[wide(shape, 1), wide(shape, 2)], |t| {
                swiglu(&t[0], &t[1])
            });
            let (batch, frames, features) = shape;
            assert_gradients("packed", &[wide((batch, frames, 2 * features), 1)], |t| {
                swiglu_packed(&t[0])
            });
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(swiglu(&wide((1, 2, 3), 1), &wide((1, 3, 2), 1)).is_err());
        assert!(swiglu_packed(&wide((1, 2, 3), 1)).is_err());
    }
}
