//! What ends a run, and what only skips one recording.

use std::io;
use std::path::PathBuf;

use audio::AudioError;
use dataset::ManifestError;

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// Settings that contradict themselves.
    #[error("{0}")]
    Settings(String),
    /// The input is not there.
    #[error("{}: cannot be read: {source}", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The input folder is empty.
    #[error("{}: is an empty folder; put recordings into it", path.display())]
    EmptyInput {
        /// The input.
        path: PathBuf,
    },
    /// The input folder has files, none of them sound.
    #[error(
        "{}: holds no sound files ({other_files} other files); supported are WAV, FLAC, MP3, \
         OGG/Vorbis and M4A/AAC",
        path.display()
    )]
    NoAudio {
        /// The input.
        path: PathBuf,
        /// Files that are there.
        other_files: usize,
    },
    /// Input and output lie inside one another.
    #[error(
        "output {} lies inside input {} (or the other way round): pieces would be taken for \
         recordings; choose an output folder beside the input",
        output.display(), input.display()
    )]
    Nested {
        /// The input.
        input: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// Another run has the output folder.
    #[error("{}: another cut-music is writing here; wait for it to end", output.display())]
    Busy {
        /// The output.
        output: PathBuf,
    },
    /// The output holds pieces that were cut otherwise.
    #[error(
        "{}: its pieces were cut with other settings ({differences}); use the same settings, \
         another output folder, or --force to cut everything again",
        output.display()
    )]
    ChangedSettings {
        /// The output.
        output: PathBuf,
        /// Which, from what to what.
        differences: String,
    },
    /// A file that is none of ours stands where one of ours belongs.
    #[error(
        "{}: was not written by cut-music and is in the way; move it or choose another output folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The record of settings cannot be understood.
    #[error("{}: cannot be understood: {detail}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The manifest cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The output folder cannot be used.
    #[error("{}: cannot be written: {source}", path.display())]
    Output {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The worker threads could not be started.
    #[error("cannot start {jobs} workers: {reason}")]
    Workers {
        /// Threads asked for.
        jobs: usize,
        /// What the system said.
        reason: String,
    },
}

/// A recording that was passed over.
#[derive(Debug)]
pub struct Skipped {
    /// The recording.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why a recording was passed over. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum SkipReason {
    /// It cannot be decoded.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// A folder or file cannot be visited, or is no regular file.
    #[error("{0}")]
    Walk(String),
    /// It cannot be hashed.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its tags cannot be read.
    #[error(transparent)]
    Tags(#[from] dataset::SidecarError),
    /// It is another recording than the one that was cut under this name.
    #[error(
        "{}: has changed since it was cut; --force cuts everything again",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Its length changed while it was being read.
    #[error("{}: changes while it is being read; run again when it is complete", path.display())]
    Moving {
        /// The file.
        path: PathBuf,
    },
    /// There is no sound in it, or trimming left nothing.
    #[error("{}: is silent throughout, and nothing is cut from it", path.display())]
    Silence {
        /// The file.
        path: PathBuf,
    },
    /// `--drop-short` left nothing.
    #[error(
        "{}: has no stretch of {min_secs} s, the least length of a piece with --drop-short",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// The least length.
        min_secs: f64,
    },
}

impl SkipReason {
    /// Whether the file is whole, and nothing is left of it by its silence or the settings.
    pub(crate) fn leaves_nothing(&self) -> bool {
        matches!(self, Self::Silence { .. } | Self::Short { .. })
    }
}
