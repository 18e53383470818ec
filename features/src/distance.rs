//! Distances between a reference set and other sets of clips.
//!
//! Audio Feature Distance: with `z(c)` the z-scored vector of clip `c`, the vector of a set is the mean of `z` over
//! its clips, and `AFD = 1 - cos(reference, candidate)`: 0 for the same direction, 1 for none in common, 2 for opposite.
//!
//! Mel-spectral distance: with `S(c)` the pooled log-mel spectrum of clip `c` and `R` the mean of `S` over the
//! reference, the mean over the candidate's clips of `mean((S(c) - R)²)`, in dB².
//!
//! The Kernel Audio Distance is in `kernel_distance.rs`.

use crate::error::FeatureError;
use crate::kernel_distance::KernelReference;
use crate::measure::ClipMeasurement;
use crate::statistics::FeatureStatistics;

/// What other sets are compared with.
#[derive(Debug, Clone)]
pub struct ReferenceSet {
    statistics: FeatureStatistics,
    vector: Vec<f64>,
    spectrum: Vec<f64>,
    kernel: Option<KernelReference>,
}

impl ReferenceSet {
    /// Pools the clips of a reference.
    ///
    /// # Errors
    /// Without clips.
    pub fn new<'a>(
        clips: impl IntoIterator<Item = &'a ClipMeasurement>,
        statistics: &FeatureStatistics,
    ) -> Result<Self, FeatureError> {
        let clips: Vec<&ClipMeasurement> = clips.into_iter().collect();
        if clips.is_empty() {
            return Err(FeatureError::EmptySet);
        }
        let scores: Vec<Vec<f64>> = clips.iter().map(|clip| statistics.scores(clip)).collect();
        Ok(Self {
            statistics: statistics.clone(),
            vector: mean(scores.iter().map(Vec::as_slice)),
            spectrum: mean(clips.iter().map(|clip| clip.spectrum.as_slice())),
            kernel: KernelReference::new(scores),
        })
    }

    /// Audio Feature Distance of a set.
    pub fn feature_distance<'a>(
        &self,
        clips: impl IntoIterator<Item = &'a ClipMeasurement>,
    ) -> f64 {
        let scores: Vec<Vec<f64>> = clips
            .into_iter()
            .map(|clip| self.statistics.scores(clip))
            .collect();
        self.feature_distance_of_scores(scores.iter().map(Vec::as_slice))
    }

    /// Mel-spectral distance of a set in dB².
    pub fn spectral_distance<'a>(
        &self,
        clips: impl IntoIterator<Item = &'a ClipMeasurement>,
    ) -> f64 {
        let errors: Vec<f64> = clips
            .into_iter()
            .map(|clip| self.spectral_error(clip))
            .collect();
        errors.iter().sum::<f64>() / errors.len() as f64
    }

    /// What a Kernel Audio Distance is measured by; none of fewer than two clips that differ.
    pub(crate) fn kernel(&self) -> Option<&KernelReference> {
        self.kernel.as_ref()
    }

    pub(crate) fn scores(&self, clip: &ClipMeasurement) -> Vec<f64> {
        self.statistics.scores(clip)
    }

    pub(crate) fn feature_distance_of_scores<'a>(
        &self,
        scores: impl Iterator<Item = &'a [f64]>,
    ) -> f64 {
        cosine_distance(&self.vector, &mean(scores))
    }

    pub(crate) fn spectral_error(&self, clip: &ClipMeasurement) -> f64 {
        mean_squared_error(&clip.spectrum, &self.spectrum)
    }
}

/// `1 - cos` of the angle between two vectors; 1 where one of them is zero and so has no direction.
pub fn cosine_distance(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        (1.0 - dot(a, b) / lengths).clamp(0.0, 2.0)
    } else {
        1.0
    }
}

/// Mean of the squared differences.
pub fn mean_squared_error(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(x, y)| (x - y).powi(2));
    squares.sum::<f64>() / a.len().max(1) as f64
}

/// Mean of vectors of equal length; empty without any.
fn mean<'a>(vectors: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    let mut sum: Vec<f64> = Vec::new();
    let mut count = 0.0;
    for vector in vectors {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut()
            .zip(vector)
            .for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_distance_spans_zero_to_two() {
        assert!(cosine_distance(&[1.0, 2.0], &[2.0, 4.0]) < 1e-12);
        assert_eq!(cosine_distance(&[1.0, 0.0], &[0.0, 3.0]), 1.0);
        assert_eq!(cosine_distance(&[1.0, 0.0], &[-2.0, 0.0]), 2.0);
        assert_eq!(cosine_distance(&[0.0, 0.0], &[-2.0, 0.0]), 1.0);
    }
}
