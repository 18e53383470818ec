//! Chroma: power folded into twelve pitch classes.
//!
//! The filters are those of `librosa.filters.chroma` (after Ellis 2007): each bin spreads over neighbouring classes by
//! a Gaussian as wide as the bin, and octaves far from the fifth count less.

/// Number of pitch classes; class 0 is C.
pub const CLASSES: usize = 12;

/// Centre of the octave weighting: octaves above 27.5 Hz.
const CENTRE_OCTAVE: f64 = 5.0;
/// Half-width of the octave weighting, in octaves.
const OCTAVE_WIDTH: f64 = 2.0;
/// The A from which octaves are counted, in hertz.
const LOWEST_A_HZ: f64 = 27.5;
/// Filters count classes from A; the output counts them from C.
const A_TO_C: usize = 3;

/// Pitch-class filters for one size of spectrum.
#[derive(Debug, Clone)]
pub struct Chroma {
    /// `[bins, CLASSES]`
    weights: Vec<[f32; CLASSES]>,
}

impl Chroma {
    /// Filters for an FFT of `fft_size` at `sample_rate_hz`, tuned to A = 440 Hz.
    pub fn new(sample_rate_hz: u32, fft_size: usize) -> Self {
        let bin_hz = f64::from(sample_rate_hz) / fft_size as f64;
        let class = |bin: usize| CLASSES as f64 * (bin as f64 * bin_hz / LOWEST_A_HZ).log2();
        // Zero hertz is placed an octave and a half below the first bin.
        let position = |bin: usize| {
            if bin == 0 {
                class(1) - 1.5 * CLASSES as f64
            } else {
                class(bin)
            }
        };
        let weights = |bin: usize| {
            let width = (position(bin + 1) - position(bin)).max(1.0);
            bin_weights(position(bin), width)
        };
        Self {
            weights: (0..fft_size / 2 + 1).map(weights).collect(),
        }
    }

    /// Pitch-class powers of one frame of bin powers.
    pub fn of_frame(&self, power: &[f32]) -> [f32; CLASSES] {
        let mut classes = [0.0; CLASSES];
        for (weights, value) in self.weights.iter().zip(power) {
            for (class, weight) in classes.iter_mut().zip(weights) {
                *class += weight * value;
            }
        }
        classes
    }
}

fn bin_weights(position: f64, width: f64) -> [f32; CLASSES] {
    let half = CLASSES as f64 / 2.0;
    let raw: [f64; CLASSES] = std::array::from_fn(|index| {
        let class = ((index + A_TO_C) % CLASSES) as f64;
        let distance = (position - class + half).rem_euclid(CLASSES as f64) - half;
        (-0.5 * (2.0 * distance / width).powi(2)).exp()
    });
    let length = raw.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
    let octave = position / CLASSES as f64;
    let loudness = (-0.5 * ((octave - CENTRE_OCTAVE) / OCTAVE_WIDTH).powi(2)).exp();
    raw.map(|weight| (weight / length.max(f64::MIN_POSITIVE) * loudness) as f32)
}

/// Scales so that the classes sum to one; zeros stay zeros.
pub fn to_shares(classes: [f32; CLASSES]) -> [f32; CLASSES] {
    let sum: f32 = classes.iter().sum();
    if sum > 0.0 {
        classes.map(|class| class / sum)
    } else {
        classes
    }
}

/// Entropy of shares relative to the largest possible: 0 for a single class, 1 for all alike.
pub fn entropy(shares: &[f32; CLASSES]) -> f32 {
    let bits = |share: &f32| {
        if *share > 0.0 {
            -share * share.ln()
        } else {
            0.0
        }
    };
    shares.iter().map(bits).sum::<f32>() / (CLASSES as f32).ln()
}

/// The index of the largest class.
pub fn strongest(classes: &[f32; CLASSES]) -> usize {
    let larger = |best: usize, index: usize| {
        if classes[index] > classes[best] {
            index
        } else {
            best
        }
    };
    (0..CLASSES).fold(0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_into_its_class() {
        let chroma = Chroma::new(44_100, 4096);
        for (frequency_hz, expected) in [(261.63, 0), (440.0, 9), (880.0, 9), (1174.66, 2)] {
            let mut power = vec![0.0; 2049];
            power[(frequency_hz * 4096.0 / 44_100.0_f64).round() as usize] = 1.0;
            assert_eq!(
                strongest(&chroma.of_frame(&power)),
                expected,
                "{frequency_hz} Hz"
            );
        }
    }

    #[test]
    fn entropy_spans_zero_to_one() {
        let mut single = [0.0; CLASSES];
        single[4] = 1.0;
        assert_eq!(entropy(&single), 0.0);
        assert!((entropy(&to_shares([3.0; CLASSES])) - 1.0).abs() < 1e-6);
        assert_eq!(to_shares([0.0; CLASSES]), [0.0; CLASSES]);
    }
}
