//! What an adapter does to one layer, whatever method it was trained with.

use candle_core::{Result, Tensor};
use nn::{Delta, Magnitude, WeightChange};

/// How a layer's change is parametrized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `W + scale B A` (Hu et al. 2021, arXiv:2106.09685).
    Lora,
    /// The same brought to learned lengths (Liu et al. 2024, arXiv:2402.09353).
    Dora,
    /// `W + scale outer x inner`, a Kronecker product (Yeh et al. 2023, arXiv:2309.14859).
    Lokr,
    /// The same brought to learned lengths.
    Dokr,
}

impl std::fmt::Display for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Lora => "LoRA",
            Self::Dora => "DoRA",
            Self::Lokr => "LoKr",
            Self::Dokr => "LoKr with DoRA",
        })
    }
}

/// The factors of one layer's change, f32.
#[derive(Debug, Clone)]
pub struct LayerFactors {
    /// The direction: `A [rank, inputs]` and `B [outputs, rank]` in PEFT's orientation, or a Kronecker product.
    pub delta: Delta,
    /// Its factor: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
    pub scale: f64,
    /// DoRA's lengths.
    pub magnitude: Option<Magnitude>,
}

impl LayerFactors {
    /// Plain LoRA. `a`: `[rank, inputs]`, `b`: `[outputs, rank]`.
    pub fn low_rank(a: Tensor, b: Tensor, scale: f64) -> Self {
        Self {
            delta: Delta::LowRank { a, b },
            scale,
            magnitude: None,
        }
    }

    /// How it is parametrized.
    pub fn method(&self) -> Method {
        match (&self.delta, &self.magnitude) {
            (Delta::LowRank { .. }, None) => Method::Lora,
            (Delta::LowRank { .. }, Some(_)) => Method::Dora,
            (Delta::Kronecker { .. }, None) => Method::Lokr,
            (Delta::Kronecker { .. }, Some(_)) => Method::Dokr,
        }
    }

    /// The rank of a low-rank change; a Kronecker product has none.
    pub fn rank(&self) -> Option<usize> {
        match &self.delta {
            Delta::LowRank { a, .. } => a.dims().first().copied(),
            Delta::Kronecker { .. } => None,
        }
    }

    /// The alpha that gives its scale as alpha / rank; with no rank, the scale itself.
    pub fn alpha(&self) -> f64 {
        self.scale * self.rank().map_or(1.0, |rank| rank as f64)
    }

    /// `(outputs, inputs)` of the layer that it fits.
    pub fn dims(&self) -> Result<(usize, usize)> {
        self.delta.dims()
    }

    /// The tensors it is made of.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut tensors = match &self.delta {
            Delta::LowRank { a, b } => vec![a, b],
            Delta::Kronecker { outer, inner } => vec![outer, inner],
        };
        match &self.magnitude {
            Some(Magnitude::OfOutputs(values) | Magnitude::OfInputs(values)) => {
                tensors.push(values)
            }
            None => {}
        }
        tensors
    }

    /// The change at a strength, for a layer.
    pub fn change(&self, strength: f64) -> WeightChange {
        WeightChange {
            delta: self.delta.clone(),
            scale: self.scale,
            magnitude: self.magnitude.clone(),
            strength,
        }
    }

    /// Frobenius norm of `scale` times the direction; what magnitudes do besides depends on the base and is not in it.
    pub fn norm(&self) -> Result<f64> {
        let square = |tensor: &Tensor| -> Result<f64> {
            tensor.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from)
        };
        let norm = match &self.delta {
            // |B A|^2 is the sum of (B^T B) * (A A^T), both [rank, rank].
            Delta::LowRank { a, b } => {
                let product = (b.t()?.matmul(b)? * a.matmul(&a.t()?)?)?;
                f64::from(product.sum_all()?.to_scalar::<f32>()?)
                    .max(0.0)
                    .sqrt()
            }
            Delta::Kronecker { outer, inner } => (square(outer)? * square(inner)?).sqrt(),
        };
        Ok(norm * self.scale.abs())
    }
}
