//! Kernel Audio Distance: unbiased squared maximum mean discrepancy between two sets (Chung et al. 2025, after Gretton et al. 2012).
//!
//! With a Gaussian kernel `k(a, b) = exp(-|a - b|² / 2σ²)`, reference clips `r` and candidate clips `c`,
//!
//! ```text
//! KAD = 100 (mean over i ≠ j of k(r_i, r_j) + mean over i ≠ j of k(c_i, c_j) - 2 mean of k(r_i, c_j))
//! ```
//!
//! `σ` is the median distance among the reference's clips, and the factor 100 is that of the authors' kadtk. The estimate is unbiased, so
//! that two sets of one kind give values around 0, half of them negative. Embeddings are the z-scored clip vectors of the AFD, no
//! network's: values cannot be compared with published ones.

use crate::pooling::quantile;

/// What the discrepancy is multiplied by, as in kadtk.
pub const SCALE: f64 = 100.0;

/// A reference to which sets have a Kernel Audio Distance.
#[derive(Debug, Clone)]
pub(crate) struct KernelReference {
    /// `1 / 2σ²`.
    precision: f64,
    vectors: Vec<Vec<f64>>,
    /// Mean kernel of distinct clips.
    within: f64,
}

impl KernelReference {
    /// None where fewer than two clips, or no two that differ, leave the bandwidth open.
    pub(crate) fn new(vectors: Vec<Vec<f64>>) -> Option<Self> {
        let mut distances: Vec<f64> = pairs(vectors.len())
            .map(|(one, other)| squared_distance(&vectors[one], &vectors[other]).sqrt())
            .collect();
        distances.sort_unstable_by(f64::total_cmp);
        let bandwidth = quantile(&distances, 0.5);
        if bandwidth.is_nan() || bandwidth <= 0.0 {
            return None;
        }
        let precision = 0.5 / bandwidth.powi(2);
        let kernels = distances
            .iter()
            .map(|distance| (-precision * distance.powi(2)).exp());
        let within = kernels.sum::<f64>() / distances.len() as f64;
        Some(Self {
            precision,
            vectors,
            within,
        })
    }

    fn kernel(&self, one: &[f64], other: &[f64]) -> f64 {
        (-self.precision * squared_distance(one, other)).exp()
    }
}

/// A set's kernels, computed once so that redrawing is cheap.
#[derive(Debug, Clone)]
pub(crate) struct SetKernels {
    reference_within: f64,
    /// Mean kernel of each clip with the reference.
    across: Vec<f64>,
    /// Kernels of all pairs, `[clips, clips]`.
    among: Vec<f64>,
}

impl SetKernels {
    pub(crate) fn new(reference: &KernelReference, vectors: &[Vec<f64>]) -> Self {
        let count = reference.vectors.len() as f64;
        let mean_across = |vector: &Vec<f64>| {
            let kernels = reference.vectors.iter();
            kernels
                .map(|real| reference.kernel(real, vector))
                .sum::<f64>()
                / count
        };
        let row = |one: &Vec<f64>| -> Vec<f64> {
            vectors
                .iter()
                .map(|other| reference.kernel(one, other))
                .collect()
        };
        Self {
            reference_within: reference.within,
            across: vectors.iter().map(mean_across).collect(),
            among: vectors.iter().flat_map(row).collect(),
        }
    }

    /// The distance of the clips drawn; NaN of fewer than two.
    ///
    /// A clip that was drawn twice makes no pair with itself: its kernel of 1 would tell of the drawing, not of the set. Where one clip
    /// alone was drawn, the whole set's pairs stand for it.
    pub(crate) fn distance(&self, drawn: &[usize]) -> f64 {
        let among = self.mean_among(drawn).or_else(|| {
            let whole: Vec<usize> = (0..self.across.len()).collect();
            self.mean_among(&whole)
        });
        let across =
            drawn.iter().map(|&clip| self.across[clip]).sum::<f64>() / drawn.len().max(1) as f64;
        SCALE * (self.reference_within + among.unwrap_or(f64::NAN) - 2.0 * across)
    }

    fn mean_among(&self, drawn: &[usize]) -> Option<f64> {
        let clips = self.across.len();
        let (mut sum, mut count) = (0.0, 0_usize);
        for (one, other) in pairs(drawn.len()) {
            let (one, other) = (drawn[one], drawn[other]);
            if one != other {
                sum += self.among[one * clips + other];
                count += 1;
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}

/// Every pair of `0..count` once.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

fn squared_distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn distance(reference: Vec<Vec<f64>>, candidate: &[Vec<f64>]) -> f64 {
        let reference = KernelReference::new(reference).unwrap();
        let drawn: Vec<usize> = (0..candidate.len()).collect();
        SetKernels::new(&reference, candidate).distance(&drawn)
    }

    /// Points of a cube around `centre`.
    fn cloud(centre: f64, count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut value = || centre + generator.random_range(-1.0..1.0);
        (0..count)
            .map(|_| vec![value(), value(), value()])
            .collect()
    }

    #[test]
    fn three_points_by_hand() {
        // Distances among the reference are 1, 2 and 3: the bandwidth is 2, the exponent -d²/8.
        let reference = vec![vec![0.0], vec![1.0], vec![3.0]];
        let candidate = [vec![0.0], vec![2.0]];
        let kernel = |distance: f64| (-distance * distance / 8.0).exp();
        let within = (kernel(1.0) + kernel(2.0) + kernel(3.0)) / 3.0;
        let across = (kernel(0.0) + kernel(1.0) + kernel(3.0)) / 6.0
            + (kernel(2.0) + kernel(1.0) + kernel(1.0)) / 6.0;
        let expected = 100.0 * (within + kernel(2.0) - 2.0 * across);
        assert!((distance(reference, &candidate) - expected).abs() < 1e-12);
    }

    #[test]
    fn no_bias_between_sets_of_one_kind() {
        let values: Vec<f64> = (0..200)
            .map(|seed| distance(cloud(0.0, 12, 2 * seed), &cloud(0.0, 12, 2 * seed + 1)))
            .collect();
        let mean = values.iter().sum::<f64>() / 200.0;
        let deviation = (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / 199.0)
            .sqrt();
        // Four deviations of the mean.
        assert!(
            mean.abs() < 4.0 * deviation / 200f64.sqrt(),
            "{mean} {deviation}"
        );
        assert!(values.iter().any(|value| *value < 0.0));
        assert!(distance(cloud(0.0, 12, 1), &cloud(2.0, 12, 2)) > 50.0);
    }

    #[test]
    fn a_clip_drawn_twice_makes_no_pair_with_itself() {
        let reference = KernelReference::new(cloud(0.0, 6, 1)).unwrap();
        let set = SetKernels::new(&reference, &cloud(0.5, 4, 2));
        let both = set.distance(&[0, 1]);
        assert!((set.distance(&[0, 1, 0, 1]) - both).abs() < 1e-12);
        assert!(set.distance(&[2, 2, 2, 2]).is_finite());
        assert!(KernelReference::new(cloud(0.0, 1, 1)).is_none());
        assert!(KernelReference::new(vec![vec![1.0]; 3]).is_none());
    }
}
