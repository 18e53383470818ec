//! What can be wrong with a clip, a set of clips or a file of statistics.

use std::path::PathBuf;

/// A clip that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// The clip has no sound above the absolute gate of EBU R128.
    #[error("is silent: integrated loudness {}, expected above {gate_lufs} LUFS", loudness_text(*loudness_lufs))]
    Silent {
        /// Measured loudness; `None` where the meter found nothing above its gate.
        loudness_lufs: Option<f64>,
        /// The least loudness that is measured.
        gate_lufs: f64,
    },
    /// The clip is shorter than the shortest that is measured.
    #[error("lasts {actual_secs:.2} s, expected at least {expected_secs} s")]
    TooShort {
        /// The clip's duration.
        actual_secs: f64,
        /// The least duration that is measured.
        expected_secs: f64,
    },
    /// A sample is NaN or infinite.
    #[error("sample {frame} of channel {channel} is {value}, expected a finite number")]
    NotFinite {
        /// The channel, from 0.
        channel: usize,
        /// The sample within the channel, from 0.
        frame: usize,
        /// What it is.
        value: f32,
    },
    /// The clip has another rate than the one at which things are measured.
    #[error("has {actual_hz} Hz, expected {expected_hz} Hz")]
    SampleRate {
        /// The clip's rate.
        actual_hz: u32,
        /// The rate needed.
        expected_hz: u32,
    },
    /// The clip has no channel, or more than two.
    #[error("has {actual} channels, expected one or two")]
    Channels {
        /// The clip's number of channels.
        actual: usize,
    },
    /// A set needs at least one clip.
    #[error("the reference set holds no clips")]
    EmptySet,
    /// A transform could not be computed.
    #[error(transparent)]
    Spectrum(#[from] spectrum::SpectrumError),
}

/// A file that cannot be measured, and why.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file cannot be read as audio.
    #[error("{source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: audio::AudioError,
    },
    /// The file was read but cannot be measured.
    #[error("{}: {source}", path.display())]
    Measure {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FeatureError,
    },
}

/// A file of statistics that does not fit this build.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// Not the expected JSON.
    #[error("feature statistics {origin}: not valid")]
    Json {
        /// Where the text came from.
        origin: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Written for another version of the features.
    #[error("feature statistics {origin}: version {actual}, expected {expected}")]
    Version {
        /// Where the text came from.
        origin: String,
        /// The file's version.
        actual: u32,
        /// This build's version.
        expected: u32,
    },
    /// The features it describes are not this build's.
    #[error(
        "feature statistics {origin}: value {index} is named \"{actual}\", expected \"{expected}\""
    )]
    Names {
        /// Where the text came from.
        origin: String,
        /// Position of the first difference.
        index: usize,
        /// The file's name there (empty where it ends).
        actual: String,
        /// This build's name there (empty where it ends).
        expected: String,
    },
    /// A mean or deviation is missing, not finite, or a deviation is not positive.
    #[error("feature statistics {origin}: {what} of \"{name}\" is {actual}, expected {expected}")]
    Value {
        /// Where the text came from.
        origin: String,
        /// "mean" or "std".
        what: &'static str,
        /// The feature.
        name: String,
        /// The value, NaN where missing.
        actual: f64,
        /// The condition.
        expected: &'static str,
    },
    /// Statistics need several clips.
    #[error("statistics need at least {expected} clips, got {actual}")]
    TooFewClips {
        /// Clips given.
        actual: usize,
        /// Clips needed.
        expected: usize,
    },
}

fn loudness_text(loudness_lufs: Option<f64>) -> String {
    loudness_lufs.map_or_else(
        || "below the gate".to_owned(),
        |lufs| format!("{lufs:.1} LUFS"),
    )
}
