//! Why an evaluation ends without a result.

use std::path::PathBuf;

/// An evaluation that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The folder is missing or cannot be listed.
    #[error("{}: cannot be listed: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds no sound files.
    #[error(
        "{}: no sound files ({files} other files); expected WAV, FLAC, MP3, Ogg/Vorbis or M4A/AAC",
        path.display()
    )]
    NoAudio {
        /// The folder.
        path: PathBuf,
        /// Files of other kinds below it.
        files: usize,
    },
    /// None of the folder's sound files could be measured.
    #[error("{}: none of {files} sound files could be measured; the first: {reason}", path.display())]
    NothingMeasured {
        /// The folder.
        path: PathBuf,
        /// Sound files found.
        files: usize,
        /// Why the first was skipped.
        reason: String,
    },
    /// The clips cannot be compared.
    #[error(transparent)]
    Features(#[from] features::FeatureError),
    /// The frozen statistics do not fit.
    #[error(transparent)]
    Statistics(#[from] features::StatisticsError),
    /// The picture cannot be written.
    #[error("{source}: {}", std::error::Error::source(source).map(ToString::to_string).unwrap_or_default())]
    Picture {
        /// What the drawing code said.
        source: plot::PlotError,
    },
    /// A result cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
