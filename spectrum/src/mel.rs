//! Mel filter banks, as `librosa.filters.mel` builds them.

use crate::error::check_parameter;
use crate::{FilterBank, SpectrumError};

/// Which formula turns hertz into mels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MelScale {
    /// Slaney's Auditory Toolbox: linear to 1 kHz, logarithmic above (the default of librosa).
    Slaney,
    /// The Hidden Markov Toolkit's: `2595 log10(1 + f / 700)`.
    Htk,
}

/// How the triangles are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MelNorm {
    /// Unit area in hertz (the default of librosa).
    Area,
    /// Unit height.
    Peak,
}

/// Slaney's scale: slope of the linear part.
const HZ_PER_MEL: f64 = 200.0 / 3.0;
/// Slaney's scale: where the logarithmic part starts.
const KNEE_HZ: f64 = 1000.0;
/// Slaney's scale: 27 mels to a factor of 6.4.
const MELS_PER_LOG: f64 = 27.0 / 1.856_297_990_365_626_3;

impl MelScale {
    /// The mel value of a frequency.
    pub fn mel(self, frequency_hz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * (1.0 + frequency_hz / 700.0).log10(),
            Self::Slaney if frequency_hz < KNEE_HZ => frequency_hz / HZ_PER_MEL,
            Self::Slaney => KNEE_HZ / HZ_PER_MEL + (frequency_hz / KNEE_HZ).ln() * MELS_PER_LOG,
        }
    }

    /// The frequency of a mel value.
    pub fn frequency_hz(self, mel: f64) -> f64 {
        let knee = KNEE_HZ / HZ_PER_MEL;
        match self {
            Self::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
            Self::Slaney if mel < knee => mel * HZ_PER_MEL,
            Self::Slaney => KNEE_HZ * ((mel - knee) / MELS_PER_LOG).exp(),
        }
    }
}

/// The `bands` triangles between `low_hz` and `high_hz` on the bins of an FFT of `fft_size` at `sample_rate_hz`.
///
/// Meant for power spectra; neighbouring triangles overlap by half on the mel scale.
pub fn filter_bank(
    sample_rate_hz: u32,
    fft_size: usize,
    bands: usize,
    (low_hz, high_hz): (f64, f64),
    scale: MelScale,
    norm: MelNorm,
) -> Result<FilterBank, SpectrumError> {
    check_parameter(
        sample_rate_hz > 0,
        "sample rate",
        "positive",
        f64::from(sample_rate_hz),
    )?;
    check_parameter(fft_size >= 2, "fft size", "at least 2", fft_size as f64)?;
    check_parameter(
        low_hz >= 0.0 && low_hz < high_hz,
        "lowest frequency",
        "from 0 to the highest",
        low_hz,
    )?;
    let (low, high) = (scale.mel(low_hz), scale.mel(high_hz));
    let corner =
        |index: usize| scale.frequency_hz(low + (high - low) * index as f64 / (bands + 1) as f64);
    let bins = fft_size / 2 + 1;
    let bin_hz = f64::from(sample_rate_hz) / fft_size as f64;
    let triangle = |band: usize| {
        let (left, centre, right) = (corner(band), corner(band + 1), corner(band + 2));
        let height = match norm {
            MelNorm::Area => 2.0 / (right - left),
            MelNorm::Peak => 1.0,
        };
        let weight = |bin: usize| {
            let frequency_hz = bin as f64 * bin_hz;
            let rising = (frequency_hz - left) / (centre - left);
            let falling = (right - frequency_hz) / (right - centre);
            (rising.min(falling).max(0.0) * height) as f32
        };
        (0..bins).map(weight).collect()
    };
    FilterBank::from_rows(bins, (0..bands).map(triangle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_invert() {
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for frequency_hz in [0.0, 55.0, 999.0, 1000.0, 4321.0, 22050.0] {
                let again = scale.frequency_hz(scale.mel(frequency_hz));
                assert!((again - frequency_hz).abs() < 1e-9 * frequency_hz.max(1.0));
            }
        }
    }

    /// Values printed by librosa 0.11: `hz_to_mel(6400)` is 15 + 27 and `hz_to_mel(1000, htk=True)` 999.9855.
    #[test]
    fn known_mels() {
        assert!((MelScale::Slaney.mel(6400.0) - 42.0).abs() < 1e-9);
        assert!((MelScale::Htk.mel(1000.0) - 999.985_537_4).abs() < 1e-6);
    }

    #[test]
    fn areas_are_one() {
        let bank = filter_bank(
            44100,
            8192,
            40,
            (200.0, 20000.0),
            MelScale::Htk,
            MelNorm::Area,
        )
        .unwrap();
        for band in 5..40 {
            let area: f32 = bank.row(band).iter().sum::<f32>() * 44100.0 / 8192.0;
            assert!((area - 1.0).abs() < 0.02, "band {band}: {area}");
        }
        let peaks = filter_bank(
            44100,
            8192,
            40,
            (200.0, 20000.0),
            MelScale::Htk,
            MelNorm::Peak,
        )
        .unwrap();
        assert!(peaks.row(39).iter().all(|&weight| weight <= 1.0));
    }
}
