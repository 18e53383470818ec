//! Changes of a layer's weight while they are trained: LoRA (Hu et al. 2021, arXiv:2106.09685), rsLoRA's scale (Kalajdzievski
//! 2023, arXiv:2312.03732), DoRA (Liu et al. 2024, arXiv:2402.09353) and LoKr (Yeh et al. 2023, arXiv:2309.14859).
//!
//! | method | changed weight | variables | at the start |
//! |---|---|---|---|
//! | LoRA | `W + scale B A` | `lora_A` `[rank, in]`, `lora_B` `[out, rank]` | A uniform within ±1/sqrt(in), B zero (PEFT) |
//! | DoRA | `m (W + scale B A) / norm` | and `lora_magnitude_vector` m `[out]` | m the norm of W's rows (PEFT) |
//! | LoKr | `W + scale w1 ⊗ w2` | `lokr_w1` `[o1, i1]`, `lokr_w2` `[o2, i2]`, or `_a` and `_b` of each | w1 uniform, w2 or `lokr_w2_b` zero (LyCORIS, PEFT's `init_weights="lycoris"`) |
//!
//! In DoRA `norm` is that of each row of `W + scale B A`, and it is taken for a constant: no gradient goes through it
//! (section 4.3 of the paper, and PEFT). It is computed anew at each forward as
//! `|w|^2 + 2 scale (W A^T) b + scale^2 b (A A^T) b` for each row, so that no moved weight is ever made.
//!
//! The scale is alpha / rank, or alpha / sqrt(rank) when it is rank-stabilised; of a LoKr whose two factors are both
//! whole matrices, which have no rank, it is 1 (LyCORIS).

use super::change::{Delta, Magnitude, WeightChange};
use super::gain::with_gain;
use super::{Linear, LoraWeights, composed, kronecker, op};
use crate::mode::Mode;
use crate::random::Stream;
use candle_core::{DType, Device, Result, Tensor, Var, bail};

/// How a weight is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainedMethod {
    /// A low-rank product.
    Lora,
    /// A low-rank product and a length for each row.
    Dora,
    /// A Kronecker product.
    Lokr {
        /// What inputs and outputs are divided into, if they can be: `w1` has about so many rows and columns. Without it
        /// both are divided as near to their square root as can be, LyCORIS' `factor = -1`.
        factor: Option<usize>,
        /// Whether `w1` is a low-rank product too, where the rank is below half its larger side.
        decompose_both: bool,
    },
}

/// What is trained on a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainedOptions {
    /// How the weight is changed.
    pub method: TrainedMethod,
    /// Rank of low-rank products. LoKr's `w2` is a whole matrix from half its larger side on.
    pub rank: usize,
    /// The scale is this divided by the rank.
    pub alpha: f64,
    /// Whether it is divided by the rank's square root instead (rsLoRA).
    pub rank_stabilised: bool,
    /// Share of the change's input that is dropped in training, in `[0, 1)`. DoRA drops it before both of its products, as
    /// PEFT does. LoKr has no such dropout, in PEFT or LyCORIS, and must have 0.
    pub dropout: f64,
}

/// The variables of one layer's change.
#[derive(Clone, Debug)]
pub struct TrainedChange {
    parts: Parts,
    scale: f64,
    dropout: f64,
}

#[derive(Clone, Debug)]
enum Parts {
    LowRank {
        a: Var,
        b: Var,
        lengths: Option<Lengths>,
    },
    Kronecker {
        outer: Factor,
        inner: Factor,
    },
}

/// DoRA's magnitudes.
#[derive(Clone, Debug)]
struct Lengths {
    magnitude: Var,
    /// Squares of the norms of the base's rows, `[out_features, 1]`, f64.
    base_squares: Tensor,
}

/// A matrix that is trained, or two whose product it is.
#[derive(Clone, Debug)]
enum Factor {
    Whole(Var),
    Product { a: Var, b: Var },
}

impl TrainedChange {
    /// Fresh variables for a layer, on the device of its weight: they change nothing yet. The values depend on `seed`
    /// alone, so give each layer a stream of its own.
    ///
    /// # Errors
    /// When an option is out of its range, or candle fails.
    pub fn new(layer: &Linear, options: &TrainedOptions, seed: &Stream) -> Result<Self> {
        options.check(layer.name())?;
        let device = layer.device();
        let (outputs, inputs) = (layer.out_features(), layer.in_features());
        let rank = options.rank;
        let parts = match options.method {
            TrainedMethod::Lora | TrainedMethod::Dora => Parts::LowRank {
                a: uniform((rank, inputs), seed, &device)?,
                b: Var::zeros((outputs, rank), DType::F32, &device)?,
                lengths: match options.method {
                    TrainedMethod::Dora => Some(Lengths::of(layer)?),
                    _ => None,
                },
            },
            TrainedMethod::Lokr {
                factor,
                decompose_both,
            } => {
                let ((o1, o2), (i1, i2)) = (factors(outputs, factor), factors(inputs, factor));
                let low = |side: usize| is_low(rank, side);
                Parts::Kronecker {
                    outer: match decompose_both && low(o1.max(i1)) {
                        true => Factor::Product {
                            a: uniform((o1, rank), &seed.named("lokr_w1_a"), &device)?,
                            b: uniform((rank, i1), &seed.named("lokr_w1_b"), &device)?,
                        },
                        false => Factor::Whole(uniform((o1, i1), &seed.named("lokr_w1"), &device)?),
                    },
                    inner: match low(o2.max(i2)) {
                        true => Factor::Product {
                            a: uniform((o2, rank), &seed.named("lokr_w2_a"), &device)?,
                            b: Var::zeros((rank, i2), DType::F32, &device)?,
                        },
                        false => Factor::Whole(Var::zeros((o2, i2), DType::F32, &device)?),
                    },
                }
            }
        };
        Ok(Self {
            scale: match &parts {
                Parts::Kronecker {
                    outer: Factor::Whole(_),
                    inner: Factor::Whole(_),
                } => 1.0,
                _ => options.scale(),
            },
            parts,
            dropout: options.dropout,
        })
    }

    /// The variables by the names that PEFT and LyCORIS give them, without the layer's.
    pub fn variables(&self) -> Vec<(&'static str, Var)> {
        match &self.parts {
            Parts::LowRank { a, b, lengths } => {
                let mut variables = vec![("lora_A", a.clone()), ("lora_B", b.clone())];
                if let Some(lengths) = lengths {
                    variables.push(("lora_magnitude_vector", lengths.magnitude.clone()));
                }
                variables
            }
            Parts::Kronecker { outer, inner } => {
                let mut variables = outer.variables(["lokr_w1", "lokr_w1_a", "lokr_w1_b"]);
                variables.extend(inner.variables(["lokr_w2", "lokr_w2_a", "lokr_w2_b"]));
                variables
            }
        }
    }

    /// The change's factor: alpha / rank, alpha / sqrt(rank), or 1.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The change as it is now, at full strength: copies that later steps leave alone. LoKr's factors are whole matrices
    /// there, whatever they are trained as.
    ///
    /// # Errors
    /// When candle fails.
    pub fn change(&self) -> Result<WeightChange> {
        let (delta, magnitude) = match &self.parts {
            Parts::LowRank { a, b, lengths } => {
                let delta = Delta::LowRank {
                    a: copy(a)?,
                    b: copy(b)?,
                };
                let lengths = lengths.as_ref().map(|lengths| copy(&lengths.magnitude));
                (delta, lengths.transpose()?.map(Magnitude::OfOutputs))
            }
            Parts::Kronecker { outer, inner } => {
                let delta = Delta::Kronecker {
                    outer: outer.matrix(&Mode::Inference)?.copy()?,
                    inner: inner.matrix(&Mode::Inference)?.copy()?,
                };
                (delta, None)
            }
        };
        Ok(WeightChange {
            delta,
            scale: self.scale,
            magnitude,
            strength: 1.0,
        })
    }

    /// `(out_features, in_features)` of the layer that it was made for.
    pub(super) fn dims(&self) -> Result<(usize, usize)> {
        match &self.parts {
            Parts::LowRank { a, b, .. } => Ok((b.dim(0)?, a.dim(1)?)),
            Parts::Kronecker { outer, inner } => {
                let (outer, inner) = (outer.dims()?, inner.dims()?);
                Ok((outer.0 * inner.0, outer.1 * inner.1))
            }
        }
    }

    /// The whole layer with this change alone, where that costs no more than the layer: DoRA on an input that is not dropped
    /// from takes its gain of the base's product. `None`: add [`added`](Self::added) to the layer.
    pub(super) fn whole(&self, layer: &Linear, x: &Tensor, mode: &Mode) -> Result<Option<Tensor>> {
        let Parts::LowRank {
            a,
            b,
            lengths: Some(lengths),
        } = &self.parts
        else {
            return Ok(None);
        };
        if self.dropout > 0.0 && mode.dropout(layer.name()).is_some() {
            return Ok(None);
        }
        let gain = self.gain(layer, a, b, lengths, mode)?;
        // Its values are needed even if the layer's are not: the gain's gradient is made of them.
        let moved = match x.device().is_cpu() {
            true => {
                let base = Some((&layer.weight, None));
                op::adapted(x, base, &self.low_rank(a, b, mode), None, true)?
            }
            false => {
                (composed::frozen(x, &layer.weight)? + self.low_rank_product(x, a, b, mode)?)?
            }
        };
        with_gain(&moved, &gain, layer.bias()).map(Some)
    }

    /// What it adds to the layer's output; zeros with the gradients of that if the values are not needed. `number` tells
    /// the masks of a layer's changes apart.
    pub(super) fn added(
        &self,
        layer: &Linear,
        x: &Tensor,
        number: usize,
        mode: &Mode,
        needed: bool,
    ) -> Result<Tensor> {
        let keep = layer.keep_mask(number, self.dropout, x, mode);
        match &self.parts {
            Parts::LowRank {
                a,
                b,
                lengths: None,
            } => match x.device().is_cpu() {
                true => op::adapted(x, None, &self.low_rank(a, b, mode), keep, needed),
                false => self.low_rank_product(&self.dropped(x, keep)?, a, b, mode),
            },
            Parts::LowRank {
                a,
                b,
                lengths: Some(lengths),
            } => {
                let gain = self.gain(layer, a, b, lengths, mode)?;
                let x = self.dropped(x, keep)?;
                let base = layer.bare_product(&x)?;
                let low = match x.device().is_cpu() {
                    true => op::adapted(&x, None, &self.low_rank(a, b, mode), None, true)?,
                    false => self.low_rank_product(&x, a, b, mode)?,
                };
                with_gain(&base, &(&gain - 1.0)?, None)? + with_gain(&low, &gain, None)?
            }
            Parts::Kronecker { outer, inner } => {
                let (outer, inner) = (outer.matrix(mode)?, inner.matrix(mode)?);
                match x.device().is_cpu() {
                    true => kronecker::product(x, &outer, &inner, self.scale, needed),
                    false => Delta::Kronecker { outer, inner }.apply(x)? * self.scale,
                }
            }
        }
    }

    fn low_rank(&self, a: &Var, b: &Var, mode: &Mode) -> LoraWeights {
        LoraWeights {
            a: mode.of_variable(a),
            b: mode.of_variable(b),
            scale: self.scale,
            dropout: self.dropout,
        }
    }

    /// `scale x A^T B^T` by stock operations.
    fn low_rank_product(&self, x: &Tensor, a: &Var, b: &Var, mode: &Mode) -> Result<Tensor> {
        let (a, b) = (mode.of_variable(a), mode.of_variable(b));
        x.matmul(&a.t()?)?.matmul(&b.t()?)? * self.scale
    }

    fn dropped(&self, x: &Tensor, keep: Option<Vec<u8>>) -> Result<Tensor> {
        match keep {
            None => Ok(x.clone()),
            Some(keep) if x.device().is_cpu() => op::dropped(x, keep, self.dropout),
            Some(keep) => composed::dropped(x, keep, self.dropout),
        }
    }

    /// `magnitude / norm`, `[out_features]`, with a gradient for the magnitude alone.
    fn gain(
        &self,
        layer: &Linear,
        a: &Var,
        b: &Var,
        lengths: &Lengths,
        mode: &Mode,
    ) -> Result<Tensor> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64);
        let a = a.as_tensor().detach();
        let (projected, a, b) = (
            wide(&layer.bare_product(&a)?.t()?)?,
            wide(&a)?,
            wide(&b.as_tensor().detach())?,
        );
        let cross = (projected * &b)?.sum_keepdim(1)?;
        let own = (b.matmul(&a.matmul(&a.t()?)?)? * &b)?.sum_keepdim(1)?;
        let squares = ((&lengths.base_squares + (cross * (2.0 * self.scale))?)?
            + (own * (self.scale * self.scale))?)?;
        let norm = norm_of(&squares)?;
        // A row of zeros has no direction that could be brought to a length.
        let divisor = (&norm + norm.eq(0.0)?.to_dtype(DType::F32)?)?;
        mode.of_variable(&lengths.magnitude) / divisor
    }
}

/// Whether a factor with a side of that length is worth being a product of that rank (LyCORIS' rule).
fn is_low(rank: usize, longer_side: usize) -> bool {
    rank.saturating_mul(2) < longer_side
}

impl TrainedOptions {
    /// Numbers that are trained on a layer of these sizes.
    pub fn parameters(&self, outputs: usize, inputs: usize) -> usize {
        let rank = self.rank;
        let low_rank = rank.saturating_mul(outputs.saturating_add(inputs));
        match self.method {
            TrainedMethod::Lora => low_rank,
            TrainedMethod::Dora => low_rank.saturating_add(outputs),
            TrainedMethod::Lokr {
                factor,
                decompose_both,
            } => {
                let ((o1, o2), (i1, i2)) = (factors(outputs, factor), factors(inputs, factor));
                let numbers = |rows: usize, columns: usize, may_be_low: bool| match may_be_low
                    && is_low(rank, rows.max(columns))
                {
                    true => rank * (rows + columns),
                    false => rows.saturating_mul(columns),
                };
                numbers(o1, i1, decompose_both).saturating_add(numbers(o2, i2, true))
            }
        }
    }

    /// Alpha divided by the rank or its square root.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        match self.rank_stabilised {
            true => self.alpha / rank.sqrt(),
            false => self.alpha / rank,
        }
    }

    fn check(&self, layer: &str) -> Result<()> {
        if self.rank == 0 || !self.alpha.is_finite() || !(0.0..1.0).contains(&self.dropout) {
            bail!(
                "{layer}: rank {}, alpha {} and dropout {}: expected a rank of 1 or more, a number, and a dropout in [0, 1)",
                self.rank,
                self.alpha,
                self.dropout
            );
        }
        if let TrainedMethod::Lokr { factor, .. } = self.method {
            if self.dropout > 0.0 {
                bail!("{layer}: LoKr has no dropout on its input; set the dropout to 0");
            }
            if factor == Some(0) {
                bail!("{layer}: LoKr's factor is 1 or more");
            }
        }
        Ok(())
    }
}

impl Lengths {
    fn of(layer: &Linear) -> Result<Self> {
        let weight = layer.weight()?.detach().to_dtype(DType::F64)?;
        let base_squares = weight.sqr()?.sum_keepdim(1)?;
        Ok(Self {
            magnitude: Var::from_tensor(&norm_of(&base_squares)?)?,
            base_squares,
        })
    }
}

/// Norms `[rows]` of their squares `[rows, 1]`, which rounding may have left below zero.
fn norm_of(squares: &Tensor) -> Result<Tensor> {
    squares.relu()?.sqrt()?.squeeze(1)?.to_dtype(DType::F32)
}

impl Factor {
    fn variables(&self, [whole, first, second]: [&'static str; 3]) -> Vec<(&'static str, Var)> {
        match self {
            Self::Whole(matrix) => vec![(whole, matrix.clone())],
            Self::Product { a, b } => vec![(first, a.clone()), (second, b.clone())],
        }
    }

    fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Whole(matrix) => matrix.dims2(),
            Self::Product { a, b } => Ok((a.dim(0)?, b.dim(1)?)),
        }
    }

    fn matrix(&self, mode: &Mode) -> Result<Tensor> {
        match self {
            Self::Whole(matrix) => Ok(mode.of_variable(matrix)),
            Self::Product { a, b } => mode.of_variable(a).matmul(&mode.of_variable(b)),
        }
    }
}

fn copy(variable: &Var) -> Result<Tensor> {
    Ok(variable.as_tensor().copy()?.detach())
}

/// Within ±1/sqrt(columns): PyTorch's `kaiming_uniform_` with `a = sqrt(5)`.
fn uniform(shape: (usize, usize), seed: &Stream, device: &Device) -> Result<Var> {
    let bound = 1.0 / (shape.1 as f64).sqrt();
    let values = seed.uniform(shape, device)?;
    Var::from_tensor(&values.affine(2.0 * bound, -bound)?)
}

/// Two numbers whose product is `dimension`, the smaller first: the factor and the rest if it divides, else the pair that is
/// nearest to a square with the smaller at most `factor` (LyCORIS' `factorization`).
fn factors(dimension: usize, factor: Option<usize>) -> (usize, usize) {
    let most = factor.unwrap_or(dimension);
    if factor.is_some() && dimension.is_multiple_of(most) {
        let rest = dimension / most;
        return (most.min(rest), most.max(rest));
    }
    let divisors = (1..=most).take_while(|&smaller| smaller <= dimension / smaller);
    let smaller = divisors.filter(|&smaller| dimension.is_multiple_of(smaller));
    let smaller = smaller.last().unwrap_or(1);
    (smaller, dimension / smaller)
}

#[cfg(test)]
mod tests {
    use super::factors;

    /// From the documentation of LyCORIS.
    #[test]
    fn dimensions_are_divided_as_lycoris_does() {
        let table = [
            (127, [(1, 127), (1, 127), (1, 127), (1, 127), (1, 127)]),
            (128, [(8, 16), (2, 64), (4, 32), (8, 16), (8, 16)]),
            (250, [(10, 25), (2, 125), (2, 125), (5, 50), (10, 25)]),
            (360, [(18, 20), (2, 180), (4, 90), (8, 45), (15, 24)]),
            (512, [(16, 32), (2, 256), (4, 128), (8, 64), (16, 32)]),
            (1024, [(32, 32), (2, 512), (4, 256), (8, 128), (16, 64)]),
            (1, [(1, 1); 5]),
        ];
        let columns = [None, Some(2), Some(4), Some(8), Some(16)];
        for (dimension, expected) in table {
            assert_eq!(
                columns.map(|factor| factors(dimension, factor)),
                expected,
                "{dimension}"
            );
        }
    }
}
