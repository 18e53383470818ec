//! The three custom ops of a linear layer.

use super::LoraWeights;
use super::stored::Stored;
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::{PARALLEL_MIN, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `x W^T + b` with a gradient for x alone; zeros with that gradient if the values are not needed.
pub(super) fn frozen(
    x: &Tensor,
    weight: &Stored,
    bias: Option<&Tensor>,
    needed: bool,
) -> Result<Tensor> {
    let base = Base::new(weight, bias)?;
    x.apply_op1(Frozen { base, needed })
}

/// `x W^T + b` with gradients for all three.
pub(super) fn trainable(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let weight = weight.contiguous()?;
    match bias {
        None => x.apply_op2(&weight, Trainable),
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Trainable),
    }
}

/// `base(x) + scale drop(x) A^T B^T` with gradients for x, A and B; without a base only the second part. Zeros with
/// those gradients if the values are not needed.
pub(super) fn adapted(
    x: &Tensor,
    base: Option<(&Stored, Option<&Tensor>)>,
    adapter: &LoraWeights,
    keep: Option<Vec<u8>>,
    needed: bool,
) -> Result<Tensor> {
    let op = Adapted {
        needed,
        base: base
            .map(|(weight, bias)| Base::new(weight, bias))
            .transpose()?,
        scale: adapter.scale as f32,
        dropout: keep.map(|keep| Dropout {
            keep,
            factor: kept_factor(adapter.dropout),
        }),
    };
    x.apply_op3(&adapter.a.contiguous()?, &adapter.b.contiguous()?, op)
}

/// `drop(x)`, with its gradient.
pub(super) fn dropped(x: &Tensor, keep: Vec<u8>, probability: f64) -> Result<Tensor> {
    let factor = kept_factor(probability);
    x.contiguous()?.apply_op1(Dropout { keep, factor })
}

/// What is kept grows by this, so that the expected value stays.
fn kept_factor(probability: f64) -> f32 {
    (1.0 / (1.0 - probability)) as f32
}

/// A frozen weight, captured by the op that uses it.
struct Base {
    weight: Stored,
    bias: Option<Tensor>,
}

impl Base {
    fn new(weight: &Stored, bias: Option<&Tensor>) -> Result<Self> {
        Ok(Self {
            weight: weight.clone(),
            bias: bias.map(Tensor::contiguous).transpose()?,
        })
    }

    fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let rows = x.len() / self.weight.in_features().max(1);
        let mut y = vec![0f32; rows * self.weight.out_features()];
        if let Some(bias) = &self.bias {
            with_values("linear", [bias], |[bias]| {
                fill_rows(&mut y, bias);
                Ok(())
            })?;
        }
        self.weight.forward(&mut y, x, self.bias.is_some())?;
        Ok(y)
    }
}

fn fill_rows(rows: &mut [f32], row: &[f32]) {
    rows.chunks_mut(row.len().max(1))
        .for_each(|target| target.copy_from_slice(row));
}

/// Rows of `x W^T + b`.
fn affine(x: &[f32], weight: &[f32], bias: Option<&[f32]>, in_features: usize) -> Vec<f32> {
    let (rows, out_features) = (x.len() / in_features, weight.len() / in_features);
    let mut y = vec![0f32; rows * out_features];
    if let Some(bias) = bias {
        fill_rows(&mut y, bias);
    }
    MatrixMut::new(&mut y, rows, out_features).product(
        MatrixRef::new(x, rows, in_features),
        MatrixRef::new(weight, out_features, in_features).t(),
        1.0,
        bias.is_some(),
        Threads::All,
    );
    y
}

/// Rows of `gradient W`, the gradient for x.
fn affine_backward(gradient: &[f32], weight: &[f32], in_features: usize) -> Vec<f32> {
    let out_features = weight.len() / in_features;
    let rows = gradient.len() / out_features;
    let mut for_x = vec![0f32; rows * in_features];
    MatrixMut::new(&mut for_x, rows, in_features).product(
        MatrixRef::new(gradient, rows, out_features),
        MatrixRef::new(weight, out_features, in_features),
        1.0,
        false,
        Threads::All,
    );
    for_x
}

fn with_last(shape: &Shape, last: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    if let Some(size) = dims.last_mut() {
        *size = last;
    }
    Shape::from(dims)
}

struct Frozen {
    base: Base,
    needed: bool,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = with_last(layout.shape(), self.base.weight.out_features());
        let y = match self.needed {
            true => self.base.forward(slice("linear", storage, layout)?)?,
            false => vec![0f32; shape.elem_count()],
        };
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = incoming(gradient)?;
        let mut for_x = vec![0f32; x.elem_count()];
        with_values("linear", [&gradient], |[gradient]| {
            self.base.weight.backward(&mut for_x, gradient, false)
        })?;
        gradient_for(x, for_x)
    }
}

struct Trainable;

impl Trainable {
    fn backward(
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (out_features, in_features) = weight.dims2()?;
        let rows = x.elem_count() / in_features.max(1);
        let (mut for_x, mut for_weight) = (None, None);
        if x.track_op() {
            let values = with_values("linear", [gradient, weight], |[gradient, weight]| {
                Ok(affine_backward(gradient, weight, in_features))
            })?;
            for_x = gradient_for(x, values)?;
        }
        if weight.track_op() {
            let mut values = vec![0f32; weight.elem_count()];
            with_values("linear", [gradient, x], |[gradient, x]| {
                let (left, right) = (
                    MatrixRef::new(gradient, rows, out_features).t(),
                    MatrixRef::new(x, rows, in_features),
                );
                MatrixMut::new(&mut values, out_features, in_features).product(
                    left,
                    right,
                    1.0,
                    false,
                    Threads::All,
                );
                Ok(())
            })?;
            for_weight = gradient_for(weight, values)?;
        }
        Ok((for_x, for_weight))
    }
}

impl CustomOp2 for Trainable {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = affine(
            slice("linear", s1, l1)?,
            slice("linear", s2, l2)?,
            None,
            l2.dims()[1],
        );
        Ok((CpuStorage::F32(y), with_last(l1.shape(), l2.dims()[0])))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::backward(x, weight, &incoming(gradient)?)
    }
}

impl CustomOp3 for Trainable {
    fn name(&self) -> &'static str {
        "linear"
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
        let (x, weight) = (slice("linear", s1, l1)?, slice("linear", s2, l2)?);
        let y = affine(x, weight, Some(slice("linear", s3, l3)?), l2.dims()[1]);
        Ok((CpuStorage::F32(y), with_last(l1.shape(), l2.dims()[0])))
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
        let (for_x, for_weight) = Self::backward(x, weight, &gradient)?;
        let for_bias = match bias.track_op() {
            true => Some(gradient.reshape(((), bias.dims1()?))?.sum(0)?),
            false => None,
        };
        Ok((for_x, for_weight, for_bias))
    }
}

struct Dropout {
    keep: Vec<u8>,
    factor: f32,
}

impl Dropout {
    fn apply(&self, values: &mut [f32]) {
        let pieces = values
            .par_chunks_mut(PARALLEL_MIN)
            .zip(self.keep.par_chunks(PARALLEL_MIN));
        pieces.for_each(|(values, keep)| {
            vectorized(|| {
                for (value, &keep) in values.iter_mut().zip(keep) {
                    *value *= f32::from(keep) * self.factor;
                }
            });
        });
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut values = slice("dropout", storage, layout)?.to_vec();
        self.apply(&mut values);
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = incoming(gradient)?;
        let mut for_x = with_values("dropout", [&gradient], |[gradient]| Ok(gradient.to_vec()))?;
        self.apply(&mut for_x);
        gradient_for(x, for_x)
    }
}

struct Adapted {
    needed: bool,
    base: Option<Base>,
    scale: f32,
    dropout: Option<Dropout>,
}

impl Adapted {
    /// `drop(x)`, borrowed when nothing is dropped.
    fn dropped<'a>(&self, x: &'a [f32]) -> std::borrow::Cow<'a, [f32]> {
        match &self.dropout {
            None => x.into(),
            Some(dropout) => {
                let mut values = x.to_vec();
                dropout.apply(&mut values);
                values.into()
            }
        }
    }

    fn backward(
        &self,
        sizes: Sizes,
        x: &[f32],
        a: &[f32],
        b: &[f32],
        upstream: &[f32],
    ) -> Result<Gradients> {
        let Sizes {
            rows,
            in_features,
            out_features,
            rank,
        } = sizes;
        let dropped = self.dropped(x);
        let (dropped, gradient) = (
            MatrixRef::new(&dropped, rows, in_features),
            MatrixRef::new(upstream, rows, out_features),
        );
        let (a, b) = (
            MatrixRef::new(a, rank, in_features),
            MatrixRef::new(b, out_features, rank),
        );
        let all = Threads::All;

        let mut low = vec![0f32; rows * rank];
        MatrixMut::new(&mut low, rows, rank).product(dropped, a.t(), 1.0, false, all);
        let mut for_b = vec![0f32; out_features * rank];
        let low = MatrixRef::new(&low, rows, rank);
        MatrixMut::new(&mut for_b, out_features, rank).product(
            gradient.t(),
            low,
            self.scale,
            false,
            all,
        );

        let mut for_low = vec![0f32; rows * rank];
        MatrixMut::new(&mut for_low, rows, rank).product(gradient, b, self.scale, false, all);
        let for_low = MatrixRef::new(&for_low, rows, rank);
        let mut for_a = vec![0f32; rank * in_features];
        MatrixMut::new(&mut for_a, rank, in_features).product(
            for_low.t(),
            dropped,
            1.0,
            false,
            all,
        );

        let mut for_x = vec![0f32; rows * in_features];
        MatrixMut::new(&mut for_x, rows, in_features).product(for_low, a, 1.0, false, all);
        if let Some(dropout) = &self.dropout {
            dropout.apply(&mut for_x);
        }
        if let Some(base) = &self.base {
            base.weight.backward(&mut for_x, upstream, true)?;
        }
        Ok(Gradients {
            x: for_x,
            a: for_a,
            b: for_b,
        })
    }
}

struct Sizes {
    rows: usize,
    in_features: usize,
    out_features: usize,
    rank: usize,
}

struct Gradients {
    x: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "lora-linear"
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
        let (x, a, b) = (
            slice("lora-linear", s1, l1)?,
            slice("lora-linear", s2, l2)?,
            slice("lora-linear", s3, l3)?,
        );
        let ((rank, in_features), out_features) = (l2.shape().dims2()?, l3.dims()[0]);
        let rows = x.len() / in_features;
        let shape = with_last(l1.shape(), out_features);
        if !self.needed {
            return Ok((CpuStorage::F32(vec![0f32; shape.elem_count()]), shape));
        }
        let mut y = match &self.base {
            Some(base) => base.forward(x)?,
            None => vec![0f32; rows * out_features],
        };
        let low = affine(&self.dropped(x), a, None, in_features);
        MatrixMut::new(&mut y, rows, out_features).product(
            MatrixRef::new(&low, rows, rank),
            MatrixRef::new(b, out_features, rank).t(),
            self.scale,
            true,
            Threads::All,
        );
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let ((rank, in_features), out_features) = (a.dims2()?, b.dim(0)?);
        let sizes = Sizes {
            rows: x.elem_count() / in_features,
            in_features,
            out_features,
            rank,
        };
        let found = with_values(
            "lora-linear",
            [x, a, b, &gradient],
            |[x, a, b, gradient]| self.backward(sizes, x, a, b, gradient),
        )?;
        Ok((
            gradient_for(x, found.x)?,
            gradient_for(a, found.a)?,
            gradient_for(b, found.b)?,
        ))
    }
}
