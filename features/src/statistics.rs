//! Frozen statistics: mean and deviation of every value of a clip vector over the base corpus.
//!
//! They set the scale on which clip vectors are compared. A version, once released, never changes: distances computed
//! years apart stay comparable. Version 1 is compiled into the crate.

use serde::{Deserialize, Serialize};

use crate::error::StatisticsError;
use crate::measure::{ClipMeasurement, clip_vector_names};

/// The version that this build writes and reads.
pub const VERSION: u32 = 1;
/// Z-scores are limited to this many deviations, so that one value far from all base music (digital silence above
/// 16 kHz, an exact mono) cannot outweigh all others together.
pub const LARGEST_SCORE: f64 = 6.0;
/// The fewest clips from which statistics are computed.
pub const FEWEST_CLIPS: usize = 8;

const CURRENT: &str = include_str!("../statistics/v1.json");
/// Deviations are raised to this; the base corpus may hold a value that never varies.
const SMALLEST_DEVIATION: f64 = 1e-6;
/// Digits after the point that are kept in the file.
const KEPT: f64 = 1e6;

/// Mean and deviation of clip vectors over a corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureStatistics {
    version: u32,
    /// What the corpus was and how clips were drawn from it.
    corpus: String,
    clips: usize,
    names: Vec<String>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl FeatureStatistics {
    /// The statistics compiled into this build.
    ///
    /// # Errors
    /// When they do not fit this build's features (a test makes sure that they do).
    pub fn current() -> Result<Self, StatisticsError> {
        Self::from_json(CURRENT, "of this build")
    }

    /// Reads statistics from JSON and checks that they describe this build's features; `origin` is named in errors.
    ///
    /// # Errors
    /// When the text is no valid JSON, or version, names or values do not fit.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, StatisticsError> {
        let origin = origin.to_owned();
        let read: Result<Self, _> = serde_json::from_str(text);
        let statistics = read.map_err(|source| StatisticsError::Json {
            origin: origin.clone(),
            source,
        })?;
        statistics.check(&origin)?;
        Ok(statistics)
    }

    /// Computes statistics of clips; `corpus` says what they are.
    ///
    /// # Errors
    /// With fewer than [`FEWEST_CLIPS`] clips.
    pub fn of_clips(clips: &[ClipMeasurement], corpus: &str) -> Result<Self, StatisticsError> {
        if clips.len() < FEWEST_CLIPS {
            return Err(StatisticsError::TooFewClips {
                actual: clips.len(),
                expected: FEWEST_CLIPS,
            });
        }
        let names = clip_vector_names();
        let count = clips.len() as f64;
        let average =
            |value: &dyn Fn(&ClipMeasurement) -> f64| clips.iter().map(value).sum::<f64>() / count;
        let mean: Vec<f64> = (0..names.len())
            .map(|index| average(&|clip| clip.vector[index]))
            .collect();
        let deviation =
            |index: usize| average(&|clip| (clip.vector[index] - mean[index]).powi(2)).sqrt();
        let std = (0..names.len())
            .map(|index| rounded(deviation(index).max(SMALLEST_DEVIATION)))
            .collect();
        let mean = mean.iter().copied().map(rounded).collect();
        Ok(Self {
            version: VERSION,
            corpus: corpus.to_owned(),
            clips: clips.len(),
            names,
            mean,
            std,
        })
    }

    /// The text that [`Self::from_json`] reads.
    pub fn to_json(&self) -> String {
        // Plain numbers and strings always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The version of the statistics, to be told with every distance.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Number of clips they were computed from.
    pub fn clips(&self) -> usize {
        self.clips
    }

    /// A clip's vector in deviations from the corpus's mean, limited to ±[`LARGEST_SCORE`].
    pub fn scores(&self, clip: &ClipMeasurement) -> Vec<f64> {
        let scored = clip.vector.iter().zip(&self.mean).zip(&self.std);
        scored
            .map(|((value, mean), std)| ((value - mean) / std).clamp(-LARGEST_SCORE, LARGEST_SCORE))
            .collect()
    }

    /// A vector that has these scores, where none is beyond ±[`LARGEST_SCORE`].
    pub fn unscored(&self, scores: &[f64]) -> Vec<f64> {
        let scored = scores.iter().zip(&self.mean).zip(&self.std);
        scored
            .map(|((score, mean), std)| mean + score * std)
            .collect()
    }

    fn check(&self, origin: &str) -> Result<(), StatisticsError> {
        let origin = || origin.to_owned();
        if self.version != VERSION {
            return Err(StatisticsError::Version {
                origin: origin(),
                actual: self.version,
                expected: VERSION,
            });
        }
        let names = clip_vector_names();
        for index in 0..names.len().max(self.names.len()) {
            let at = |names: &[String]| names.get(index).cloned().unwrap_or_default();
            let (actual, expected) = (at(&self.names), at(&names));
            if actual != expected {
                return Err(StatisticsError::Names {
                    origin: origin(),
                    index,
                    actual,
                    expected,
                });
            }
        }
        for (index, name) in names.iter().enumerate() {
            let value = |what, values: &[f64], expected: &'static str, holds: fn(f64) -> bool| {
                let actual = values.get(index).copied().unwrap_or(f64::NAN);
                let error = StatisticsError::Value {
                    origin: origin(),
                    what,
                    name: name.clone(),
                    actual,
                    expected,
                };
                if holds(actual) { Ok(()) } else { Err(error) }
            };
            value("mean", &self.mean, "finite", f64::is_finite)?;
            value("std", &self.std, "positive", |std| {
                std.is_finite() && std > 0.0
            })?;
        }
        Ok(())
    }
}

fn rounded(value: f64) -> f64 {
    (value * KEPT).round() / KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clips() -> Vec<ClipMeasurement> {
        let width = clip_vector_names().len();
        let clip = |level: f64| ClipMeasurement {
            duration_secs: 6.0,
            loudness_lufs: -20.0,
            vector: vec![level; width],
            spectrum: vec![0.0; 640],
        };
        [1.0, 3.0].repeat(4).into_iter().map(clip).collect()
    }

    #[test]
    fn the_embedded_statistics_fit_this_build() {
        let statistics = FeatureStatistics::current().unwrap();
        assert_eq!(statistics.version(), VERSION);
        assert!(statistics.clips() >= 100, "{}", statistics.clips());
    }

    #[test]
    fn scores_and_round_trip() {
        let statistics = FeatureStatistics::of_clips(&clips(), "a test").unwrap();
        let again = FeatureStatistics::from_json(&statistics.to_json(), "a test").unwrap();
        assert_eq!(again, statistics);
        assert_eq!(statistics.scores(&clips()[0])[5], -1.0);
        let scores = statistics.scores(&clips()[0]);
        assert_eq!(statistics.unscored(&scores), clips()[0].vector);
        let mut far = clips()[0].clone();
        far.vector[2] = 1e9;
        assert_eq!(statistics.scores(&far)[2], LARGEST_SCORE);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let good = FeatureStatistics::of_clips(&clips(), "a test").unwrap();
        let message = |change: fn(&mut FeatureStatistics)| {
            let mut bad = good.clone();
            change(&mut bad);
            FeatureStatistics::from_json(&bad.to_json(), "bad.json")
                .unwrap_err()
                .to_string()
        };
        assert!(message(|bad| bad.version = 9).contains("version 9, expected 1"));
        assert!(
            message(|bad| bad.names.swap(0, 1)).contains("value 0 is named \"cepstrum-02 mean\"")
        );
        assert!(message(|bad| bad.std[0] = 0.0).contains("std of \"cepstrum-01 mean\" is 0"));
        assert!(message(|bad| bad.mean.clear()).contains("mean of"));
        assert!(
            FeatureStatistics::from_json("{", "bad.json")
                .unwrap_err()
                .to_string()
                .contains("bad.json")
        );
        assert!(FeatureStatistics::of_clips(&clips()[..3], "").is_err());
    }
}
