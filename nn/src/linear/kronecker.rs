//! The product with a Kronecker product that is never made: `y = scale x (outer ⊗ inner)^T`. A row of x is taken for a
//! matrix X `[outer inputs, inner inputs]`, and its row of y is `outer X inner^T`.

use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows whose gradients one thread adds up; a constant, so that sums do not depend on the number of threads.
const ROWS: usize = 64;
/// Rows that are worth handing to a thread.
const ROWS_MIN: usize = 8;

/// With gradients for `x` `[.., in_features]`, `outer` and `inner`; zeros with those gradients if the values are not
/// needed. On the CPU.
pub(super) fn product(
    x: &Tensor,
    outer: &Tensor,
    inner: &Tensor,
    scale: f64,
    needed: bool,
) -> Result<Tensor> {
    let op = Kronecker {
        scale: scale as f32,
        needed,
    };
    x.contiguous()?
        .apply_op3(&outer.contiguous()?, &inner.contiguous()?, op)
}

struct Kronecker {
    scale: f32,
    needed: bool,
}

#[derive(Clone, Copy)]
struct Sizes {
    outer: (usize, usize),
    inner: (usize, usize),
}

impl Sizes {
    fn of(outer: &Shape, inner: &Shape) -> Result<Self> {
        Ok(Self {
            outer: outer.dims2()?,
            inner: inner.dims2()?,
        })
    }

    fn in_features(self) -> usize {
        self.outer.1 * self.inner.1
    }

    fn out_features(self) -> usize {
        self.outer.0 * self.inner.0
    }

    /// `X inner^T` of all rows: `[rows * outer inputs, inner outputs]`.
    fn through_inner(self, x: &[f32], inner: &[f32]) -> Vec<f32> {
        let height = x.len() / self.inner.1;
        let mut result = vec![0f32; height * self.inner.0];
        MatrixMut::new(&mut result, height, self.inner.0).product(
            MatrixRef::new(x, height, self.inner.1),
            MatrixRef::new(inner, self.inner.0, self.inner.1).t(),
            1.0,
            false,
            Threads::All,
        );
        result
    }

    /// `scale left M` for each row's matrix M of `inner outputs` columns.
    fn through_outer(
        self,
        left: MatrixRef<'_>,
        matrices: &[f32],
        from: usize,
        to: usize,
        scale: f32,
    ) -> Vec<f32> {
        let columns = self.inner.0;
        let rows = matrices.len() / (from * columns);
        let mut result = vec![0f32; rows * to * columns];
        result
            .par_chunks_mut(to * columns)
            .zip(matrices.par_chunks(from * columns))
            .with_min_len(ROWS_MIN)
            .for_each(|(result, matrix)| {
                let matrix = MatrixRef::new(matrix, from, columns);
                MatrixMut::new(result, to, columns).product(
                    left,
                    matrix,
                    scale,
                    false,
                    Threads::One,
                );
            });
        result
    }
}

impl Kronecker {
    /// Gradients for x, outer and inner.
    fn backward(
        &self,
        sizes: Sizes,
        x: &[f32],
        outer: &[f32],
        inner: &[f32],
        gradient: &[f32],
    ) -> [Vec<f32>; 3] {
        let Sizes {
            outer: (outputs, inputs),
            inner: (inner_outputs, inner_inputs),
        } = sizes;
        let outer = MatrixRef::new(outer, outputs, inputs);
        let through = sizes.through_inner(x, inner);
        let for_outer = self.for_outer(sizes, gradient, &through);
        drop(through);

        let height = x.len() / inner_inputs;
        let back = sizes.through_outer(outer.t(), gradient, outputs, inputs, self.scale);
        let back = MatrixRef::new(&back, height, inner_outputs);
        let mut for_inner = vec![0f32; inner.len()];
        MatrixMut::new(&mut for_inner, inner_outputs, inner_inputs).product(
            back.t(),
            MatrixRef::new(x, height, inner_inputs),
            1.0,
            false,
            Threads::All,
        );
        let mut for_x = vec![0f32; x.len()];
        MatrixMut::new(&mut for_x, height, inner_inputs).product(
            back,
            MatrixRef::new(inner, inner_outputs, inner_inputs),
            1.0,
            false,
            Threads::All,
        );
        [for_x, for_outer, for_inner]
    }

    /// The sum over rows of `G (X inner^T)^T`.
    fn for_outer(&self, sizes: Sizes, gradient: &[f32], through: &[f32]) -> Vec<f32> {
        let ((outputs, inputs), columns) = (sizes.outer, sizes.inner.0);
        let sums: Vec<Vec<f32>> = gradient
            .par_chunks(ROWS * outputs * columns)
            .zip(through.par_chunks(ROWS * inputs * columns))
            .map(|(gradient, through)| {
                let mut sum = vec![0f32; outputs * inputs];
                let rows = gradient.chunks(outputs * columns);
                for (gradient, through) in rows.zip(through.chunks(inputs * columns)) {
                    MatrixMut::new(&mut sum, outputs, inputs).product(
                        MatrixRef::new(gradient, outputs, columns),
                        MatrixRef::new(through, inputs, columns).t(),
                        self.scale,
                        true,
                        Threads::One,
                    );
                }
                sum
            })
            .collect();
        sum_of(sums, outputs * inputs)
    }
}

/// The sum of vectors, in their order.
pub(super) fn sum_of(vectors: Vec<Vec<f32>>, length: usize) -> Vec<f32> {
    let mut vectors = vectors.into_iter();
    let mut sum = vectors.next().unwrap_or_else(|| vec![0f32; length]);
    for vector in vectors {
        sum.iter_mut()
            .zip(&vector)
            .for_each(|(sum, value)| *sum += value);
    }
    sum
}

impl CustomOp3 for Kronecker {
    fn name(&self) -> &'static str {
        "kronecker"
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
        let (x, outer, inner) = (
            slice("kronecker", s1, l1)?,
            slice("kronecker", s2, l2)?,
            slice("kronecker", s3, l3)?,
        );
        let sizes = Sizes::of(l2.shape(), l3.shape())?;
        let mut dims = l1.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == sizes.in_features() => *last = sizes.out_features(),
            _ => bail!(
                "kronecker: input {:?} for {} features",
                l1.shape(),
                sizes.in_features()
            ),
        }
        let shape = Shape::from(dims);
        if !self.needed || shape.elem_count() == 0 {
            return Ok((CpuStorage::F32(vec![0f32; shape.elem_count()]), shape));
        }
        let through = sizes.through_inner(x, inner);
        let (outputs, inputs) = sizes.outer;
        let outer = MatrixRef::new(outer, outputs, inputs);
        let y = sizes.through_outer(outer, &through, inputs, outputs, self.scale);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        outer: &Tensor,
        inner: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let sizes = Sizes::of(outer.shape(), inner.shape())?;
        let tensors = [x, outer, inner, &gradient];
        let [for_x, for_outer, for_inner] =
            with_values("kronecker", tensors, |[x, outer, inner, gradient]| {
                Ok(self.backward(sizes, x, outer, inner, gradient))
            })?;
        Ok((
            gradient_for(x, for_x)?,
            gradient_for(outer, for_outer)?,
            gradient_for(inner, for_inner)?,
        ))
    }
}
