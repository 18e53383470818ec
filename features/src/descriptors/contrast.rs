//! Spectral contrast: how far the peaks of each octave stand above its valleys.
//!
//! Jiang, Lu, Zhang, Tao, Cai, "Music type classification by spectral contrast feature" (2002), as in
//! `librosa.feature.spectral_contrast`.

use std::ops::Range;

use crate::log_mel::decibels;

/// Upper edge of the lowest band in hertz; the bands above are octaves.
const LOWEST_EDGE_HZ: f64 = 200.0;
/// Number of octave bands above the lowest.
const OCTAVES: usize = 6;
/// Share of a band's bins that make its peak, and its valley.
const SHARE: f64 = 0.02;
/// librosa's smallest value before the logarithm.
const SMALLEST: f32 = 1e-10;

/// Number of values a frame has.
pub const BANDS: usize = OCTAVES + 1;

/// Octave bands on the bins of a spectrum.
#[derive(Debug, Clone)]
pub struct Contrast {
    bands: Vec<Band>,
}

#[derive(Debug, Clone)]
struct Band {
    bins: Range<usize>,
    taken: usize,
}

/// Levels in decibels of each band's peaks and valleys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeaksAndValleys {
    /// Mean of each band's largest magnitudes.
    pub peaks_db: [f32; BANDS],
    /// Mean of each band's smallest magnitudes.
    pub valleys_db: [f32; BANDS],
}

impl Contrast {
    /// Bands for spectra of `bins` bins that are `bin_hz` apart.
    pub fn new(bins: usize, bin_hz: f64) -> Self {
        let edge = |index: usize| {
            if index == 0 {
                0.0
            } else {
                LOWEST_EDGE_HZ * f64::from(1 << (index - 1))
            }
        };
        let band = |index: usize| {
            let last = index == OCTAVES;
            let first_inside = (edge(index) / bin_hz).ceil() as usize;
            let begin = if index == 0 {
                0
            } else {
                first_inside.saturating_sub(1)
            };
            let end = if last {
                bins
            } else {
                (edge(index + 1) / bin_hz).floor() as usize + 1
            };
            let (begin, end) = (begin.min(bins), end.min(bins));
            let taken = ((SHARE * (end - begin.min(end)) as f64).round() as usize).max(1);
            // All but the last band leave out their highest bin.
            let end = if last { end } else { end.saturating_sub(1) };
            Band {
                bins: begin.min(end)..end,
                taken,
            }
        };
        Self {
            bands: (0..BANDS).map(band).collect(),
        }
    }

    /// Peaks and valleys of one frame's magnitudes; `scratch` is reused from frame to frame.
    pub fn of_frame(&self, magnitudes: &[f32], scratch: &mut Vec<f32>) -> PeaksAndValleys {
        let mut result = PeaksAndValleys {
            peaks_db: [0.0; BANDS],
            valleys_db: [0.0; BANDS],
        };
        for (index, band) in self.bands.iter().enumerate() {
            scratch.clear();
            scratch.extend_from_slice(&magnitudes[band.bins.clone()]);
            let taken = band.taken.min(scratch.len());
            if taken == 0 {
                continue;
            }
            let mean = |values: &[f32]| values.iter().sum::<f32>() / taken as f32;
            scratch.select_nth_unstable_by(taken - 1, f32::total_cmp);
            result.valleys_db[index] = decibels(mean(&scratch[..taken]).max(SMALLEST));
            let rest = scratch.len() - taken;
            scratch.select_nth_unstable_by(rest, f32::total_cmp);
            result.peaks_db[index] = decibels(mean(&scratch[rest..]).max(SMALLEST));
        }
        result
    }
}

impl PeaksAndValleys {
    /// Peaks less valleys in decibels.
    pub fn contrast_db(&self) -> [f32; BANDS] {
        std::array::from_fn(|band| self.peaks_db[band] - self.valleys_db[band])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_spectrum_has_no_contrast_and_a_line_has() {
        let contrast = Contrast::new(2049, 44_100.0 / 4096.0);
        let mut magnitudes = vec![0.1; 2049];
        let mut scratch = Vec::new();
        let flat = contrast.of_frame(&magnitudes, &mut scratch).contrast_db();
        assert!(flat.iter().all(|value| value.abs() < 1e-5), "{flat:?}");
        magnitudes[93] = 10.0; // 1 kHz: the band from 800 to 1600 Hz
        let line = contrast.of_frame(&magnitudes, &mut scratch).contrast_db();
        assert!(
            line[3] > 10.0 && line[2].abs() < 1e-5 && line[4].abs() < 1e-5,
            "{line:?}"
        );
    }
}
