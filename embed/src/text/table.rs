//! A table of embeddings, one row for each number.

use candle_core::{DType, Tensor};
use nn::{Scope, WeightPrecision};

use crate::EmbedError;

/// `[rows, width]`, in 16 bits where the weights are to be kept in fewer than 32.
#[derive(Debug)]
pub(super) struct Table(Tensor);

impl Table {
    pub(super) fn load(scope: &Scope, rows: usize, width: usize) -> Result<Self, EmbedError> {
        let precision = match scope.weights().precision() {
            WeightPrecision::F32 => DType::F32,
            WeightPrecision::Bf16 => DType::BF16,
            // Rows are looked up, not multiplied: fewer bits would save little beside the 16 of the largest table.
            WeightPrecision::F16 | WeightPrecision::Int8 | WeightPrecision::Nf4 => DType::F16,
        };
        Ok(Self(
            scope.get("weight", &[rows, width])?.to_dtype(precision)?,
        ))
    }

    /// Rows by number, `[batch, length]` to `[batch, length, width]`.
    pub(super) fn rows(&self, numbers: &Tensor) -> Result<Tensor, EmbedError> {
        let (batch, length) = numbers.dims2()?;
        let rows = self
            .0
            .index_select(&numbers.flatten_all()?, 0)?
            .to_dtype(DType::F32)?;
        Ok(rows.reshape((batch, length, self.0.dim(1)?))?)
    }
}
