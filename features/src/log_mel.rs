//! Log-mel spectrograms.
//!
//! Mel power of a frame is the filter bank times the squared magnitudes of the frame's spectrum; log-mel is its level
//! in decibels, `10 log10(max(power, floor))`. Two sets of parameters are in use: [`MelParameters::measuring`], on
//! which everything in this crate is built, and [`MelParameters::librosa`], the defaults of `librosa.feature.
//! melspectrogram`, against whose values this module is tested.

use spectrum::mel::{MelNorm, MelScale, filter_bank};
use spectrum::{Edge, FilterBank, SpectrumError, Stft, hann_periodic};

use crate::{FFT_SIZE, HOP, SAMPLE_RATE_HZ};

/// librosa's smallest power: levels below −100 dB are not told apart.
const LIBROSA_SMALLEST_POWER: f32 = 1e-10;

/// What defines a mel spectrogram.
#[derive(Debug, Clone, PartialEq)]
pub struct MelParameters {
    /// Rate of the signal in hertz.
    pub sample_rate_hz: u32,
    /// Length of a frame in samples (periodic Hann window).
    pub fft_size: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Number of mel bands (Slaney's scale).
    pub bands: usize,
    /// Lowest and highest frequency in hertz.
    pub range_hz: (f64, f64),
    /// Height of the triangles.
    pub norm: MelNorm,
    /// What the first and last frames see beyond the signal.
    pub edge: Edge,
    /// Whether powers are scaled so that a sine of amplitude one has power one in its bin.
    pub full_scale: bool,
    /// Levels below this are raised to it, in decibels.
    pub floor_db: f32,
}

impl MelParameters {
    /// 44.1 kHz, 4096/1024, 128 bands of unit height from 30 Hz to 20 kHz, levels relative to a full-scale sine,
    /// floor −90 dB.
    pub fn measuring() -> Self {
        Self {
            sample_rate_hz: SAMPLE_RATE_HZ,
            fft_size: FFT_SIZE,
            hop: HOP,
            bands: 128,
            range_hz: (30.0, 20_000.0),
            norm: MelNorm::Peak,
            edge: Edge::Reflect,
            full_scale: true,
            floor_db: -90.0,
        }
    }

    /// The defaults of `librosa.feature.melspectrogram` at this rate.
    pub fn librosa(sample_rate_hz: u32) -> Self {
        Self {
            sample_rate_hz,
            fft_size: 2048,
            hop: 512,
            bands: 128,
            range_hz: (0.0, f64::from(sample_rate_hz) / 2.0),
            norm: MelNorm::Area,
            edge: Edge::Zeros,
            full_scale: false,
            floor_db: 10.0 * LIBROSA_SMALLEST_POWER.log10(),
        }
    }
}

/// A planned log-mel transform.
#[derive(Debug, Clone)]
pub struct LogMel {
    parameters: MelParameters,
    stft: Stft,
    bank: FilterBank,
    power_scale: f32,
}

/// Levels `[frames, bands]` in decibels.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMelSpectrogram {
    /// Number of bands.
    pub bands: usize,
    /// Levels in decibels, frame after frame.
    pub values: Vec<f32>,
}

impl LogMel {
    /// Plans the transform.
    ///
    /// # Errors
    /// When a size or frequency is out of range.
    pub fn new(parameters: MelParameters) -> Result<Self, SpectrumError> {
        let p = &parameters;
        let stft = Stft::with_window(hann_periodic(p.fft_size), p.hop)?.with_edge(p.edge);
        let bank = filter_bank(
            p.sample_rate_hz,
            p.fft_size,
            p.bands,
            p.range_hz,
            MelScale::Slaney,
            p.norm,
        )?;
        // A sine of amplitude one peaks at half the sum of the window, a quarter of its length for Hann.
        let peak = p.fft_size as f32 / 4.0;
        let power_scale = if p.full_scale {
            1.0 / (peak * peak)
        } else {
            1.0
        };
        Ok(Self {
            parameters,
            stft,
            bank,
            power_scale,
        })
    }

    /// The parameters it was planned with.
    pub fn parameters(&self) -> &MelParameters {
        &self.parameters
    }

    /// Bins of a power spectrum.
    pub fn bins(&self) -> usize {
        self.stft.bins()
    }

    /// Power spectrum `[frames, bins]` of a signal, scaled as the parameters say.
    ///
    /// # Errors
    /// When the signal is empty.
    pub fn power(&self, signal: &[f32]) -> Result<Vec<f32>, SpectrumError> {
        let spectrogram = self.stft.forward(signal)?;
        Ok(spectrogram
            .values()
            .iter()
            .map(|value| value.norm_sqr() * self.power_scale)
            .collect())
    }

    /// Levels of a power spectrum `[frames, bins]`.
    ///
    /// # Errors
    /// When the length of `power` is not a multiple of the number of bins.
    pub fn of_power(&self, power: &[f32]) -> Result<LogMelSpectrogram, SpectrumError> {
        let mut values = self.bank.apply(power)?;
        let smallest = 10f32.powf(self.parameters.floor_db / 10.0);
        for value in &mut values {
            *value = decibels(value.max(smallest));
        }
        Ok(LogMelSpectrogram {
            bands: self.parameters.bands,
            values,
        })
    }

    /// Levels of a signal.
    ///
    /// # Errors
    /// When the signal is empty.
    pub fn of_signal(&self, signal: &[f32]) -> Result<LogMelSpectrogram, SpectrumError> {
        self.of_power(&self.power(signal)?)
    }

    /// Centre frequency of a band in hertz.
    pub fn centre_hz(&self, band: usize) -> f64 {
        let scale = MelScale::Slaney;
        let (low, high) = (
            scale.mel(self.parameters.range_hz.0),
            scale.mel(self.parameters.range_hz.1),
        );
        scale.frequency_hz(
            low + (high - low) * (band + 1) as f64 / (self.parameters.bands + 1) as f64,
        )
    }

    /// Where a frequency lies on the axis of bands: 0 at the bottom of the first, 1 at the top of the last.
    pub fn axis_fraction(&self, frequency_hz: f64) -> f64 {
        let scale = MelScale::Slaney;
        let (low, high) = (
            scale.mel(self.parameters.range_hz.0),
            scale.mel(self.parameters.range_hz.1),
        );
        let position =
            (scale.mel(frequency_hz) - low) / (high - low) * (self.parameters.bands + 1) as f64;
        (position - 0.5) / self.parameters.bands as f64
    }
}

impl LogMelSpectrogram {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.values.len().checked_div(self.bands).unwrap_or(0)
    }

    /// The frames in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.bands.max(1))
    }

    /// The largest level.
    pub fn maximum_db(&self) -> f32 {
        self.values
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max)
    }

    /// Raises levels more than `range_db` below the largest (librosa's `top_db`).
    #[must_use]
    pub fn limited(mut self, range_db: f32) -> Self {
        let floor = self.maximum_db() - range_db;
        self.values
            .iter_mut()
            .for_each(|value| *value = value.max(floor));
        self
    }

    /// Mean squared difference in dB² to a spectrogram of the same shape; frames beyond the shorter are left out.
    pub fn mean_squared_error(&self, other: &Self) -> f64 {
        let pairs = self.values.iter().zip(&other.values);
        let sum: f64 = pairs.clone().map(|(a, b)| f64::from(a - b).powi(2)).sum();
        sum / pairs.len().max(1) as f64
    }
}

/// The level of a power in decibels.
pub fn decibels(power: f32) -> f32 {
    10.0 * power.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scale_sine_has_zero_decibels_in_its_band() {
        let mel = LogMel::new(MelParameters::measuring()).unwrap();
        // Exactly on bin 93, where the triangles are wider than the window's main lobe is high.
        let radians = std::f64::consts::TAU * 930.0 / 4096.0;
        let sine: Vec<f32> = (0..44_100)
            .map(|n| (radians * f64::from(n)).sin() as f32)
            .collect();
        let levels = mel.of_signal(&sine).unwrap();
        let middle = levels.iter().nth(20).unwrap();
        let loudest = middle.iter().copied().fold(f32::MIN, f32::max);
        assert!((-1.5..2.0).contains(&loudest), "{loudest} dB");
        let band = middle.iter().position(|&level| level == loudest).unwrap();
        let centre = mel.centre_hz(band);
        assert!((centre / 10_013.0 - 1.0).abs() < 0.05, "{centre} Hz");
    }

    #[test]
    fn axis_and_centres_agree() {
        let mel = LogMel::new(MelParameters::measuring()).unwrap();
        for band in [0, 17, 127] {
            let fraction = mel.axis_fraction(mel.centre_hz(band));
            assert!((fraction - (band as f64 + 0.5) / 128.0).abs() < 1e-9);
        }
    }
}
