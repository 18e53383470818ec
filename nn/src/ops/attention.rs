//! Scaled dot-product attention with a backward that recomputes the weights: they are never stored, so memory grows
//! with the number of frames and not with its square.
//!
//! Heads lie one after another in the last dimension, as projections produce and consume them: no transposed copies.

use super::softmax::softmax_row;
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::{dot, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Query frames whose weights are in memory at a time, for each thread.
const TILE_FRAMES: usize = 256;

/// `softmax(q k^T / sqrt(head_dim)) v` for every head; with `causal`, a frame sees itself and earlier frames only.
///
/// # Shapes
/// `q`: `[batch, frames, heads * head_dim]`; `k`, `v`: `[batch, key_frames, heads * head_dim]`; result: as `q`.
///
/// # Errors
/// When the shapes do not fit, or a causal call has `frames != key_frames`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, causal: bool) -> Result<Tensor> {
    let ((batch, frames, features), (key_batch, key_frames, key_features)) =
        (q.dims3()?, k.dims3()?);
    if heads == 0
        || features % heads != 0
        || key_features != features
        || key_batch != batch
        || k.dims() != v.dims()
        || key_frames == 0
        || causal && key_frames != frames
    {
        bail!(
            "attention: {heads} heads (causal: {causal}) with q {:?}, k {:?}, v {:?}",
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    let op = Attention {
        heads,
        frames,
        key_frames,
        head_dim: features / heads,
        causal,
    };
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

#[derive(Clone, Copy)]
struct Attention {
    heads: usize,
    frames: usize,
    key_frames: usize,
    head_dim: usize,
    causal: bool,
}

/// One head of one item: its queries, keys and values.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

impl Attention {
    fn row(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn head<'a>(
        &self,
        q: &'a [f32],
        k: &'a [f32],
        v: &'a [f32],
        item: usize,
        head: usize,
    ) -> Head<'a> {
        Head {
            q: self.start(q, self.frames, item, head),
            k: self.start(k, self.key_frames, item, head),
            v: self.start(v, self.key_frames, item, head),
        }
    }

    /// Values from a head's first one on.
    fn start<'a>(&self, values: &'a [f32], frames: usize, item: usize, head: usize) -> &'a [f32] {
        &values[item * frames * self.row() + head * self.head_dim..]
    }

    /// Some frames of a head, `[frames, head_dim]`, given its values from the first one on.
    fn rows<'a>(&self, values: &'a [f32], frames: Range<usize>) -> MatrixRef<'a> {
        MatrixRef::strided(
            &values[frames.start * self.row()..],
            frames.len(),
            self.head_dim,
            self.row(),
        )
    }

    /// Equal tiles of query frames.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let size = self
            .frames
            .div_ceil(self.frames.div_ceil(TILE_FRAMES).max(1))
            .max(1);
        let frames = self.frames;
        (0..frames)
            .step_by(size)
            .map(move |first| first..(first + size).min(frames))
    }

    /// How many key frames the queries of a tile can see.
    fn visible(&self, tile: &Range<usize>) -> usize {
        if self.causal {
            tile.end
        } else {
            self.key_frames
        }
    }

    /// Writes the attention weights of a tile, `[tile, visible]`.
    fn weights(&self, head: Head<'_>, tile: &Range<usize>, weights: &mut Vec<f32>) {
        let visible = self.visible(tile);
        weights.resize(tile.len() * visible, 0.0);
        let (queries, keys) = (
            self.rows(head.q, tile.clone()),
            self.rows(head.k, 0..visible),
        );
        MatrixMut::new(weights, tile.len(), visible).product(
            queries,
            keys.t(),
            self.scale(),
            false,
            Threads::One,
        );
        let (causal, first) = (self.causal, tile.start);
        vectorized(|| {
            for (number, row) in weights.chunks_exact_mut(visible).enumerate() {
                let seen = if causal { first + number + 1 } else { visible };
                softmax_row(&mut row[..seen]);
                row[seen..].fill(0.0);
            }
        });
    }

    fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let mut result = vec![0f32; q.len()];
        let heads = self.split(&mut result, self.frames);
        heads
            .into_par_iter()
            .for_each_init(Vec::new, |weights, (item, number, result)| {
                let head = self.head(q, k, v, item, number);
                let mut result = result.into_rows();
                for tile in self.tiles() {
                    self.weights(head, &tile, weights);
                    let visible = self.visible(&tile);
                    let left = MatrixRef::new(weights, tile.len(), visible);
                    let values = self.rows(head.v, 0..visible);
                    result
                        .next_rows(tile.len())
                        .product(left, values, 1.0, false, Threads::One);
                }
            });
        result
    }

    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
        let mut for_q = vec![0f32; q.len()];
        let (mut for_k, mut for_v) = (vec![0f32; k.len()], vec![0f32; v.len()]);
        let targets: Vec<_> = self
            .split(&mut for_q, self.frames)
            .into_iter()
            .zip(self.split(&mut for_k, self.key_frames))
            .zip(self.split(&mut for_v, self.key_frames))
            .collect();
        targets.into_par_iter().for_each_init(
            || (Vec::new(), Vec::new()),
            |(weights, slopes), (((item, number, for_q), (_, _, for_k)), (_, _, for_v))| {
                let head = self.head(q, k, v, item, number);
                let gradient = self.start(gradient, self.frames, item, number);
                let mut for_q = for_q.into_rows();
                let (mut for_k, mut for_v) = (for_k, for_v);
                for tile in self.tiles() {
                    let visible = self.visible(&tile);
                    self.weights(head, &tile, weights);
                    let gradient = self.rows(gradient, tile.clone());
                    self.slopes(head, &tile, weights, gradient, slopes);
                    let weights = MatrixRef::new(weights, tile.len(), visible);
                    let slopes = MatrixRef::new(slopes, tile.len(), visible);
                    let (queries, keys) = (
                        self.rows(head.q, tile.clone()),
                        self.rows(head.k, 0..visible),
                    );
                    for_q
                        .next_rows(tile.len())
                        .product(slopes, keys, 1.0, false, Threads::One);
                    for_k
                        .first_rows(visible)
                        .product(slopes.t(), queries, 1.0, true, Threads::One);
                    for_v.first_rows(visible).product(
                        weights.t(),
                        gradient,
                        1.0,
                        true,
                        Threads::One,
                    );
                }
            },
        );
        [for_q, for_k, for_v]
    }

    /// Writes the gradient for `q k^T` of a tile: `weight (dweight - sum over keys of weight dweight) scale`.
    fn slopes(
        &self,
        head: Head<'_>,
        tile: &Range<usize>,
        weights: &[f32],
        gradient: MatrixRef<'_>,
        slopes: &mut Vec<f32>,
    ) {
        let (visible, scale) = (self.visible(tile), self.scale());
        slopes.resize(tile.len() * visible, 0.0);
        let values = self.rows(head.v, 0..visible);
        MatrixMut::new(slopes, tile.len(), visible).product(
            gradient,
            values.t(),
            1.0,
            false,
            Threads::One,
        );
        vectorized(|| {
            let rows = slopes
                .chunks_exact_mut(visible)
                .zip(weights.chunks_exact(visible));
            for (slopes, weights) in rows {
                let along = dot(weights, slopes);
                for (slope, weight) in slopes.iter_mut().zip(weights) {
                    *slope = weight * (*slope - along) * scale;
                }
            }
        });
    }

    /// `[batch, frames, heads * head_dim]` as matrices `[frames, head_dim]`, with item and head.
    fn split<'a>(
        &self,
        values: &'a mut [f32],
        frames: usize,
    ) -> Vec<(usize, usize, MatrixMut<'a>)> {
        if values.is_empty() {
            return Vec::new();
        }
        let row = self.row();
        values
            .chunks_mut(frames * row)
            .enumerate()
            .flat_map(|(item, values)| {
                let heads = MatrixMut::new(values, frames, row).column_blocks(self.head_dim);
                heads
                    .into_iter()
                    .enumerate()
                    .map(move |(head, (_, block))| (item, head, block))
            })
            .collect()
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
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
        let name = "attention";
        let (q, k, v) = (
            slice(name, s1, l1)?,
            slice(name, s2, l2)?,
            slice(name, s3, l3)?,
        );
        Ok((CpuStorage::F32(self.forward(q, k, v)), l1.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = incoming(gradient)?;
        let [for_q, for_k, for_v] =
            with_values("attention", [q, k, v, &gradient], |[q, k, v, gradient]| {
                Ok(self.backward(q, k, v, gradient))
            })?;
        Ok((
            gradient_for(q, for_q)?,
            gradient_for(k, for_k)?,
            gradient_for(v, for_v)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::softmax;
    use testing::{assert_close, assert_gradients, pseudo_random};

    /// Composed of stock products, which are correct, and a mask.
    fn reference(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, causal: bool) -> Result<Tensor> {
        let (batch, frames, features) = q.dims3()?;
        let key_frames = k.dim(1)?;
        let split = |x: &Tensor, frames| {
            x.reshape((batch, frames, heads, features / heads))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (
            split(q, frames)?,
            split(k, key_frames)?,
            split(v, key_frames)?,
        );
        let scores =
            (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / ((features / heads) as f64).sqrt())?;
        let mask: Vec<f32> = (0..frames * key_frames)
            .map(|place| {
                if causal && place % key_frames > place / key_frames {
                    -1e9
                } else {
                    0.0
                }
            })
            .collect();
        let mask = Tensor::from_vec(mask, (1, 1, frames, key_frames), q.device())?;
        let weights = softmax(&scores.broadcast_add(&mask)?)?;
        weights
            .matmul(&v)?
            .transpose(1, 2)?
            .reshape((batch, frames, features))
    }

    fn arguments(batch: usize, frames: usize, key_frames: usize, features: usize) -> [Tensor; 3] {
        let wide = |frames, seed| (pseudo_random((batch, frames, features), seed) * 2.0).unwrap();
        [wide(frames, 1), wide(key_frames, 2), wide(key_frames, 3)]
    }

    #[test]
    fn matches_the_formula() {
        let cases = [
            (1, 1, 1, 4, 1),
            (2, 7, 7, 12, 3),
            (1, 300, 300, 8, 2),
            (2, 600, 600, 4, 1),
            (2, 5, 9, 12, 2),
        ];
        for (batch, frames, key_frames, features, heads) in cases {
            for causal in [false, true] {
                if causal && frames != key_frames {
                    continue;
                }
                let [q, k, v] = arguments(batch, frames, key_frames, features);
                let found = attention(&q, &k, &v, heads, causal).unwrap();
                let expected = reference(&q, &k, &v, heads, causal).unwrap();
                assert_close(
                    &format!("{frames} frames, causal {causal}"),
                    &found,
                    &expected,
                    2e-6,
                );
            }
        }
    }

    #[test]
    fn gradients() {
        for (batch, frames, key_frames, features, heads) in
            [(1, 1, 1, 2, 1), (2, 5, 5, 6, 2), (1, 3, 4, 6, 3)]
        {
            for causal in [false, true] {
                if causal && frames != key_frames {
                    continue;
                }
                let arguments = arguments(batch, frames, key_frames, features);
                assert_gradients("attention", &arguments, |t| {
                    attention(&t[0], &t[1], &t[2], heads, causal)
                });
            }
        }
    }

    #[test]
    fn gradients_over_several_tiles_match_the_composed_form() {
        for causal in [false, true] {
            let arguments =
                arguments(2, 530, 530, 8).map(|t| candle_core::Var::from_tensor(&t).unwrap());
            let [q, k, v] = &arguments;
            let weights = pseudo_random((2, 530, 8), 4);
            let gradients = |y: Tensor| {
                (y * &weights)
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
                    .unwrap()
            };
            let found = gradients(attention(q, k, v, 2, causal).unwrap());
            let expected = gradients(reference(q, k, v, 2, causal).unwrap());
            for (name, var) in ["q", "k", "v"].iter().zip(&arguments) {
                assert_close(
                    name,
                    found.get(var).unwrap(),
                    expected.get(var).unwrap(),
                    1e-5,
                );
            }
        }
    }

    #[test]
    fn causal_frames_do_not_see_the_future() {
        let [q, k, v] = arguments(1, 6, 6, 4);
        let cut = |t: &Tensor| t.narrow(1, 0, 4).unwrap();
        let whole = attention(&q, &k, &v, 2, true).unwrap();
        let part = attention(&cut(&q), &cut(&k), &cut(&v), 2, true).unwrap();
        assert_close("early frames", &part, &cut(&whole), 1e-6);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let [q, k, v] = arguments(1, 5, 9, 12);
        assert!(attention(&q, &k, &v, 5, false).is_err());
        assert!(attention(&q, &k, &v, 2, true).is_err());
        assert!(attention(&q, &k, &q, 2, false).is_err());
    }
}
