//! Banks of band filters on spectrum bins.

use rayon::prelude::*;

use crate::SpectrumError;
use crate::error::check_length;

/// A band's weights from its first bin on; the rest of the row is zero.
#[derive(Debug, Clone, PartialEq)]
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

/// A matrix `[bands, bins]` whose rows are zero outside a short range of bins.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterBank {
    bins: usize,
    bands: Vec<Band>,
}

impl FilterBank {
    /// From the full matrix, row after row.
    pub fn from_rows(
        bins: usize,
        rows: impl IntoIterator<Item = Vec<f32>>,
    ) -> Result<Self, SpectrumError> {
        let bands = rows
            .into_iter()
            .map(|row| band(bins, &row))
            .collect::<Result<_, _>>()?;
        Ok(Self { bins, bands })
    }

    /// Number of output bands.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Number of input bins.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// One row of the matrix, zeros included.
    pub fn row(&self, index: usize) -> Vec<f32> {
        let mut row = vec![0.0; self.bins];
        let band = &self.bands[index];
        row[band.first_bin..band.first_bin + band.weights.len()].copy_from_slice(&band.weights);
        row
    }

    /// Bands of one frame: `out[band] = sum over bins of weight * frame[bin]`.
    pub fn apply_frame(&self, frame: &[f32], out: &mut [f32]) {
        for (value, band) in out.iter_mut().zip(&self.bands) {
            let inside = &frame[band.first_bin..band.first_bin + band.weights.len()];
            *value = inside
                .iter()
                .zip(&band.weights)
                .map(|(bin, weight)| bin * weight)
                .sum();
        }
    }

    /// Bands of every frame: `[frames, bins]` to `[frames, bands]`.
    pub fn apply(&self, frames: &[f32]) -> Result<Vec<f32>, SpectrumError> {
        let count = frames.len().checked_div(self.bins).unwrap_or(0);
        check_length("frames", count * self.bins, frames.len())?;
        let mut out = vec![0.0; count * self.bands()];
        if !out.is_empty() {
            let pairs = out
                .par_chunks_exact_mut(self.bands())
                .zip(frames.par_chunks_exact(self.bins));
            pairs.for_each(|(bands, frame)| self.apply_frame(frame, bands));
        }
        Ok(out)
    }
}

fn band(bins: usize, row: &[f32]) -> Result<Band, SpectrumError> {
    check_length("filter bank row", bins, row.len())?;
    let first_bin = row.iter().position(|&weight| weight != 0.0).unwrap_or(0);
    let end = row
        .iter()
        .rposition(|&weight| weight != 0.0)
        .map_or(first_bin, |last| last + 1);
    Ok(Band {
        first_bin,
        weights: row[first_bin..end].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_full_matrix() {
        let rows = [
            vec![0.0, 1.0, 2.0, 0.0],
            vec![0.0; 4],
            vec![3.0, 0.0, 0.0, 4.0],
        ];
        let bank = FilterBank::from_rows(4, rows.clone()).unwrap();
        let frames = [1.0, 10.0, 100.0, 1000.0, -1.0, 0.5, 0.25, 2.0];
        assert_eq!(
            bank.apply(&frames).unwrap(),
            [210.0, 0.0, 4003.0, 1.0, 0.0, 5.0]
        );
        assert_eq!(
            (0..3).map(|index| bank.row(index)).collect::<Vec<_>>(),
            rows
        );
        assert!(bank.apply(&frames[1..]).is_err());
    }
}
