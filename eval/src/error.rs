//! Why an evaluation ends without a result. What the system said is the error's source, not part of its text.

use std::path::PathBuf;

/// An evaluation that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The folder is missing or cannot be listed.
    #[error("{}: cannot be listed", path.display())]
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
    /// The manifest of the training pieces cannot be read.
    #[error(transparent)]
    Manifest(#[from] dataset::ManifestError),
    /// No piece of the manifest was trained on.
    #[error("{}: its manifest gives no piece to the training ({held_out} are held out)", path.display())]
    NoTraining {
        /// The folder.
        path: PathBuf,
        /// Pieces of the other side.
        held_out: usize,
    },
    /// The arms of a study cannot be compared.
    #[error("{arm}: expected {expected} {what}, got {actual}")]
    Arm {
        /// The arm.
        arm: String,
        /// What is counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// The picture cannot be written.
    #[error(transparent)]
    Picture(#[from] plot::PlotError),
    /// The result cannot be told as JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A file is there already.
    #[error("{}: is there already; choose another name, or --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A result cannot be written.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
