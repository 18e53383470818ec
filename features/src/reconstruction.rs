//! How much of a sound an autoencoder gives back: spectra, pitch, highs and stereo of a copy against the original.
//!
//! Samples need not agree: phases may be made anew. All four measures are of spectra.

use audio::AudioBuffer;
use spectrum::{Complex32, Stft};

use crate::error::FeatureError;
use crate::log_mel::{LogMel, MelParameters, decibels};

/// Window of the pitch and level measures: bins 21.5 Hz apart at 44.1 kHz.
const FFT_SIZE: usize = 2048;
const HOP: usize = 512;
/// Quieter than this under the loudest band of the original, nothing is compared.
const RANGE_DB: f32 = 80.0;
/// Frames this far under the loudest have no pitch to compare.
const PITCH_RANGE_DB: f32 = 40.0;
/// Where pitch is compared.
const PITCH_HZ: (f64, f64) = (86.0, 4000.0);
/// Bins on either side of one that its surroundings are taken of.
const SURROUNDINGS: usize = 8;
/// Keeps the logarithm of silence finite; a full-scale sine has magnitude one.
const MAGNITUDE_FLOOR: f32 = 1e-5;
/// Third octaves in which highs are compared, by their centres.
const HIGHS_HZ: (f64, f64) = (4000.0, 14_000.0);

/// What of an original is in its copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconstruction {
    /// Mean absolute difference of log-mel magnitudes of the middle channel, in powers of ten: 0.1 are 2 dB.
    pub mel_l1: f64,
    /// Mean correlation of fine spectra (log magnitudes less their surroundings) from 86 Hz to 4 kHz.
    pub pitch_correlation: f64,
    /// Level of the copy over that of the original in the third octave where they differ most, 4 to 14 kHz, in decibels.
    pub highs_db: f64,
    /// By how much the level difference between the channels changed, in decibels.
    pub channel_level_db: f64,
}

impl Reconstruction {
    /// Compares a copy with its original; the longer one is cut.
    ///
    /// # Errors
    /// When the sounds have other rates or are too short for a spectrum.
    pub fn of(original: &AudioBuffer, copy: &AudioBuffer) -> Result<Self, FeatureError> {
        let rate = original.sample_rate_hz;
        if copy.sample_rate_hz != rate {
            return Err(FeatureError::SampleRate {
                actual_hz: copy.sample_rate_hz,
                expected_hz: rate,
            });
        }
        let (original, copy) = (original.to_stereo(), copy.to_stereo());
        let samples = original.frames().min(copy.frames());
        let cut =
            |sound: &AudioBuffer| [0, 1].map(|channel| sound.channels[channel][..samples].to_vec());
        let (original, copy) = (cut(&original), cut(&copy));
        let middles = [&original, &copy].map(middle);
        let mel_l1 = mel_difference(&middles, rate)?;
        let stft = Stft::new(FFT_SIZE, HOP)?;
        let scale = spectrum::hann_periodic(FFT_SIZE).iter().sum::<f32>() / 2.0;
        let magnitudes = |signal: &[f32]| -> Result<Vec<f32>, FeatureError> {
            let spectrogram = stft.forward(signal)?;
            let values = spectrogram.values().iter();
            Ok(values
                .map(|value: &Complex32| value.norm() / scale)
                .collect())
        };
        let [one, other] = [magnitudes(&middles[0])?, magnitudes(&middles[1])?];
        let bins = stft.bins();
        let bin_hz = f64::from(rate) / FFT_SIZE as f64;
        let difference = |sound: &[Vec<f32>; 2]| level_db(&sound[0]) - level_db(&sound[1]);
        Ok(Self {
            mel_l1,
            pitch_correlation: pitch_correlation(&one, &other, bins, bin_hz),
            highs_db: highs(&one, &other, bins, bin_hz),
            channel_level_db: (difference(&copy) - difference(&original)).abs(),
        })
    }
}

fn middle(channels: &[Vec<f32>; 2]) -> Vec<f32> {
    let pairs = channels[0].iter().zip(&channels[1]);
    pairs.map(|(left, right)| (left + right) / 2.0).collect()
}

/// Mean power in decibels.
fn level_db(signal: &[f32]) -> f64 {
    let power: f64 = signal.iter().map(|value| f64::from(*value).powi(2)).sum();
    10.0 * (power / signal.len().max(1) as f64 + 1e-12).log10()
}

fn mel_difference(middles: &[Vec<f32>; 2], rate: u32) -> Result<f64, FeatureError> {
    let mel = LogMel::new(MelParameters {
        sample_rate_hz: rate,
        ..MelParameters::measuring()
    })?;
    let [original, copy] = [mel.power(&middles[0])?, mel.power(&middles[1])?];
    let [original, copy] = [mel.of_power(&original)?, mel.of_power(&copy)?];
    let floor = original.maximum_db() - RANGE_DB;
    let frames = original.iter().zip(copy.iter());
    let mut sum = 0.0;
    let mut count = 0usize;
    for (original, copy) in frames {
        for (original, copy) in original.iter().zip(copy) {
            sum += f64::from((original.max(floor) - copy.max(floor)).abs());
            count += 1;
        }
    }
    Ok(sum / 20.0 / count.max(1) as f64)
}

fn pitch_correlation(original: &[f32], copy: &[f32], bins: usize, bin_hz: f64) -> f64 {
    let first = (PITCH_HZ.0 / bin_hz).round() as usize;
    let last = ((PITCH_HZ.1 / bin_hz).round() as usize).min(bins);
    let power = |frame: &[f32]| frame[first..last].iter().map(|v| v * v).sum::<f32>();
    let loudest = original.chunks_exact(bins).map(power).fold(0.0, f32::max);
    let floor_db = decibels(loudest) - PITCH_RANGE_DB;
    let (mut sum, mut count) = (0.0, 0usize);
    for (original, copy) in original.chunks_exact(bins).zip(copy.chunks_exact(bins)) {
        if decibels(power(original)) < floor_db {
            continue;
        }
        sum += correlation(&fine(original, first, last), &fine(copy, first, last));
        count += 1;
    }
    sum / count.max(1) as f64
}

/// Log magnitudes less the mean of their surroundings: partials stand out, the envelope is gone.
fn fine(frame: &[f32], first: usize, last: usize) -> Vec<f64> {
    let logs: Vec<f64> = frame
        .iter()
        .map(|value| f64::from(value + MAGNITUDE_FLOOR).ln())
        .collect();
    (first..last)
        .map(|bin| {
            let around = bin.saturating_sub(SURROUNDINGS)..(bin + SURROUNDINGS + 1).min(logs.len());
            let mean = logs[around.clone()].iter().sum::<f64>() / around.len() as f64;
            logs[bin] - mean
        })
        .collect()
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut both, mut square_one, mut square_other) = (0.0, 0.0, 0.0);
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (one - mean_one, other - mean_other);
        both += one * other;
        square_one += one * one;
        square_other += other * other;
    }
    both / (square_one * square_other).sqrt().max(1e-12)
}

fn highs(original: &[f32], copy: &[f32], bins: usize, bin_hz: f64) -> f64 {
    let mut worst = 0.0f64;
    let mut centre = HIGHS_HZ.0;
    let third = 2f64.powf(1.0 / 3.0);
    while centre <= HIGHS_HZ.1 {
        let edges = [centre / third.sqrt(), centre * third.sqrt()].map(|hz| (hz / bin_hz) as usize);
        let power = |frames: &[f32]| -> f64 {
            let of_frame = |frame: &[f32]| -> f64 {
                let band = &frame[edges[0].min(bins)..edges[1].min(bins)];
                band.iter().map(|value| f64::from(*value).powi(2)).sum()
            };
            frames.chunks_exact(bins).map(of_frame).sum()
        };
        let change = 10.0 * ((power(copy) + 1e-12) / (power(original) + 1e-12)).log10();
        if change.abs() > worst.abs() {
            worst = change;
        }
        centre *= third;
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chord with noise above it, louder on the left.
    fn sound(gain: f32, high_gain: f32) -> AudioBuffer {
        let mut noise = 1u32;
        let samples: Vec<f32> = (0..44_100)
            .map(|n| {
                let time = n as f32 / 44_100.0;
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let hiss = (noise >> 8) as f32 / (1 << 24) as f32 - 0.5;
                let partials = [220.0, 440.0, 660.0, 1320.0];
                let chord: f32 = partials
                    .iter()
                    .map(|hz| (std::f32::consts::TAU * hz * time).sin() * 0.1)
                    .sum();
                gain * (chord + high_gain * 0.1 * hiss)
            })
            .collect();
        let right = samples.iter().map(|value| value * 0.5).collect();
        AudioBuffer::new(44_100, vec![samples, right]).unwrap()
    }

    #[test]
    fn a_sound_is_its_own_copy() {
        let sound = sound(1.0, 1.0);
        let found = Reconstruction::of(&sound, &sound).unwrap();
        assert!(
            found.mel_l1 < 1e-9 && found.pitch_correlation > 0.999,
            "{found:?}"
        );
        assert!(found.highs_db.abs() < 1e-9 && found.channel_level_db < 1e-9);
    }

    #[test]
    fn what_is_lost_is_told() {
        let original = sound(1.0, 1.0);
        let quieter = Reconstruction::of(&original, &sound(0.5, 1.0)).unwrap();
        assert!((quieter.mel_l1 - 0.301).abs() < 0.02, "{quieter:?}");
        assert!(quieter.pitch_correlation > 0.99);
        let dull = Reconstruction::of(&original, &sound(1.0, 0.25)).unwrap();
        assert!((dull.highs_db + 12.0).abs() < 1.0, "{dull:?}");
        let mut mono = original.clone();
        mono.channels[1] = mono.channels[0].clone();
        let mono = Reconstruction::of(&original, &mono).unwrap();
        assert!((mono.channel_level_db - 6.02).abs() < 0.1, "{mono:?}");
        let hiss = AudioBuffer::new(44_100, vec![sound(1.0, 40.0).channels[0].clone(); 2]).unwrap();
        let hiss = Reconstruction::of(&original, &hiss).unwrap();
        assert!(hiss.pitch_correlation < 0.7, "{hiss:?}");
    }
}
