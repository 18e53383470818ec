//! What can go wrong in training, generating and with adapter files, each said once with what to do.

use std::path::PathBuf;

/// Errors of this crate. Messages name the file and the remedy; a cause is in [`source`](std::error::Error::source) or in the message,
/// never in both, so that the whole chain (`{:#}` of anyhow) tells each thing once.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// A file could not be read or written.
    #[error("{path} cannot be read or written; check the path, its permissions and the space left")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A device that was asked for cannot be had.
    #[error("cuda:{number}: {reason}; --device cpu or auto runs without")]
    NoDevice {
        /// The device's number.
        number: usize,
        /// Why.
        reason: String,
    },
    /// Files of a released model are not on this machine and could not be fetched.
    #[error(
        "not on this machine and not fetched ({reason}):\n  {files}\nor name files that are elsewhere, or their folder, with {flags}"
    )]
    NotFetched {
        /// A line each: what it is, how large, and where it would be found.
        files: String,
        /// Why they were not fetched.
        reason: String,
        /// The flags that name them where they are elsewhere.
        flags: String,
    },
    /// An output is there already.
    #[error("{path} exists already; choose another name or pass --force to replace it")]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A fresh run would replace files of an earlier one.
    #[error(
        "{path} is there already, from an earlier run; --resume goes on with that run, --run-dir and --out name another, --force replaces it"
    )]
    EarlierRun {
        /// The first such file.
        path: PathBuf,
    },
    /// The adapter's name was taken while the run was under way.
    #[error(
        "{path} was not there when this run began and is not replaced; move it away and --resume (the run's own adapter so far: {best})"
    )]
    TakenMeanwhile {
        /// The file.
        path: PathBuf,
        /// Where the run keeps its best adapter.
        best: PathBuf,
    },
    /// A word of a prompt is not in the vocabulary.
    #[error("unknown tag {tag:?}; nearest: {nearest} ({advice})")]
    UnknownTag {
        /// The word.
        tag: String,
        /// The nearest tags.
        nearest: String,
        /// What to do.
        advice: String,
    },
    /// An adapter was made for another base or other layers.
    #[error("{path}: this adapter does not fit the base {base}: {differences}")]
    DoesNotFit {
        /// The adapter's file.
        path: PathBuf,
        /// The base it was to be applied to.
        base: String,
        /// The names that differ.
        differences: String,
    },
    /// An adapter was trained on another base.
    #[error("{path}: trained on {trained_on}, and this base is {base}: {remedy}")]
    OtherBase {
        /// The adapter's file.
        path: PathBuf,
        /// The base it was trained on.
        trained_on: String,
        /// The base it was to be applied to.
        base: String,
        /// How to name the right one.
        remedy: String,
    },
    /// A setting is out of its range.
    #[error("{setting} = {value}: {expected} (--{})", setting.replace('_', "-"))]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        expected: String,
    },
    /// The data folder, or a piece in it, cannot be trained on.
    #[error("{path}: {problem}")]
    Data {
        /// The folder or the piece.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Training produced numbers that are none, or losses far above those it began with.
    #[error(
        "the {what} became {value} at step {step}, after the rate was halved {halvings} times; the last good state is saved. Lower --learning-rate (now {learning_rate:e}) and look for broken pieces among those of the step: {pieces}"
    )]
    NotFinite {
        /// Loss or gradient.
        what: &'static str,
        /// NaN or infinity, or a loss that tells of broken weights.
        value: String,
        /// Optimizer step.
        step: usize,
        /// How often the rate was halved before.
        halvings: u32,
        /// What the step was made of.
        pieces: String,
        /// The rate in use.
        learning_rate: f64,
    },
    /// Generating ended in numbers that are none.
    #[error(
        "the {what} became {value}, so no sound was made; lower the strength of the adapters, if there are any, the numbers of a style vector, or --cfg (now {guidance})"
    )]
    NoSound {
        /// Latents or samples.
        what: &'static str,
        /// NaN or infinity.
        value: f32,
        /// The guidance in use.
        guidance: f64,
    },
    /// Processes that were started together cannot work together.
    #[error("several processes: {problem}")]
    Ensemble {
        /// What is wrong and what to do.
        problem: String,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] dataset::ManifestError),
    /// Tags beside a sound.
    #[error(transparent)]
    Sidecar(#[from] dataset::SidecarError),
    /// The latent cache.
    #[error(transparent)]
    LatentCache(#[from] dataset::LatentCacheError),
    /// Sound files.
    #[error(transparent)]
    Audio(#[from] audio::AudioError),
    /// Weight files as they are.
    #[error(transparent)]
    Checkpoint(checkpoint::CheckpointError),
    /// Style vectors.
    #[error(transparent)]
    Embed(#[from] embed::EmbedError),
    /// Lyrics.
    #[error(transparent)]
    Lyrics(#[from] lyrics::LyricsError),
    /// Weights of models.
    #[error(transparent)]
    Weights(#[from] nn::WeightsError),
    /// Autoencoders.
    #[error(transparent)]
    Vae(#[from] vae::VaeError),
    /// The transformer.
    #[error(transparent)]
    Dit(#[from] dit::Error),
    /// What a run writes down.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// The tensor library.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl From<checkpoint::CheckpointError> for LoraError {
    fn from(error: checkpoint::CheckpointError) -> Self {
        use checkpoint::CheckpointError::{Exists, Stopped};
        match error {
            Stopped => Self::Stopped,
            // Its remedy is a flag here.
            Exists { path } => Self::Exists { path },
            error => Self::Checkpoint(error),
        }
    }
}

impl LoraError {
    /// An input or output error at this path.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
