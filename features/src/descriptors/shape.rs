//! The shape of a spectrum in a few numbers: centroid, bandwidth, roll-off, flatness.
//!
//! Centroid, bandwidth and roll-off weigh bins by magnitude, flatness by power, as librosa does.

/// librosa's smallest power within the flatness.
const SMALLEST_POWER: f32 = 1e-10;

/// Spectral shape of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Mean frequency in hertz.
    pub centroid_hz: f32,
    /// Deviation about the centroid in hertz.
    pub bandwidth_hz: f32,
    /// The frequency in hertz below which lies 85 % of the magnitude.
    pub rolloff_hz: f32,
    /// Geometric over arithmetic mean of the power: 1 for white noise, 0 for a sine.
    pub flatness: f32,
}

/// Share of the magnitude below the roll-off.
const ROLLOFF_SHARE: f64 = 0.85;

/// The shape of one spectrum whose bins are `bin_hz` apart, given as magnitudes and as their squares. A frame of zeros has
/// shape zero and flatness one.
pub fn shape(magnitudes: &[f32], power: &[f32], bin_hz: f64) -> Shape {
    // Moments about bin zero: in f64 they lose nothing that shows against moments about the centroid.
    let (mut total, mut first, mut second) = (0f64, 0f64, 0f64);
    for (bin, &magnitude) in magnitudes.iter().enumerate() {
        let (bin, magnitude) = (bin as f64, f64::from(magnitude));
        total += magnitude;
        first += bin * magnitude;
        second += bin * bin * magnitude;
    }
    let mean = |sum: f64| if total > 0.0 { sum / total } else { 0.0 };
    let centroid = mean(first);
    let variance = (mean(second) - centroid * centroid).max(0.0);
    Shape {
        centroid_hz: (centroid * bin_hz) as f32,
        bandwidth_hz: (variance.sqrt() * bin_hz) as f32,
        rolloff_hz: (rolloff_bin(magnitudes, total) as f64 * bin_hz) as f32,
        flatness: flatness(power),
    }
}

fn rolloff_bin(magnitudes: &[f32], total: f64) -> usize {
    let mut sum = 0.0;
    let reached = |&magnitude: &f32| {
        sum += f64::from(magnitude);
        sum >= ROLLOFF_SHARE * total
    };
    magnitudes.iter().position(reached).unwrap_or(0)
}

fn flatness(power: &[f32]) -> f32 {
    /// Logarithms are taken of products: of so many values of 1e-10 and more, f64 holds one.
    const PRODUCT: usize = 16;
    let count = power.len().max(1) as f64;
    let (mut logarithms, mut sum) = (0f64, 0f64);
    for values in power.chunks(PRODUCT) {
        let mut product = 1f64;
        for value in values {
            let raised = f64::from(value.max(SMALLEST_POWER));
            product *= raised;
            sum += raised;
        }
        logarithms += product.ln();
    }
    let geometric = (logarithms / count).exp();
    (geometric / (sum / count)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines() {
        let mut power = vec![0.0; 101];
        power[20] = 1.0;
        power[40] = 1.0;
        let shape = shape(&power, &power, 10.0);
        assert_eq!(
            (shape.centroid_hz, shape.bandwidth_hz, shape.rolloff_hz),
            (300.0, 100.0, 400.0)
        );
        assert!(shape.flatness < 1e-6);
    }

    #[test]
    fn silence_has_a_shape() {
        let shape = shape(&[0.0; 64], &[0.0; 64], 10.0);
        assert_eq!((shape.centroid_hz, shape.rolloff_hz), (0.0, 0.0));
        assert!((shape.flatness - 1.0).abs() < 1e-5);
    }
}
