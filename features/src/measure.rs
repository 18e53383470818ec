//! A clip's two descriptions: its vector for the AFD, its pooled spectrum for the mel-spectral distance.

use std::path::Path;

use audio::AudioBuffer;
use rayon::prelude::*;

use crate::error::{ClipError, FeatureError};
use crate::frame_features::{Extractor, WindowFeatures};
use crate::log_mel::LogMelSpectrogram;
use crate::pooling::quantile;
use crate::{HOP, SAMPLE_RATE_HZ};

pub use crate::frame_features::clip_vector_names;

/// Loudness to which clips are brought before they are compared (EBU R128's programme level).
pub const LOUDNESS_LUFS: f64 = -23.0;
/// Clips that measure less are silent (the absolute gate of EBU R128).
pub const GATE_LUFS: f64 = -70.0;
/// Clips shorter than this are refused.
pub const SHORTEST_SECS: f64 = 1.0;
/// Longer clips are measured in windows of this length, so that deviations over time do not grow with the duration.
pub const WINDOW_SECS: f64 = 6.0;
/// Shares at which the levels of each band are pooled over time.
pub const QUANTILES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// A clip, described.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipMeasurement {
    /// The clip's duration.
    pub duration_secs: f64,
    /// The clip's integrated loudness before it was brought to [`LOUDNESS_LUFS`].
    pub loudness_lufs: f64,
    /// Mean, then deviation, of the per-frame features, and rhythm, averaged over windows; named by [`clip_vector_names`].
    pub vector: Vec<f64>,
    /// Levels `[QUANTILES, bands]` in decibels: for each share, that quantile of each band's level over time.
    pub spectrum: Vec<f64>,
}

/// Reads and measures a file of any format that `audio` decodes.
///
/// # Errors
/// When the file cannot be read, or for the reasons of [`measure`].
pub fn measure_file(path: &Path) -> Result<ClipMeasurement, ClipError> {
    let clip = read(path)?;
    measure(&clip).map_err(|source| ClipError::Measure {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file as 44.1 kHz stereo.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<AudioBuffer, ClipError> {
    audio::read_at(path, SAMPLE_RATE_HZ).map_err(|source| ClipError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Measures a clip of one or two channels at 44.1 kHz.
///
/// # Errors
/// When the clip is silent, shorter than [`SHORTEST_SECS`], not finite, or has another rate or number of channels.
pub fn measure(clip: &AudioBuffer) -> Result<ClipMeasurement, FeatureError> {
    let [left, right] = checked(clip)?;
    let extractor = Extractor::new()?;
    let window = (WINDOW_SECS * f64::from(SAMPLE_RATE_HZ)) as usize;
    let analyse = |start: usize| {
        let range = start..(start + window).min(left.len());
        extractor.analyse(&left[range.clone()], &right[range])
    };
    let starts = window_starts(left.len(), window);
    // The meter works on one core, the spectra wait for no loudness.
    let (loudness, analyses) = rayon::join(
        || loudness(clip),
        || starts.into_par_iter().map(analyse).collect::<Vec<_>>(),
    );
    let loudness_lufs = loudness?;
    let gain = gain(loudness_lufs);
    let windows: Vec<WindowFeatures> = analyses
        .into_par_iter()
        .map(|analysis| extractor.describe(analysis?, gain))
        .collect::<Result<_, _>>()?;
    let vectors: Vec<&Vec<f64>> = windows
        .iter()
        .filter_map(|window| window.vector.as_ref())
        .collect();
    if vectors.is_empty() {
        return Err(FeatureError::Silent {
            loudness_lufs: Some(loudness_lufs),
            gate_lufs: GATE_LUFS,
        });
    }
    Ok(ClipMeasurement {
        duration_secs: left.len() as f64 / f64::from(SAMPLE_RATE_HZ),
        loudness_lufs,
        vector: mean(&vectors),
        spectrum: pooled_spectrum(&windows, extractor.mel().parameters().bands),
    })
}

/// The log-mel spectrogram of a clip's middle channel at [`LOUDNESS_LUFS`], for pictures.
///
/// # Errors
/// For the reasons of [`measure`].
pub fn spectrogram(clip: &AudioBuffer) -> Result<LogMelSpectrogram, FeatureError> {
    let (_, [left, right]) = prepared(clip)?;
    let mid: Vec<f32> = left
        .iter()
        .zip(&right)
        .map(|(l, r)| 0.5 * (l + r))
        .collect();
    Ok(Extractor::new()?.mel().of_signal(&mid)?)
}

/// Checks a clip; its loudness, and left and right at [`LOUDNESS_LUFS`].
pub(crate) fn prepared(clip: &AudioBuffer) -> Result<(f64, [Vec<f32>; 2]), FeatureError> {
    let channels = checked(clip)?;
    let loudness_lufs = loudness(clip)?;
    let gain = gain(loudness_lufs);
    let scaled = |samples: &[f32]| samples.iter().map(|sample| sample * gain).collect();
    Ok((loudness_lufs, channels.map(scaled)))
}

/// The factor that brings a clip to [`LOUDNESS_LUFS`].
fn gain(loudness_lufs: f64) -> f32 {
    10f64.powf((LOUDNESS_LUFS - loudness_lufs) / 20.0) as f32
}

/// Left and right of a clip that can be measured.
fn checked(clip: &AudioBuffer) -> Result<[&[f32]; 2], FeatureError> {
    if clip.sample_rate_hz != SAMPLE_RATE_HZ {
        return Err(FeatureError::SampleRate {
            actual_hz: clip.sample_rate_hz,
            expected_hz: SAMPLE_RATE_HZ,
        });
    }
    let (left, right) = match clip.channels.as_slice() {
        [mono] => (mono, mono),
        [left, right] => (left, right),
        other => {
            return Err(FeatureError::Channels {
                actual: other.len(),
            });
        }
    };
    for (channel, samples) in [left, right].into_iter().enumerate() {
        if let Some(frame) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(FeatureError::NotFinite {
                channel,
                frame,
                value: samples[frame],
            });
        }
    }
    let actual_secs = left.len() as f64 / f64::from(SAMPLE_RATE_HZ);
    if actual_secs < SHORTEST_SECS {
        return Err(FeatureError::TooShort {
            actual_secs,
            expected_secs: SHORTEST_SECS,
        });
    }
    Ok([left, right])
}

fn loudness(clip: &AudioBuffer) -> Result<f64, FeatureError> {
    // One channel plays from both loudspeakers here: twice the power.
    let doubled_lufs = if clip.channels.len() == 1 {
        10.0 * 2f64.log10()
    } else {
        0.0
    };
    let measured = audio::loudness::integrated_lufs(clip).map(|lufs| lufs + doubled_lufs);
    match measured.filter(|lufs| lufs.is_finite() && *lufs > GATE_LUFS) {
        Some(lufs) => Ok(lufs),
        None => Err(FeatureError::Silent {
            loudness_lufs: measured,
            gate_lufs: GATE_LUFS,
        }),
    }
}

/// Starts of windows that cover `samples` evenly; they overlap where the length is no multiple of `window`.
fn window_starts(samples: usize, window: usize) -> Vec<usize> {
    let count = samples.div_ceil(window).max(1);
    let room = samples.saturating_sub(window);
    // Whole hops keep the frames of a clip on one grid.
    let start = |index: usize| room * index / (count - 1).max(1) / HOP * HOP;
    (0..count).map(start).collect()
}

fn mean(vectors: &[&Vec<f64>]) -> Vec<f64> {
    let width = vectors.first().map_or(0, |vector| vector.len());
    let sum = |index: usize| vectors.iter().map(|vector| vector[index]).sum::<f64>();
    (0..width)
        .map(|index| sum(index) / vectors.len() as f64)
        .collect()
}

fn pooled_spectrum(windows: &[WindowFeatures], bands: usize) -> Vec<f64> {
    let sorted_band = |band: usize| {
        let levels = windows.iter().flat_map(|window| window.levels.iter());
        let mut levels: Vec<f64> = levels.map(|frame| f64::from(frame[band])).collect();
        levels.sort_unstable_by(f64::total_cmp);
        levels
    };
    let sorted: Vec<Vec<f64>> = (0..bands).map(sorted_band).collect();
    QUANTILES
        .iter()
        .flat_map(|&share| sorted.iter().map(move |levels| quantile(levels, share)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_clip() {
        assert_eq!(window_starts(1000, 4096), [0]);
        assert_eq!(window_starts(8192, 4096), [0, 4096]);
        assert_eq!(window_starts(10_240, 4096), [0, 3072, 6144]);
    }

    #[test]
    fn bad_clips_are_refused_with_the_reason() {
        let clip = |channels| AudioBuffer {
            sample_rate_hz: SAMPLE_RATE_HZ,
            channels,
        };
        let message = |clip: AudioBuffer| measure(&clip).unwrap_err().to_string();
        assert!(message(clip(vec![vec![0.0; 88_200]; 2])).starts_with("is silent"));
        assert!(message(clip(vec![vec![0.1; 4410]; 2])).starts_with("lasts 0.10 s"));
        assert!(message(clip(vec![vec![0.1; 44_100]; 3])).starts_with("has 3 channels"));
        assert!(message(clip(Vec::new())).starts_with("has 0 channels"));
        let mut broken = vec![vec![0.1; 44_100]; 2];
        broken[1][7] = f32::NAN;
        assert!(message(clip(broken)).starts_with("sample 7 of channel 1 is NaN"));
        let other_rate = AudioBuffer {
            sample_rate_hz: 48_000,
            channels: vec![vec![0.1; 96_000]; 2],
        };
        assert!(message(other_rate).starts_with("has 48000 Hz"));
    }
}
