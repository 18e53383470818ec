//! The complex short-time spectrum of one channel.

use rayon::prelude::*;
use realfft::num_complex::Complex32;

use crate::SpectrumError;
use crate::error::check_length;

/// Complex short-time spectrum `[frames, bins]`, frame after frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    bins: usize,
    values: Vec<Complex32>,
}

impl Spectrogram {
    /// A spectrogram of zeros.
    pub fn zeros(frames: usize, bins: usize) -> Self {
        Self {
            bins,
            values: vec![Complex32::ZERO; frames * bins],
        }
    }

    /// Takes `values` laid out as `[frames, bins]`.
    pub fn from_values(bins: usize, values: Vec<Complex32>) -> Result<Self, SpectrumError> {
        let frames = values.len().checked_div(bins).unwrap_or(0);
        check_length("spectrogram", frames * bins, values.len())?;
        Ok(Self { bins, values })
    }

    /// Number of frequency bins, zero to Nyquist.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.values.len().checked_div(self.bins).unwrap_or(0)
    }

    /// The bins of one frame.
    pub fn frame(&self, index: usize) -> &[Complex32] {
        &self.values[index * self.bins..(index + 1) * self.bins]
    }

    /// All values, `[frames, bins]`.
    pub fn values(&self) -> &[Complex32] {
        &self.values
    }

    /// All values for change in place, `[frames, bins]`.
    pub fn values_mut(&mut self) -> &mut [Complex32] {
        &mut self.values
    }

    /// Magnitudes `[frames, bins]`.
    pub fn magnitudes(&self) -> Vec<f32> {
        self.values
            .par_iter()
            .with_min_len(1 << 14)
            .map(|value| value.norm())
            .collect()
    }

    /// Squared magnitudes `[frames, bins]`.
    pub fn power(&self) -> Vec<f32> {
        self.values
            .par_iter()
            .with_min_len(1 << 14)
            .map(|value| value.norm_sqr())
            .collect()
    }
}
