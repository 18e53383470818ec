//! Scaled dot-product attention with a backward that recomputes the weights: they are never stored, so memory grows
//! with the number of frames and not with its square.
//!
//! Heads lie one after another in the last dimension, as projections produce and consume them: no transposed copies.

use super::composed;
use super::softmax::softmax_row;
use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::simd::{dot, maximum, vectorized};
use crate::storage::{gradient_for, incoming, slice, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Query frames whose weights are in memory at a time, for each thread.
const TILE_FRAMES: usize = 256;

/// Heads and visibility of [`attention`].
#[derive(Clone, Debug)]
pub struct AttentionOptions {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: each serves as many consecutive query heads (Ainslie et al. 2023,
    /// "GQA").
    pub key_heads: usize,
    /// Which keys a query sees.
    pub mask: Mask,
}

/// Which keys a query sees.
#[derive(Clone, Debug, Default)]
pub enum Mask {
    /// All of them.
    #[default]
    None,
    /// Its own frame and earlier ones.
    Causal,
    /// The keys marked 1 in `[batch, key_frames]`, u8. An item without any is answered with zeros.
    Keys(Tensor),
}

impl AttentionOptions {
    /// As many key heads as query heads, every key visible.
    pub fn new(heads: usize) -> Self {
        Self {
            heads,
            key_heads: heads,
            mask: Mask::None,
        }
    }

    /// Frames see themselves and earlier frames only.
    pub fn causal(self, causal: bool) -> Self {
        let mask = if causal { Mask::Causal } else { Mask::None };
        Self { mask, ..self }
    }
}

/// `softmax(q k^T / sqrt(head_dim)) v` for every head (Vaswani et al. 2017).
///
/// # Shapes
/// `q`: `[batch, frames, heads * head_dim]`; `k`, `v`: `[batch, key_frames, key_heads * head_dim]`; result: as `q`.
///
/// # Errors
/// When the shapes do not fit, or a causal call has `frames != key_frames`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
    let op = Attention::new(q, k, v, options)?;
    if !q.device().is_cpu() {
        return composed::attention(q, k, v, options);
    }
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

#[derive(Clone)]
struct Attention {
    heads: usize,
    key_heads: usize,
    frames: usize,
    key_frames: usize,
    head_dim: usize,
    causal: bool,
    /// `[batch, key_frames]`, 1 where a key is seen.
    seen: Option<Vec<u8>>,
}

/// One head of one item: its queries, and the keys and values that it shares with the other heads of its group.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    seen: Option<&'a [u8]>,
}

impl Attention {
    fn new(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Result<Self> {
        let ((batch, frames, features), (key_batch, key_frames, key_features)) =
            (q.dims3()?, k.dims3()?);
        let AttentionOptions {
            heads, key_heads, ..
        } = *options;
        let causal = matches!(options.mask, Mask::Causal);
        if heads * key_heads == 0
            || features % heads != 0
            || heads % key_heads != 0
            || key_features != features / heads * key_heads
            || key_batch != batch
            || k.dims() != v.dims()
            || key_frames == 0
            || causal && key_frames != frames
        {
            bail!(
                "attention: {options:?} with q {:?}, k {:?}, v {:?}",
                q.shape(),
                k.shape(),
                v.shape()
            );
        }
        let seen = match &options.mask {
            Mask::Keys(mask) if mask.dims() != [batch, key_frames] => bail!(
                "attention: mask {:?} for keys {:?}",
                mask.shape(),
                k.shape()
            ),
            Mask::Keys(mask) => Some(mask.flatten_all()?.to_vec1::<u8>()?),
            Mask::None | Mask::Causal => None,
        };
        Ok(Self {
            heads,
            key_heads,
            frames,
            key_frames,
            head_dim: features / heads,
            causal,
            seen,
        })
    }

    /// Query heads that share one head of keys and values.
    fn group(&self) -> usize {
        self.heads / self.key_heads
    }

    /// Values from one frame of the queries to the next.
    fn row(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Values from one frame of the keys to the next.
    fn key_row(&self) -> usize {
        self.key_heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn head<'a>(&'a self, [q, k, v]: [&'a [f32]; 3], item: usize, head: usize) -> Head<'a> {
        let keys = item * self.key_frames;
        let key_start = keys * self.key_row() + head / self.group() * self.head_dim;
        Head {
            q: &q[self.start(item, head)..],
            k: &k[key_start..],
            v: &v[key_start..],
            seen: self
                .seen
                .as_ref()
                .map(|seen| &seen[keys..keys + self.key_frames]),
        }
    }

    /// Where a query head's first value is.
    fn start(&self, item: usize, head: usize) -> usize {
        item * self.frames * self.row() + head * self.head_dim
    }

    /// Some frames of a query head, `[frames, head_dim]`, given its values from the first one on.
    fn queries<'a>(&self, values: &'a [f32], frames: &Range<usize>) -> MatrixRef<'a> {
        let first = &values[frames.start * self.row()..];
        MatrixRef::strided(first, frames.len(), self.head_dim, self.row())
    }

    /// The first frames of a head of keys or values.
    fn keys<'a>(&self, values: &'a [f32], frames: usize) -> MatrixRef<'a> {
        MatrixRef::strided(values, frames, self.head_dim, self.key_row())
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
        let (queries, keys) = (self.queries(head.q, tile), self.keys(head.k, visible));
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
                match head.seen {
                    Some(seen) => masked_softmax_row(row, seen),
                    None => {
                        let seen = if causal { first + number + 1 } else { visible };
                        softmax_row(&mut row[..seen]);
                        row[seen..].fill(0.0);
                    }
                }
            }
        });
    }

    fn forward(&self, arguments: [&[f32]; 3]) -> Vec<f32> {
        let mut result = vec![0f32; arguments[0].len()];
        let heads = split(&mut result, self.frames, self.row(), self.head_dim);
        heads
            .into_par_iter()
            .for_each_init(Vec::new, |weights, (item, number, result)| {
                let head = self.head(arguments, item, number);
                let mut result = result.into_rows();
                for tile in self.tiles() {
                    self.weights(head, &tile, weights);
                    let visible = self.visible(&tile);
                    let left = MatrixRef::new(weights, tile.len(), visible);
                    result.next_rows(tile.len()).product(
                        left,
                        self.keys(head.v, visible),
                        1.0,
                        false,
                        Threads::One,
                    );
                }
            });
        result
    }

    fn backward(&self, arguments: [&[f32]; 3], gradient: &[f32]) -> [Vec<f32>; 3] {
        let [mut for_q, mut for_k, mut for_v] = arguments.map(|values| vec![0f32; values.len()]);
        let mut for_queries = split(&mut for_q, self.frames, self.row(), self.head_dim).into_iter();
        let targets: Vec<_> = split(&mut for_k, self.key_frames, self.key_row(), self.head_dim)
            .into_iter()
            .zip(split(
                &mut for_v,
                self.key_frames,
                self.key_row(),
                self.head_dim,
            ))
            .map(|((item, number, for_k), (_, _, for_v))| {
                let group: Vec<_> = for_queries.by_ref().take(self.group()).collect();
                (item, number, group, for_k, for_v)
            })
            .collect();
        // One piece of work is a head of keys with its group of query heads: they add to the same gradients.
        targets.into_par_iter().for_each_init(
            || (Vec::new(), Vec::new()),
            |(weights, slopes), (_, _, group, mut for_k, mut for_v)| {
                for (item, number, for_q) in group {
                    let head = self.head(arguments, item, number);
                    let gradient = &gradient[self.start(item, number)..];
                    let mut for_q = for_q.into_rows();
                    for tile in self.tiles() {
                        let visible = self.visible(&tile);
                        self.weights(head, &tile, weights);
                        let gradient = self.queries(gradient, &tile);
                        self.slopes(head, &tile, weights, gradient, slopes);
                        let weights = MatrixRef::new(weights, tile.len(), visible);
                        let slopes = MatrixRef::new(slopes, tile.len(), visible);
                        let (queries, keys) =
                            (self.queries(head.q, &tile), self.keys(head.k, visible));
                        for_q
                            .next_rows(tile.len())
                            .product(slopes, keys, 1.0, false, Threads::One);
                        for_k.first_rows(visible).product(
                            slopes.t(),
                            queries,
                            1.0,
                            true,
                            Threads::One,
                        );
                        for_v.first_rows(visible).product(
                            weights.t(),
                            gradient,
                            1.0,
                            true,
                            Threads::One,
                        );
                    }
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
        let values = self.keys(head.v, visible);
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
}

/// The softmax over the keys that are seen, zero elsewhere. Call it inside `vectorized`.
#[inline(always)]
fn masked_softmax_row(row: &mut [f32], seen: &[u8]) {
    for (value, &seen) in row.iter_mut().zip(seen) {
        *value = if seen == 0 { f32::NEG_INFINITY } else { *value };
    }
    if maximum(row) == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    softmax_row(row);
    // The exponential saturates above zero.
    for (value, &seen) in row.iter_mut().zip(seen) {
        *value = if seen == 0 { 0.0 } else { *value };
    }
}

/// `[batch, frames, row]` as matrices `[frames, head_dim]`, with item and head.
fn split(
    values: &mut [f32],
    frames: usize,
    row: usize,
    head_dim: usize,
) -> Vec<(usize, usize, MatrixMut<'_>)> {
    if values.is_empty() {
        return Vec::new();
    }
    values
        .chunks_mut(frames * row)
        .enumerate()
        .flat_map(|(item, values)| {
            let heads = MatrixMut::new(values, frames, row).column_blocks(head_dim);
            heads
                .into_iter()
                .enumerate()
                .map(move |(head, (_, block))| (item, head, block))
        })
        .collect()
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
        let arguments = [
            slice(name, s1, l1)?,
            slice(name, s2, l2)?,
            slice(name, s3, l3)?,
        ];
        Ok((CpuStorage::F32(self.forward(arguments)), l1.shape().clone()))
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
                Ok(self.backward([q, k, v], gradient))
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
    use candle_core::{Device, Var};
    use testing::{assert_close, assert_gradients, pseudo_random};

    /// `[batch, frames, key_frames, heads, key_heads, head_dim]`
    type Sizes = [usize; 6];

    fn arguments([batch, frames, key_frames, heads, key_heads, head_dim]: Sizes) -> [Tensor; 3] {
        let wide = |frames, heads, seed| {
            (pseudo_random((batch, frames, heads * head_dim), seed) * 2.0).unwrap()
        };
        [
            wide(frames, heads, 1),
            wide(key_frames, key_heads, 2),
            wide(key_frames, key_heads, 3),
        ]
    }

    /// Every mask that fits: none, some keys, and causal where queries are keys.
    fn options([batch, frames, key_frames, heads, key_heads, _]: Sizes) -> Vec<AttentionOptions> {
        let marks: Vec<u8> = (0..batch * key_frames)
            .map(|place| u8::from(place % 3 != 1))
            .collect();
        let marks = Tensor::from_vec(marks, (batch, key_frames), &Device::Cpu).unwrap();
        let mut masks = vec![Mask::None, Mask::Keys(marks)];
        masks.extend((frames == key_frames).then_some(Mask::Causal));
        let with = |mask| AttentionOptions {
            heads,
            key_heads,
            mask,
        };
        masks.into_iter().map(with).collect()
    }

    #[test]
    fn matches_the_formula() {
        let cases = [
            [1, 1, 1, 1, 1, 4],
            [2, 7, 7, 3, 3, 4],
            [1, 300, 300, 2, 2, 4],
            [2, 600, 600, 1, 1, 4],
            [2, 5, 9, 2, 2, 6],
            [2, 9, 5, 6, 2, 3],
            [2, 300, 7, 4, 1, 5],
        ];
        for sizes in cases {
            let [q, k, v] = arguments(sizes);
            for options in options(sizes) {
                let found = attention(&q, &k, &v, &options).unwrap();
                let expected = composed::attention(&q, &k, &v, &options).unwrap();
                assert_close(&format!("{sizes:?} {options:?}"), &found, &expected, 2e-6);
            }
        }
    }

    #[test]
    fn gradients() {
        let cases = [
            [1, 1, 1, 1, 1, 2],
            [2, 5, 5, 2, 2, 3],
            [1, 3, 4, 3, 3, 2],
            [2, 3, 5, 4, 2, 3],
        ];
        for sizes in cases {
            for options in options(sizes) {
                assert_gradients(&format!("{options:?}"), &arguments(sizes), |t| {
                    attention(&t[0], &t[1], &t[2], &options)
                });
            }
        }
    }

    #[test]
    fn gradients_over_several_tiles_match_the_composed_form() {
        for sizes in [[2, 530, 530, 2, 2, 4], [1, 530, 530, 4, 2, 3]] {
            for options in options(sizes) {
                let arguments = arguments(sizes).map(|t| Var::from_tensor(&t).unwrap());
                let [q, k, v] = &arguments;
                let weights = pseudo_random(q.dims(), 4);
                let gradients = |y: Tensor| {
                    let sum = (y * &weights).and_then(|y| y.sum_all()).unwrap();
                    sum.backward().unwrap()
                };
                let found = gradients(attention(q, k, v, &options).unwrap());
                let expected = gradients(composed::attention(q, k, v, &options).unwrap());
                for (name, var) in ["q", "k", "v"].iter().zip(&arguments) {
                    let (found, expected) = (found.get(var).unwrap(), expected.get(var).unwrap());
                    assert_close(name, found, expected, 1e-5);
                }
            }
        }
    }

    #[test]
    fn causal_frames_do_not_see_the_future() {
        let [q, k, v] = arguments([1, 6, 6, 2, 2, 2]);
        let options = AttentionOptions::new(2).causal(true);
        let cut = |t: &Tensor| t.narrow(1, 0, 4).unwrap();
        let whole = attention(&q, &k, &v, &options).unwrap();
        let part = attention(&cut(&q), &cut(&k), &cut(&v), &options).unwrap();
        assert_close("early frames", &part, &cut(&whole), 1e-6);
    }

    #[test]
    fn an_item_that_sees_no_key_is_zero() {
        let [q, k, v] = arguments([2, 3, 4, 1, 1, 2]);
        let marks = Tensor::from_vec(vec![0u8, 0, 0, 0, 1, 1, 1, 1], (2, 4), &Device::Cpu);
        let options = AttentionOptions {
            mask: Mask::Keys(marks.unwrap()),
            ..AttentionOptions::new(1)
        };
        let found = attention(&q, &k, &v, &options).unwrap();
        let found = found.to_vec3::<f32>().unwrap();
        assert!(found[0].iter().flatten().all(|&value| value == 0.0));
        assert!(found[1].iter().flatten().all(|&value| value != 0.0));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let [q, k, v] = arguments([1, 5, 9, 2, 2, 6]);
        let plain = AttentionOptions::new;
        assert!(attention(&q, &k, &v, &plain(5)).is_err());
        assert!(attention(&q, &k, &v, &plain(2).causal(true)).is_err());
        assert!(attention(&q, &k, &q, &plain(2)).is_err());
        let uneven = AttentionOptions {
            key_heads: 2,
            ..plain(3)
        };
        assert!(attention(&q, &k, &v, &uneven).is_err());
        let mask = Mask::Keys(Tensor::zeros((1, 5), candle_core::DType::U8, &Device::Cpu).unwrap());
        let wrong_mask = AttentionOptions { mask, ..plain(2) };
        assert!(attention(&q, &k, &v, &wrong_mask).is_err());
    }
}
