//! How recordings become pieces.

use audio::{SampleFormat, SourceInfo};
use serde::{Deserialize, Serialize};

use crate::CutError;

/// Depth of the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BitDepth {
    /// The source's own where its samples are carried over (WAV and FLAC at the output rate, mono
    /// or stereo, with or without gain); 32-bit float where they are computed (lossy codings,
    /// resampling, downmix), because such samples have no depth and may pass full scale.
    #[serde(rename = "auto")]
    Auto,
    /// 8-bit integer.
    #[serde(rename = "8")]
    Integer8,
    /// 16-bit integer.
    #[serde(rename = "16")]
    Integer16,
    /// 24-bit integer.
    #[serde(rename = "24")]
    Integer24,
    /// 32-bit integer.
    #[serde(rename = "32")]
    Integer32,
    /// 32-bit float.
    #[serde(rename = "f32")]
    Float32,
    /// 64-bit float.
    #[serde(rename = "f64")]
    Float64,
}

impl BitDepth {
    /// The sample format of the pieces of a source.
    pub(crate) fn format_for(self, source: &SourceInfo, is_exact: bool) -> SampleFormat {
        match self {
            Self::Auto => source
                .sample_format
                .filter(|_| is_exact)
                .unwrap_or(SampleFormat::F32),
            Self::Integer8 => SampleFormat::U8,
            Self::Integer16 => SampleFormat::I16,
            Self::Integer24 => SampleFormat::I24,
            Self::Integer32 => SampleFormat::I32,
            Self::Float32 => SampleFormat::F32,
            Self::Float64 => SampleFormat::F64,
        }
    }
}

/// Everything that decides what the pieces are. Kept beside them, so that a second run can tell
/// whether it would cut the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sample rate of the pieces in Hz.
    pub sample_rate_hz: u32,
    /// Least length of a piece; only the last of a stretch may be shorter.
    pub min_secs: f64,
    /// Greatest length of a piece.
    pub max_secs: f64,
    /// Cut exactly here, in seconds, and nowhere else.
    pub at_secs: Option<Vec<f64>>,
    /// Leave out silence at the start, at the end, and long silence between.
    pub trim_silence: bool,
    /// Leave out pieces shorter than `min_secs`.
    pub drop_short: bool,
    /// Bring every piece to this integrated loudness.
    pub loudness_lufs: Option<f64>,
    /// Gain never lifts a true peak above this.
    pub peak_ceiling_dbfs: f64,
    /// Depth of the pieces.
    pub bit_depth: BitDepth,
    /// Part of the songs that is held out.
    pub validation_fraction: f64,
    /// Decides which songs are held out.
    pub seed: u64,
}

impl Default for Settings {
    /// Suited to the embedded model: its rate, and pieces of 6 to 12 s.
    fn default() -> Self {
        Self {
            sample_rate_hz: 44_100,
            min_secs: 6.0,
            // Twice the least: then every length from the least on can be cut without a rest.
            max_secs: 12.0,
            at_secs: None,
            trim_silence: false,
            drop_short: false,
            loudness_lufs: None,
            peak_ceiling_dbfs: -1.0,
            bit_depth: BitDepth::Auto,
            validation_fraction: 0.2,
            seed: 0,
        }
    }
}

impl Settings {
    /// Least piece that can be asked for, in seconds.
    pub const LEAST_SECS: f64 = 0.1;

    /// Refuses what cannot be done, naming flag and value.
    pub fn validate(&self) -> Result<(), CutError> {
        let refuse = |text: String| Err(CutError::Settings(text));
        if !(1_000..=768_000).contains(&self.sample_rate_hz) {
            return refuse(format!(
                "--sample-rate {}: must be 1000 to 768000 Hz",
                self.sample_rate_hz
            ));
        }
        if !(self.min_secs.is_finite() && self.min_secs >= Self::LEAST_SECS) {
            return refuse(format!(
                "--min-secs {}: must be {} or more",
                self.min_secs,
                Self::LEAST_SECS
            ));
        }
        if !self.max_secs.is_finite() {
            return refuse(format!("--max-secs {}: must be a number", self.max_secs));
        }
        if self.max_secs < self.min_secs {
            return refuse(format!(
                "--max-secs {}: must not be below --min-secs {}",
                self.max_secs, self.min_secs
            ));
        }
        if let Some(times) = &self.at_secs {
            let rises = times.windows(2).all(|pair| pair[0] < pair[1]);
            if times.is_empty()
                || !rises
                || !times.iter().all(|time| time.is_finite() && *time > 0.0)
            {
                let times: Vec<String> = times.iter().map(f64::to_string).collect();
                return refuse(format!(
                    "--at {}: must be seconds above zero, each greater than the one before",
                    times.join(",")
                ));
            }
            if self.trim_silence || self.drop_short {
                return refuse(
                    "--at keeps every piece: it goes with neither --trim-silence nor --drop-short"
                        .to_owned(),
                );
            }
        }
        if let Some(lufs) = self
            .loudness_lufs
            .filter(|lufs| !(-70.0..=0.0).contains(lufs))
        {
            return refuse(format!("--loudness {lufs}: must be -70 to 0 LUFS"));
        }
        if !(-60.0..=0.0).contains(&self.peak_ceiling_dbfs) {
            return refuse(format!(
                "--peak-ceiling {}: must be -60 to 0 dBFS",
                self.peak_ceiling_dbfs
            ));
        }
        if !(0.0..=1.0).contains(&self.validation_fraction) {
            return refuse(format!(
                "--validation {}: must be 0 to 1",
                self.validation_fraction
            ));
        }
        Ok(())
    }

    /// `min_secs` in frames.
    pub(crate) fn min_frames(&self) -> u64 {
        (self.min_secs * f64::from(self.sample_rate_hz)).round() as u64
    }

    /// `max_secs` in frames.
    pub(crate) fn max_frames(&self) -> u64 {
        (self.max_secs * f64::from(self.sample_rate_hz)).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_with_the_flag() {
        let refused = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        Settings::default().validate().unwrap();
        assert!(refused(&|s| s.max_secs = 3.0).contains("--max-secs"));
        assert!(refused(&|s| s.min_secs = f64::NAN).contains("--min-secs"));
        assert!(refused(&|s| s.at_secs = Some(vec![2.0, 1.0])).contains("--at"));
        assert!(refused(&|s| s.at_secs = Some(vec![0.0])).contains("--at"));
        assert!(
            refused(&|s| (s.at_secs, s.trim_silence) = (Some(vec![1.0]), true))
                .contains("--trim-silence")
        );
        assert!(refused(&|s| s.loudness_lufs = Some(3.0)).contains("--loudness"));
        assert!(refused(&|s| s.peak_ceiling_dbfs = 1.0).contains("--peak-ceiling"));
        assert!(refused(&|s| s.validation_fraction = 1.5).contains("--validation"));
        assert!(refused(&|s| s.sample_rate_hz = 10).contains("--sample-rate"));
    }
}
