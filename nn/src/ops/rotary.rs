//! Rotary position embedding (Su et al. 2021, "RoFormer"), in the half-split form of Llama: the first half of each
//! head's rotated features pairs with the second. All features are rotated, or the first ones only.

use super::composed;
use crate::simd::vectorized;
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Cosines and sines of every frame's angles; cheap to clone.
#[derive(Clone, Debug)]
pub struct RotaryTable(Arc<Table>);

#[derive(Debug)]
struct Table {
    frames: usize,
    head_dim: usize,
    /// Features of a head that are rotated, from its first on.
    rotated: usize,
    /// `[frames, rotated / 2]`
    cosines: Vec<f32>,
    /// `[frames, rotated / 2]`
    sines: Vec<f32>,
}

impl RotaryTable {
    /// Angles `frame * theta^(-2 i / head_dim)`, all computed in f32 as the reference does.
    ///
    /// # Errors
    /// When `head_dim` is odd or zero.
    pub fn new(frames: usize, head_dim: usize, theta: f64) -> Result<Self> {
        Self::partial(frames, head_dim, head_dim, theta)
    }

    /// Angles for the first `rotated` features of each head, `frame * theta^(-2 i / rotated)`; the others stay.
    ///
    /// # Errors
    /// When `rotated` is odd, zero or more than `head_dim`.
    pub fn partial(frames: usize, head_dim: usize, rotated: usize, theta: f64) -> Result<Self> {
        if rotated == 0 || !rotated.is_multiple_of(2) || rotated > head_dim {
            bail!("rotary: {rotated} of {head_dim} features cannot be rotated in pairs");
        }
        let frequencies: Vec<f32> = (0..rotated / 2)
            .map(|index| 1.0 / (theta as f32).powf((2 * index) as f32 / rotated as f32))
            .collect();
        let angles: Vec<f32> = (0..frames)
            .flat_map(|frame| {
                frequencies
                    .iter()
                    .map(move |frequency| frame as f32 * frequency)
            })
            .collect();
        Ok(Self(Arc::new(Table {
            frames,
            head_dim,
            rotated,
            cosines: angles.iter().map(|angle| angle.cos()).collect(),
            sines: angles.iter().map(|angle| angle.sin()).collect(),
        })))
    }
}

impl RotaryTable {
    /// Features of a head, and how many of them are rotated.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.0.head_dim, self.0.rotated)
    }

    /// Cosines and sines of the first frames, each `[1, frames, 1, rotated / 2]`.
    pub(super) fn tensors(&self, frames: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        let half = self.0.rotated / 2;
        let tensor = |values: &[f32]| {
            Tensor::from_slice(&values[..frames * half], (1, frames, 1, half), device)
        };
        Ok((tensor(&self.0.cosines)?, tensor(&self.0.sines)?))
    }
}

/// Rotates every head's feature pairs by its frame's angles.
///
/// # Shapes
/// `x`: `[batch, frames, heads * head_dim]`, heads one after another as a projection produces them; the table must
/// hold at least as many frames.
///
/// # Errors
/// When the table does not fit.
pub fn rotary(x: &Tensor, table: &RotaryTable) -> Result<Tensor> {
    let (_, frames, features) = x.dims3()?;
    if frames > table.0.frames || features % table.0.head_dim != 0 {
        bail!(
            "rotary: a table of {} frames and heads of {} for input {:?}",
            table.0.frames,
            table.0.head_dim,
            x.shape()
        );
    }
    if !x.device().is_cpu() {
        return composed::rotary(x, table);
    }
    x.contiguous()?.apply_op1(Rotary(table.clone()))
}

struct Rotary(RotaryTable);

impl Rotary {
    /// Rotates by the angles times `direction`, 1 or -1.
    fn rotate(&self, x: &[f32], (frames, features): (usize, usize), direction: f32) -> Vec<f32> {
        let table = &*self.0.0;
        let half = table.rotated / 2;
        let mut y = vec![0f32; x.len()];
        let rows = y
            .par_chunks_mut(features)
            .zip(x.par_chunks(features))
            .with_min_len(16)
            .enumerate();
        rows.for_each(|(row, (y, x))| {
            let place = row % frames * half..(row % frames + 1) * half;
            let (cosines, sines) = (&table.cosines[place.clone()], &table.sines[place]);
            vectorized(|| {
                let heads = y.chunks_exact_mut(table.head_dim);
                for (y, x) in heads.zip(x.chunks_exact(table.head_dim)) {
                    let ((y, y_rest), (x, x_rest)) =
                        (y.split_at_mut(2 * half), x.split_at(2 * half));
                    y_rest.copy_from_slice(x_rest);
                    let ((y_first, y_second), (x_first, x_second)) =
                        (y.split_at_mut(half), x.split_at(half));
                    let targets = y_first.iter_mut().zip(y_second);
                    let sources = x_first.iter().zip(x_second).zip(cosines.iter().zip(sines));
                    for ((first, second), ((a, b), (cosine, sine))) in targets.zip(sources) {
                        *first = a * cosine - b * sine * direction;
                        *second = b * cosine + a * sine * direction;
                    }
                }
            });
        });
        y
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, frames, features) = layout.shape().dims3()?;
        let y = self.rotate(slice("rotary", storage, layout)?, (frames, features), 1.0);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// A rotation's transpose is its inverse.
    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, frames, features) = x.dims3()?;
        let for_x = with_values("rotary", [&incoming(gradient)?], |[gradient]| {
            Ok(self.rotate(gradient, (frames, features), -1.0))
        })?;
        gradient_for(x, for_x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{assert_close, assert_gradients, pseudo_random};

    #[test]
    fn matches_the_formula() {
        let (batch, frames, heads, head_dim) = (2, 5, 3, 6);
        let x = pseudo_random((batch, frames, heads * head_dim), 1);
        let values: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        for rotated in [6, 4, 2] {
            let half = rotated / 2;
            let mut expected = Vec::new();
            for (place, &value) in values.iter().enumerate() {
                let (index, frame) = (place % head_dim, place / (heads * head_dim) % frames);
                let exponent = -2.0 * (index % half) as f64 / rotated as f64;
                let angle = frame as f64 * 1e4f64.powf(exponent);
                let turned = match index {
                    index if index < half => -values[place + half],
                    index if index < rotated => values[place - half],
                    _ => {
                        expected.push(value);
                        continue;
                    }
                };
                let sum = f64::from(value) * angle.cos() + f64::from(turned) * angle.sin();
                expected.push(sum as f32);
            }
            let expected = Tensor::from_vec(expected, x.shape(), x.device()).unwrap();
            let table = RotaryTable::partial(9, head_dim, rotated, 1e4).unwrap();
            let found = rotary(&x, &table).unwrap();
            assert_close(&format!("{rotated} of 6"), &found, &expected, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        for (batch, frames, heads, head_dim, rotated) in [
            (1, 1, 1, 2, 2),
            (2, 3, 2, 4, 4),
            (1, 7, 1, 6, 6),
            (2, 3, 2, 5, 2),
        ] {
            let table = RotaryTable::partial(frames, head_dim, rotated, 1e4).unwrap();
            assert_gradients(
                "rotary",
                &[pseudo_random((batch, frames, heads * head_dim), 1)],
                |t| rotary(&t[0], &table),
            );
        }
    }

    #[test]
    fn a_short_table_is_an_error() {
        let x = pseudo_random((1, 5, 4), 1);
        assert!(rotary(&x, &RotaryTable::new(4, 4, 1e4).unwrap()).is_err());
        assert!(RotaryTable::new(4, 3, 1e4).is_err());
        assert!(RotaryTable::partial(4, 4, 6, 1e4).is_err());
    }
}
