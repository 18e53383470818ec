//! Loudness and peaks by EBU R 128 (ITU-R BS.1770-4), and gain that keeps peaks safe.

use ebur128::{EbuR128, Mode};

use crate::{AudioBuffer, AudioError};

/// Length of a gating block: nothing shorter has a loudness.
pub const GATING_BLOCK_SECS: f64 = 0.4;

/// What a [`Meter`] measures besides sample peaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Integrated loudness.
    Loudness,
    /// Integrated loudness, and true peaks by fourfold oversampling (several times the work).
    LoudnessAndTruePeak,
}

/// Measures planar blocks as they pass.
pub struct Meter {
    ebu: EbuR128,
    channels: usize,
    has_true_peak: bool,
    sample_peak: f64,
}

impl Meter {
    /// A meter for `channels` channels (1: mono, 2: stereo, beyond: the order of ITU-R BS.1770).
    pub fn new(channels: usize, sample_rate_hz: u32, measure: Measure) -> Result<Self, AudioError> {
        let has_true_peak = measure == Measure::LoudnessAndTruePeak;
        let mode = if has_true_peak {
            Mode::I | Mode::TRUE_PEAK
        } else {
            Mode::I
        };
        let count = u32::try_from(channels).unwrap_or(u32::MAX);
        let ebu =
            EbuR128::new(count, sample_rate_hz, mode).map_err(|error| AudioError::Loudness {
                channels,
                sample_rate_hz,
                reason: error.to_string(),
            })?;
        Ok(Self {
            ebu,
            channels,
            has_true_peak,
            sample_peak: 0.0,
        })
    }

    /// Takes `[channels][frames]`; finite samples, equal lengths.
    pub fn add(&mut self, planes: &[&[f64]]) -> Result<(), AudioError> {
        self.ebu
            .add_frames_planar_f64(planes)
            .map_err(|error| AudioError::Loudness {
                channels: self.channels,
                sample_rate_hz: self.ebu.rate(),
                reason: error.to_string(),
            })?;
        for plane in planes {
            self.sample_peak = plane
                .iter()
                .fold(self.sample_peak, |peak, sample| peak.max(sample.abs()));
        }
        Ok(())
    }

    /// Integrated loudness in LUFS; `None` below one gating block of sound above -70 LUFS.
    #[must_use]
    pub fn integrated_lufs(&self) -> Option<f64> {
        self.ebu
            .loudness_global()
            .ok()
            .filter(|lufs| lufs.is_finite())
    }

    /// Largest absolute sample.
    #[must_use]
    pub fn sample_peak(&self) -> f64 {
        self.sample_peak
    }

    /// Largest absolute value between samples too; the sample peak where it is not measured.
    #[must_use]
    pub fn true_peak(&self) -> f64 {
        if !self.has_true_peak {
            return self.sample_peak;
        }
        (0..self.ebu.channels())
            .filter_map(|channel| self.ebu.true_peak(channel).ok())
            .fold(self.sample_peak, f64::max)
    }
}

/// A whole buffer's integrated loudness in LUFS; `None` when it is too short or silent.
#[must_use]
pub fn integrated_lufs(buffer: &AudioBuffer) -> Option<f64> {
    measured(buffer, Measure::Loudness).and_then(|meter| meter.integrated_lufs())
}

/// A whole buffer's true peak, linear (1.0 is full scale).
#[must_use]
pub fn true_peak(buffer: &AudioBuffer) -> f64 {
    measured(buffer, Measure::LoudnessAndTruePeak)
        .map_or_else(|| f64::from(buffer.peak()), |meter| meter.true_peak())
}

fn measured(buffer: &AudioBuffer, measure: Measure) -> Option<Meter> {
    let mut meter = Meter::new(buffer.channels.len(), buffer.sample_rate_hz, measure).ok()?;
    let planes: Vec<Vec<f64>> = buffer
        .channels
        .iter()
        .map(|plane| plane.iter().map(|&sample| f64::from(sample)).collect())
        .collect();
    let slices: Vec<&[f64]> = planes.iter().map(Vec::as_slice).collect();
    meter.add(&slices).ok()?;
    Some(meter)
}

/// The gain in dB that brings `loudness_lufs` to `target_lufs`, lowered where it must be so that
/// `peak` (linear) stays at or below `ceiling_dbfs`.
#[must_use]
pub fn safe_gain_db(loudness_lufs: f64, target_lufs: f64, peak: f64, ceiling_dbfs: f64) -> f64 {
    limit_gain_db(target_lufs - loudness_lufs, peak, ceiling_dbfs)
}

/// `gain_db`, lowered where it must be so that `peak` (linear) stays at or below `ceiling_dbfs`.
#[must_use]
pub fn limit_gain_db(gain_db: f64, peak: f64, ceiling_dbfs: f64) -> f64 {
    if peak > 0.0 {
        gain_db.min(ceiling_dbfs - to_db(peak))
    } else {
        gain_db
    }
}

/// Amplitude ratio to decibels.
#[must_use]
pub fn to_db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// Decibels to amplitude ratio.
#[must_use]
pub fn from_db(db: f64) -> f64 {
    10.0_f64.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gain_reaches_the_target_unless_the_peak_forbids() {
        assert!((safe_gain_db(-20.0, -14.0, 0.1, -1.0) - 6.0).abs() < 1e-9);
        assert!((safe_gain_db(-20.0, -14.0, 1.0, -1.0) + 1.0).abs() < 1e-9);
        assert!((safe_gain_db(-10.0, -14.0, 0.5, -1.0) + 4.0).abs() < 1e-9);
        assert_eq!(safe_gain_db(-20.0, -14.0, 0.0, -1.0), 6.0);
        assert!((to_db(from_db(-23.0)) + 23.0).abs() < 1e-9);
    }

    #[test]
    fn short_and_silent_have_no_loudness() {
        let buffer = |value: f32, frames: usize| {
            AudioBuffer::new(44_100, vec![vec![value; frames]; 2]).unwrap()
        };
        assert_eq!(integrated_lufs(&buffer(0.5, 17_000)), None);
        assert_eq!(integrated_lufs(&buffer(0.0, 88_200)), None);
    }
}
