//! The best change of a rank (Eckart and Young 1936), as factors of equal size.
//!
//! Low-rank sums are decomposed exactly, through the QR decompositions of their factors. Of whole matrices the first singular vectors are
//! found by a randomised range finder with power iterations (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1), unless they are
//! small or nearly all of them are asked for. Products of whole matrices are in f32, everything narrow in f64.

use candle_core::{Device, Tensor};
use faer::linalg::solvers::Svd;
use faer::{Mat, MatRef};
use nn::Stream;

use super::Energy;
use crate::adapter::LayerFactors;
use crate::error::LoraError;

/// Columns of the range finder beyond the rank.
const OVERSAMPLING: usize = 16;
/// How often the range is turned towards the largest singular values.
const POWER_ITERATIONS: usize = 3;
/// Matrices with a side up to this are decomposed exactly.
const EXACT_SIDE_MOST: usize = 256;

/// A change of a rank, and what it keeps.
#[derive(Debug)]
pub(super) struct Reduced {
    pub(super) factors: LayerFactors,
    pub(super) energy: Energy,
}

/// Of the sum of `B A` `[outputs, inputs]`; `b` `[outputs, ranks]` and `a` `[ranks, inputs]` hold all factors side by side.
pub(super) fn of_low_rank(a: &Tensor, b: &Tensor, rank: usize) -> Result<Reduced, LoraError> {
    let device = a.device();
    let (left, right) = (matrix(b)?.qr(), matrix(&a.t()?)?.qr());
    let core = left.thin_R() * right.thin_R().transpose();
    let core = decomposed(core.as_ref())?;
    let rank = rank.min(core.U().ncols());
    let outer = left.compute_thin_Q() * core.U().get(.., ..rank);
    let inner = right.compute_thin_Q() * core.V().get(.., ..rank);
    let singular = singular(&core);
    let energy = Energy {
        total: squares(&singular),
        kept: squares(&singular[..rank]),
    };
    let factors = balanced(&outer, &inner, &singular, device)?;
    Ok(Reduced { factors, energy })
}

/// Of a whole matrix `[outputs, inputs]`; `random` draws the range finder's directions.
pub(super) fn of_matrix(
    whole: &Tensor,
    rank: usize,
    random: &Stream,
) -> Result<Reduced, LoraError> {
    let (outputs, inputs) = whole.dims2()?;
    let side = outputs.min(inputs);
    let (rank, width) = (rank.min(side), rank.saturating_add(OVERSAMPLING).min(side));
    let (outer, inner, singular) = match side <= EXACT_SIDE_MOST || 2 * width >= side {
        true => {
            let found = decomposed(matrix(whole)?.as_ref())?;
            (found.U().to_owned(), found.V().to_owned(), singular(&found))
        }
        false => {
            let range = range(whole, width, random)?;
            let within = decomposed(matrix(&whole.t()?.matmul(&range)?)?.as_ref())?;
            let outer = matrix(&range)? * within.V();
            (outer, within.U().to_owned(), singular(&within))
        }
    };
    let energy = Energy {
        total: square_norm(whole)?,
        kept: squares(&singular[..rank]),
    };
    let first = |matrix: &Mat<f64>| matrix.get(.., ..rank).to_owned();
    let factors = balanced(&first(&outer), &first(&inner), &singular, whole.device())?;
    Ok(Reduced { factors, energy })
}

/// Orthonormal columns `[outputs, width]` that span nearly all that the first singular vectors do.
fn range(whole: &Tensor, width: usize, random: &Stream) -> Result<Tensor, LoraError> {
    let turned = whole.t()?;
    let directions = random.normal((turned.dim(0)?, width), whole.device())?;
    let mut range = orthonormal(&whole.matmul(&directions)?)?;
    for _ in 0..POWER_ITERATIONS {
        let rows = orthonormal(&turned.matmul(&range)?)?;
        range = orthonormal(&whole.matmul(&rows)?)?;
    }
    Ok(range)
}

fn orthonormal(columns: &Tensor) -> Result<Tensor, LoraError> {
    let basis = matrix(columns)?.qr().compute_thin_Q();
    tensor(&basis, columns.device())
}

/// `B = U sqrt(S)` and `A = sqrt(S) V^T`, so that neither is the larger one.
fn balanced(
    outer: &Mat<f64>,
    inner: &Mat<f64>,
    singular: &[f64],
    device: &Device,
) -> Result<LayerFactors, LoraError> {
    let grown = |vectors: &Mat<f64>| {
        Mat::from_fn(vectors.nrows(), vectors.ncols(), |row, column| {
            vectors[(row, column)] * singular[column].sqrt()
        })
    };
    let b = tensor(&grown(outer), device)?;
    let a = tensor(&grown(inner), device)?.t()?.contiguous()?;
    Ok(LayerFactors::low_rank(a, b, 1.0))
}

fn decomposed(matrix: MatRef<'_, f64>) -> Result<Svd<f64>, LoraError> {
    matrix.thin_svd().map_err(|_| {
        let problem = "a singular value decomposition did not end; are all weights finite?";
        candle_core::Error::Msg(problem.to_owned()).into()
    })
}

fn singular(found: &Svd<f64>) -> Vec<f64> {
    found.S().column_vector().iter().copied().collect()
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// The square of the Frobenius norm.
fn square_norm(tensor: &Tensor) -> Result<f64, LoraError> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().map(|&value| f64::from(value).powi(2)).sum())
}

fn matrix(tensor: &Tensor) -> Result<Mat<f64>, LoraError> {
    let (rows, columns) = tensor.dims2()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(Mat::from_fn(rows, columns, |row, column| {
        f64::from(values[row * columns + column])
    }))
}

fn tensor(matrix: &Mat<f64>, device: &Device) -> Result<Tensor, LoraError> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    let at = |index: usize| matrix[(index / columns, index % columns)] as f32;
    let values: Vec<f32> = (0..rows * columns).map(at).collect();
    Ok(Tensor::from_vec(values, (rows, columns), device)?)
}

#[cfg(test)]
mod tests {
    use testing::{assert_close, pseudo_random};

    use super::*;

    fn product(factors: &LayerFactors) -> Tensor {
        factors.delta.matrix().unwrap()
    }

    /// Singular values that fall slowly, the hard case of a range finder, on known vectors.
    fn falling(outputs: usize, inputs: usize) -> (Tensor, Vec<f64>) {
        let side = outputs.min(inputs);
        let basis = |rows| matrix(&pseudo_random((rows, side), 5)).unwrap().qr();
        let (left, right) = (
            basis(outputs).compute_thin_Q(),
            basis(inputs).compute_thin_Q(),
        );
        let values: Vec<f64> = (0..side).map(|k| 1.0 / (1.0 + k as f64).sqrt()).collect();
        let scaled = Mat::from_fn(outputs, side, |i, k| left[(i, k)] * values[k]);
        let whole = scaled * right.transpose();
        (tensor(&whole, &Device::Cpu).unwrap(), values)
    }

    #[test]
    fn a_change_of_a_rank_comes_back_whichever_way() {
        for (outputs, inputs) in [(40, 24), (24, 40), (300, 280)] {
            let (a, b) = (
                pseudo_random((4, inputs), 1),
                pseudo_random((outputs, 4), 2),
            );
            let whole = b.matmul(&a).unwrap();
            let reduced = of_low_rank(&a, &b, 4).unwrap();
            assert_close("factors", &product(&reduced.factors), &whole, 1e-6);
            assert!((reduced.energy.share() - 1.0).abs() < 1e-12);
            let reduced = of_matrix(&whole, 4, &Stream::new(1)).unwrap();
            assert_close("matrix", &product(&reduced.factors), &whole, 1e-5);
            assert!((reduced.energy.share() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn both_ways_keep_the_same_part_of_a_larger_change() {
        let (a, b) = (pseudo_random((9, 300), 1), pseudo_random((320, 9), 2));
        let whole = b.matmul(&a).unwrap();
        let exact = of_low_rank(&a, &b, 5).unwrap();
        let found = of_matrix(&whole, 5, &Stream::new(1)).unwrap();
        assert_close(
            "change",
            &product(&found.factors),
            &product(&exact.factors),
            1e-4,
        );
        assert!((found.energy.share() - exact.energy.share()).abs() < 1e-6);
        assert!(exact.energy.share() < 0.9);
        let left = (whole - product(&exact.factors)).unwrap();
        let left = square_norm(&left).unwrap() / exact.energy.total;
        assert!((left - (1.0 - exact.energy.share())).abs() < 1e-6);
    }

    #[test]
    fn the_range_finder_keeps_nearly_what_can_be_kept() {
        let (whole, values) = falling(300, 400);
        let reduced = of_matrix(&whole, 24, &Stream::new(1)).unwrap();
        let best = squares(&values[..24]) / squares(&values);
        let found = reduced.energy.share();
        assert!(
            found <= best + 1e-5 && found > 0.995 * best,
            "{found} of {best}"
        );
    }

    #[test]
    fn ranks_beyond_the_sides_and_changes_that_are_none_are_fine() {
        let whole = pseudo_random((6, 9), 1);
        let reduced = of_matrix(&whole, 20, &Stream::new(1)).unwrap();
        assert_eq!(reduced.factors.rank(), Some(6));
        assert_close("all", &product(&reduced.factors), &whole, 1e-5);
        let (a, b) = (pseudo_random((20, 9), 1), pseudo_random((6, 20), 2));
        let reduced = of_low_rank(&a, &b, 20).unwrap();
        assert_eq!(reduced.factors.rank(), Some(6));
        assert_close(
            "all",
            &product(&reduced.factors),
            &b.matmul(&a).unwrap(),
            1e-5,
        );
        for side in [6, 300] {
            let zero = pseudo_random((side, side), 1).zeros_like().unwrap();
            let reduced = of_matrix(&zero, 3, &Stream::new(1)).unwrap();
            assert_eq!(square_norm(&product(&reduced.factors)).unwrap(), 0.0);
            assert_eq!(reduced.energy.share(), 1.0);
        }
    }
}
