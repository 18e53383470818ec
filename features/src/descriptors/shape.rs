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

/// The shape of one power spectrum whose bins are `bin_hz` apart. A frame of zeros has shape zero and flatness one.
pub fn shape(power: &[f32], bin_hz: f64) -> Shape {
    let magnitudes = || power.iter().map(|value| f64::from(value.sqrt()));
    let total: f64 = magnitudes().sum();
    let frequencies = || (0..power.len()).map(|bin| bin as f64 * bin_hz);
    let weighted = |weight: &dyn Fn(f64) -> f64| -> f64 {
        let sum: f64 = magnitudes()
            .zip(frequencies())
            .map(|(magnitude, hz)| magnitude * weight(hz))
            .sum();
        if total > 0.0 { sum / total } else { 0.0 }
    };
    let centroid = weighted(&|hz| hz);
    let variance = weighted(&|hz| (hz - centroid).powi(2));
    Shape {
        centroid_hz: centroid as f32,
        bandwidth_hz: variance.sqrt() as f32,
        rolloff_hz: (rolloff_bin(magnitudes(), total) as f64 * bin_hz) as f32,
        flatness: flatness(power),
    }
}

fn rolloff_bin(magnitudes: impl Iterator<Item = f64>, total: f64) -> usize {
    let mut sum = 0.0;
    let reached = |magnitude: f64| {
        sum += magnitude;
        sum >= ROLLOFF_SHARE * total
    };
    magnitudes.map(reached).position(|done| done).unwrap_or(0)
}

fn flatness(power: &[f32]) -> f32 {
    let count = power.len().max(1) as f64;
    let raised = || power.iter().map(|value| value.max(SMALLEST_POWER));
    let geometric = (raised().map(|value| f64::from(value.ln())).sum::<f64>() / count).exp();
    let arithmetic = raised().map(f64::from).sum::<f64>() / count;
    (geometric / arithmetic) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines() {
        let mut power = vec![0.0; 101];
        power[20] = 1.0;
        power[40] = 1.0;
        let shape = shape(&power, 10.0);
        assert_eq!(
            (shape.centroid_hz, shape.bandwidth_hz, shape.rolloff_hz),
            (300.0, 100.0, 400.0)
        );
        assert!(shape.flatness < 1e-6);
    }

    #[test]
    fn silence_has_a_shape() {
        let shape = shape(&[0.0; 64], 10.0);
        assert_eq!((shape.centroid_hz, shape.rolloff_hz), (0.0, 0.0));
        assert!((shape.flatness - 1.0).abs() < 1e-5);
    }
}
