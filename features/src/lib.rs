//! What is measured about sound: log-mel spectrograms, feature vectors, distances between sets of clips.
//!
//! A *clip* is one audio file. It is brought to 44.1 kHz stereo and −23 LUFS, cut into windows of six seconds, and
//! described twice: by a *clip vector* (what the Audio Feature Distance compares) and by a *pooled spectrum* (what the
//! mel-spectral distance compares). A *set* is a list of clips. The formulas are in `docs/evaluation.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`log_mel`] | log-mel spectrograms |
//! | [`descriptors`] | one descriptor a file, after librosa: cepstra, shape, contrast, chroma, onsets, rhythm, stereo |
//! | [`mod@measure`] | a clip's two descriptions |
//! | [`statistics`] | frozen mean and deviation of clip vectors over the base corpus |
//! | [`distance`] | AFD and mel-spectral distance |
//! | `kernel_distance` | Kernel Audio Distance |
//! | `scored_set` | a set against a reference, ready to be redrawn |
//! | [`bootstrap`] | confidence intervals |
//! | [`comparison`] | all of it for reference, candidate and baseline |
//! | [`mod@nearest`] | is an output a copy of a training piece? |
//! | [`reconstruction`] | what of a sound an autoencoder gives back |
//!
//! Shapes: spectra and per-frame values are `[frames, values]`, frame after frame. Frames are 1024 samples (23 ms)
//! apart and 4096 long.
//!
//! # Example
//! ```no_run
//! use features::{FeatureStatistics, ReferenceSet, measure_file};
//!
//! let reference = [measure_file("real/a.wav".as_ref())?, measure_file("real/b.wav".as_ref())?];
//! let candidate = [measure_file("made/a.wav".as_ref())?];
//! let set = ReferenceSet::new(&reference, &FeatureStatistics::current()?)?;
//! println!("AFD {:.3}", set.feature_distance(&candidate));
//! println!("mel-spectral {:.1} dB²", set.spectral_distance(&candidate));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bootstrap;
pub mod comparison;
pub mod descriptors;
pub mod distance;
mod error;
mod frame_features;
mod kernel_distance;
pub mod log_mel;
pub mod measure;
pub mod nearest;
mod pooling;
pub mod reconstruction;
mod scored_set;
pub mod statistics;

pub use bootstrap::{Bootstrap, Estimate};
pub use comparison::{Change, Comparison, Distances, NamedClip};
pub use distance::{ReferenceSet, cosine_distance};
pub use error::{ClipError, FeatureError, StatisticsError};
pub use kernel_distance::SCALE as KERNEL_SCALE;
pub use log_mel::{LogMel, LogMelSpectrogram, MelParameters};
pub use measure::{ClipMeasurement, measure, measure_file, spectrogram};
pub use nearest::{Fingerprint, Nearest, nearest};
pub use reconstruction::Reconstruction;
pub use scored_set::ScoredSet;
pub use statistics::FeatureStatistics;

/// The rate at which everything is measured, in hertz.
pub const SAMPLE_RATE_HZ: u32 = 44_100;
/// Length of an analysis frame in samples: 93 ms, bins 10.8 Hz apart.
pub const FFT_SIZE: usize = 4096;
/// Samples from one frame to the next: 23 ms, 43 frames a second (librosa's 512 at 22.05 kHz).
pub const HOP: usize = 1024;
