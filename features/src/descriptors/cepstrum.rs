//! Mel-frequency cepstral coefficients: the cosine transform of log-mel levels.

/// The first rows of the orthonormal discrete cosine transform (type 2).
#[derive(Debug, Clone)]
pub struct Cepstrum {
    bands: usize,
    /// `[coefficients, bands]`
    basis: Vec<f32>,
}

impl Cepstrum {
    /// The transform of `bands` levels into `coefficients`, the first of which is the mean level times `sqrt(bands)`.
    pub fn new(bands: usize, coefficients: usize) -> Self {
        let bands = bands.max(1);
        let row = |index: usize| {
            let scale = if index == 0 { 1.0 } else { 2.0 } / bands as f64;
            let step = std::f64::consts::PI * index as f64 / bands as f64;
            (0..bands).map(move |band| (scale.sqrt() * (step * (band as f64 + 0.5)).cos()) as f32)
        };
        Self {
            bands,
            basis: (0..coefficients).flat_map(row).collect(),
        }
    }

    /// Number of coefficients.
    pub fn coefficients(&self) -> usize {
        self.basis.len() / self.bands
    }

    /// Coefficients of one frame of levels.
    pub fn of_frame<'a>(&'a self, levels: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let rows = self.basis.chunks_exact(self.bands);
        rows.map(move |row| {
            row.iter()
                .zip(levels)
                .map(|(weight, level)| weight * level)
                .sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_orthonormal() {
        let cepstrum = Cepstrum::new(16, 16);
        for (index, row) in cepstrum.basis.chunks_exact(16).enumerate() {
            for (other, coefficient) in cepstrum.of_frame(row).enumerate() {
                let expected = if index == other { 1.0 } else { 0.0 };
                assert!(
                    (coefficient - expected).abs() < 1e-6,
                    "{index} {other} {coefficient}"
                );
            }
        }
    }
}
