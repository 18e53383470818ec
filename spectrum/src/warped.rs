//! A frequency axis that is linear where pitch lives and logarithmic above.

use crate::error::check_parameter;
use crate::{FilterBank, SpectrumError};

/// The warped axis: the first `linear_bins` bins of a spectrum one by one, then `logarithmic_bins` bands whose centres
/// lie at equal ratios up to the last bin.
#[derive(Debug, Clone, PartialEq)]
pub struct WarpedAxis {
    spectrum_bins: usize,
    linear_bins: usize,
    centres: Vec<f64>,
}

impl WarpedAxis {
    /// An axis over `spectrum_bins` bins.
    pub fn new(
        spectrum_bins: usize,
        linear_bins: usize,
        logarithmic_bins: usize,
    ) -> Result<Self, SpectrumError> {
        check_parameter(
            linear_bins >= 1,
            "linear bins",
            "at least 1",
            linear_bins as f64,
        )?;
        check_parameter(
            logarithmic_bins >= 2,
            "logarithmic bins",
            "at least 2",
            logarithmic_bins as f64,
        )?;
        let fits = spectrum_bins > linear_bins + logarithmic_bins;
        check_parameter(
            fits,
            "spectrum bins",
            "more than the warped bins",
            spectrum_bins as f64,
        )?;
        let first = linear_bins as f64;
        let ratio = (spectrum_bins - 1) as f64 / first;
        let step = |index: usize| index as f64 / (logarithmic_bins - 1) as f64;
        let logarithmic = (0..logarithmic_bins).map(|index| first * ratio.powf(step(index)));
        let centres = (0..linear_bins)
            .map(|bin| bin as f64)
            .chain(logarithmic)
            .collect();
        Ok(Self {
            spectrum_bins,
            linear_bins,
            centres,
        })
    }

    /// Number of warped bins.
    pub fn bins(&self) -> usize {
        self.centres.len()
    }

    /// Centre of each warped bin, in bins of the spectrum.
    pub fn centres(&self) -> &[f64] {
        &self.centres
    }

    /// `[warped bins, spectrum bins]`: identity below, triangles that sum to one above.
    pub fn warp(&self) -> Result<FilterBank, SpectrumError> {
        FilterBank::from_rows(
            self.spectrum_bins,
            (0..self.bins()).map(|index| self.warp_row(index)),
        )
    }

    /// `[spectrum bins, warped bins]`: linear interpolation between the centres, meant for logarithms.
    pub fn unwarp(&self) -> Result<FilterBank, SpectrumError> {
        FilterBank::from_rows(
            self.bins(),
            (0..self.spectrum_bins).map(|bin| self.unwarp_row(bin)),
        )
    }

    fn warp_row(&self, index: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.spectrum_bins];
        if index < self.linear_bins {
            row[index] = 1.0;
            return row;
        }
        let (left, centre) = (self.centres[index - 1], self.centres[index]);
        let right = self.centres.get(index + 1).copied().unwrap_or(centre + 1.0);
        let height = |bin: usize| {
            let bin = bin as f64;
            ((bin - left) / (centre - left))
                .min((right - bin) / (right - centre))
                .max(0.0)
        };
        let sum: f64 = (0..self.spectrum_bins).map(height).sum();
        for (bin, weight) in row.iter_mut().enumerate() {
            *weight = (height(bin) / sum) as f32;
        }
        row
    }

    fn unwarp_row(&self, bin: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.bins()];
        let position = bin as f64;
        let upper = self.centres.partition_point(|&centre| centre < position);
        match self.centres.get(upper) {
            None => row[self.bins() - 1] = 1.0,
            Some(&centre) if upper == 0 || centre == position => row[upper] = 1.0,
            Some(&centre) => {
                let below = self.centres[upper - 1];
                let share = (position - below) / (centre - below);
                row[upper - 1] = (1.0 - share) as f32;
                row[upper] = share as f32;
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> WarpedAxis {
        WarpedAxis::new(1025, 186, 166).unwrap()
    }

    #[test]
    fn rows_sum_to_one_both_ways() {
        for bank in [axis().warp().unwrap(), axis().unwarp().unwrap()] {
            for index in 0..bank.bands() {
                let sum: f32 = bank.row(index).iter().sum();
                assert!((sum - 1.0).abs() < 1e-5, "row {index}: {sum}");
            }
        }
    }

    #[test]
    fn linear_part_is_kept_and_straight_lines_come_back() {
        let line: Vec<f32> = (0..1025).map(|bin| bin as f32 * 0.01).collect();
        let warped = axis().warp().unwrap().apply(&line).unwrap();
        assert_eq!(warped[..186], line[..186]);
        let again = axis().unwarp().unwrap().apply(&warped).unwrap();
        for (bin, (a, b)) in line.iter().zip(&again).enumerate() {
            // The last triangle is one-sided, which moves it by a third of a band.
            assert!((a - b).abs() < 0.04, "bin {bin}: {a} {b}");
        }
    }

    #[test]
    fn refuses_more_bands_than_bins() {
        assert!(WarpedAxis::new(300, 186, 166).is_err());
        assert!(WarpedAxis::new(1025, 0, 166).is_err());
    }
}
