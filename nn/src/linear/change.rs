//! Changes of a weight that are more than a low-rank product: Kronecker products (LoKr, Yeh et al. 2023, arXiv:2309.14859)
//! and magnitudes (DoRA, Liu et al. 2024, arXiv:2402.09353). Everything is composed of stock products, so that it runs on
//! any device; the changed weight itself is never made but for merging.
//!
//! With `V = W + scale D` and `norm` over the inputs (or the outputs), the changed weight is `W' = V`, or
//! `W' = magnitude / norm(V) V`. At a strength s the layer's weight is `W + s (W' - W)`; changes of one layer are each
//! taken from the same W and add up.

use crate::interval::TimeInterval;
use candle_core::{DType, Result, Tensor, bail};

/// The direction that a weight is moved in.
#[derive(Clone, Debug)]
pub enum Delta {
    /// `B A`.
    LowRank {
        /// `[rank, in_features]`.
        a: Tensor,
        /// `[out_features, rank]`.
        b: Tensor,
    },
    /// The Kronecker product of two smaller matrices.
    Kronecker {
        /// `[outer outputs, outer inputs]`.
        outer: Tensor,
        /// `[inner outputs, inner inputs]`.
        inner: Tensor,
    },
}

impl Delta {
    /// `(out_features, in_features)` of the weight that it changes.
    ///
    /// # Errors
    /// When the parts are not matrices that belong together.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::LowRank { a, b } => {
                let ((rank, inputs), (outputs, b_rank)) = (a.dims2()?, b.dims2()?);
                if rank != b_rank {
                    bail!(
                        "A {:?} and B {:?} are not of one rank",
                        a.shape(),
                        b.shape()
                    );
                }
                Ok((outputs, inputs))
            }
            Self::Kronecker { outer, inner } => {
                let (outer, inner) = (outer.dims2()?, inner.dims2()?);
                match (outer.0.checked_mul(inner.0), outer.1.checked_mul(inner.1)) {
                    (Some(outputs), Some(inputs)) => Ok((outputs, inputs)),
                    _ => bail!("the Kronecker product of {outer:?} and {inner:?} is too large"),
                }
            }
        }
    }

    /// The whole matrix, `[out_features, in_features]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn matrix(&self) -> Result<Tensor> {
        match self {
            Self::LowRank { a, b } => b.detach().matmul(&a.detach()),
            Self::Kronecker { outer, inner } => {
                let ((rows, columns), (inner_rows, inner_columns)) =
                    (outer.dims2()?, inner.dims2()?);
                let outer = outer.detach().reshape((rows, 1, columns, 1))?;
                let inner = inner.detach().reshape((1, inner_rows, 1, inner_columns))?;
                let product = outer.broadcast_mul(&inner)?;
                product.reshape((rows * inner_rows, columns * inner_columns))
            }
        }
    }

    /// Its product with the rows of `x` `[rows, in_features]`: `[rows, out_features]`.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::LowRank { a, b } => x.matmul(&a.t()?)?.matmul(&b.t()?),
            Self::Kronecker { outer, inner } => {
                let rows = x.dims2()?.0;
                let ((outputs, inputs), (inner_outputs, inner_inputs)) =
                    (outer.dims2()?, inner.dims2()?);
                let x = x.reshape((rows * inputs, inner_inputs))?;
                let x = x.matmul(&inner.t()?)?;
                let x = x.reshape((rows, inputs, inner_outputs))?;
                let x = x.transpose(1, 2)?.contiguous()?;
                let x = x.reshape((rows * inner_outputs, inputs))?;
                let y = x.matmul(&outer.t()?)?;
                let y = y.reshape((rows, inner_outputs, outputs))?;
                let y = y.transpose(1, 2)?.contiguous()?;
                y.reshape((rows, outputs * inner_outputs))
            }
        }
    }
}

/// Lengths that the changed weight's rows or columns are brought to.
#[derive(Clone, Debug)]
pub enum Magnitude {
    /// A length for each output `[out_features]`, as PEFT and LyCORIS have it.
    OfOutputs(Tensor),
    /// A length for each input `[in_features]`, as the paper has it.
    OfInputs(Tensor),
}

/// A change of a layer's weight.
#[derive(Clone, Debug)]
pub struct WeightChange {
    /// The direction.
    pub delta: Delta,
    /// Its factor, such as alpha / rank.
    pub scale: f64,
    /// What the changed weight's rows or columns are brought to; none leaves them as they come.
    pub magnitude: Option<Magnitude>,
    /// 0: the base, 1: as trained.
    pub strength: f64,
}

impl WeightChange {
    /// `W' - W` for a weight `[out_features, in_features]`, without the strength.
    ///
    /// # Errors
    /// When the shapes do not fit, or candle fails.
    pub fn difference(&self, weight: &Tensor) -> Result<Tensor> {
        let delta = (self.delta.matrix()? * self.scale)?;
        let Some(magnitude) = &self.magnitude else {
            return Ok(delta);
        };
        let moved = (weight + delta)?;
        let gain = gain(&moved, magnitude)?;
        moved.broadcast_mul(&gain)? - weight
    }

    /// A difference of shapes in words, if there is one.
    fn misfit(&self, out_features: usize, in_features: usize) -> Result<Option<String>> {
        let found = self.delta.dims()?;
        if found != (out_features, in_features) {
            return Ok(Some(format!("a change of a {found:?} weight")));
        }
        let (length, expected) = match &self.magnitude {
            None => return Ok(None),
            Some(Magnitude::OfOutputs(values)) => (values.dims1()?, out_features),
            Some(Magnitude::OfInputs(values)) => (values.dims1()?, in_features),
        };
        Ok((length != expected).then(|| format!("{length} magnitudes for {expected}")))
    }
}

/// A change on a layer, with what is computed once when it is attached.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub(super) change: WeightChange,
    pub(super) times: TimeInterval,
    /// `magnitude / norm(V)`, `[1, out_features]` or `[1, in_features]`.
    gain: Option<Tensor>,
}

impl Attached {
    pub(super) fn new(
        change: WeightChange,
        times: TimeInterval,
        weight: impl FnOnce() -> Result<Tensor>,
        dims: (usize, usize),
    ) -> Result<Self> {
        if let Some(misfit) = change.misfit(dims.0, dims.1)? {
            bail!("{misfit} for a layer of {} to {} features", dims.1, dims.0);
        }
        if !change.scale.is_finite() || !change.strength.is_finite() {
            bail!(
                "a change of scale {} and strength {}",
                change.scale,
                change.strength
            );
        }
        let gain = match &change.magnitude {
            None => None,
            Some(magnitude) => {
                let moved = (weight()? + (change.delta.matrix()? * change.scale)?)?;
                let gain = gain(&moved, magnitude)?;
                Some(gain.reshape((1, gain.elem_count()))?)
            }
        };
        Ok(Self {
            change,
            times,
            gain,
        })
    }

    /// What it adds to the layer's output. `x`: `[rows, in_features]`; `product`: rows of `x W^T`, the layer without its
    /// bias; result: `[rows, out_features]`.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        product: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let WeightChange {
            delta,
            scale,
            magnitude,
            strength,
        } = &self.change;
        let added = match (magnitude, &self.gain) {
            (Some(Magnitude::OfOutputs(_)), Some(gain)) => {
                let base = product(x)?.broadcast_mul(&(gain - 1.0)?)?;
                (base + (delta.apply(x)?.broadcast_mul(gain)? * *scale)?)?
            }
            (Some(Magnitude::OfInputs(_)), Some(gain)) => {
                let base = product(&x.broadcast_mul(&(gain - 1.0)?)?)?;
                (base + (delta.apply(&x.broadcast_mul(gain)?)? * *scale)?)?
            }
            _ => (delta.apply(x)? * *scale)?,
        };
        added * *strength
    }
}

/// `magnitude / norm(moved)` as a column or a row; where the norm is zero there is nothing to bring to a length.
fn gain(moved: &Tensor, magnitude: &Magnitude) -> Result<Tensor> {
    let (values, dimension) = match magnitude {
        Magnitude::OfOutputs(values) => (values.unsqueeze(1)?, 1),
        Magnitude::OfInputs(values) => (values.unsqueeze(0)?, 0),
    };
    // In f64: rows are long, and the norm of each decides over all of its weights.
    let moved = moved.detach().to_dtype(DType::F64)?;
    let norms = moved.sqr()?.sum_keepdim(dimension)?.sqrt()?;
    let there = norms.gt(0.0)?.to_dtype(DType::F64)?;
    let divisor = (norms + (1.0 - &there)?)?;
    let values = (values.detach().to_dtype(DType::F64)? * there)?;
    (values / divisor)?.to_dtype(DType::F32)
}
