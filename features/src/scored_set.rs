//! A set of clips set against a reference, clip by clip, so that its distances can be redrawn thousands of times.

use crate::distance::ReferenceSet;
use crate::error::FeatureError;
use crate::kernel_distance::SetKernels;
use crate::measure::ClipMeasurement;

/// Clips as a reference sees them.
#[derive(Debug, Clone)]
pub struct ScoredSet<'a> {
    reference: &'a ReferenceSet,
    scores: Vec<Vec<f64>>,
    errors: Vec<f64>,
    kernels: Option<SetKernels>,
}

impl<'a> ScoredSet<'a> {
    /// Sets clips against a reference.
    ///
    /// # Errors
    /// Without clips.
    pub fn new<'c>(
        reference: &'a ReferenceSet,
        clips: impl IntoIterator<Item = &'c ClipMeasurement>,
    ) -> Result<Self, FeatureError> {
        let clips: Vec<&ClipMeasurement> = clips.into_iter().collect();
        if clips.is_empty() {
            return Err(FeatureError::EmptySet);
        }
        let scores: Vec<Vec<f64>> = clips.iter().map(|clip| reference.scores(clip)).collect();
        let errors = clips.iter().map(|clip| reference.spectral_error(clip));
        let kernels = reference
            .kernel()
            .filter(|_| clips.len() >= 2)
            .map(|kernel| SetKernels::new(kernel, &scores));
        Ok(Self {
            reference,
            errors: errors.collect(),
            scores,
            kernels,
        })
    }

    /// Number of clips.
    pub fn clips(&self) -> usize {
        self.errors.len()
    }

    /// Audio Feature Distance of the clips with these indices.
    pub fn feature_distance(&self, drawn: &[usize]) -> f64 {
        let drawn = drawn.iter().map(|&index| self.scores[index].as_slice());
        self.reference.feature_distance_of_scores(drawn)
    }

    /// Mel-spectral distance of the clips with these indices, in dB².
    pub fn spectral_distance(&self, drawn: &[usize]) -> f64 {
        drawn.iter().map(|&index| self.errors[index]).sum::<f64>() / drawn.len() as f64
    }

    /// Kernel Audio Distance of the clips with these indices; NaN where [`Self::has_kernel_distance`] does not hold.
    pub fn kernel_distance(&self, drawn: &[usize]) -> f64 {
        let kernels = self.kernels.as_ref();
        kernels.map_or(f64::NAN, |kernels| kernels.distance(drawn))
    }

    /// Whether both sides have two clips, which a Kernel Audio Distance takes.
    pub fn has_kernel_distance(&self) -> bool {
        self.kernels.is_some()
    }
}
