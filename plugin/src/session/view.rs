//! What the editor shows: a snapshot that the conductor renews and the editor only reads.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::recipe::MOST_ADAPTERS;
use protocol::{AdapterInfo, BaseInfo, JobId, LearnRequest, RunInfo};

use crate::project::{Project, SLOTS};

/// All that the editor shows and that is no parameter.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Rises with every change, so that an editor that has drawn it can rest.
    pub revision: u64,
    /// What is saved, without the clips' sound.
    pub project: Project,
    /// The engine.
    pub engine: EngineStatus,
    /// All bases the engine knows.
    pub bases: Vec<BaseInfo>,
    /// All adapters it knows.
    pub adapters: Vec<AdapterInfo>,
    /// Whether the project's adapters are nowhere on this machine, by slot.
    pub missing_adapters: [bool; MOST_ADAPTERS],
    /// Training runs that are not finished.
    pub runs: Vec<RunInfo>,
    /// What is at work or waits.
    pub jobs: Vec<JobView>,
    /// What was said, the oldest first.
    pub messages: Vec<Message>,
    /// Clips by slot.
    pub slots: [SlotState; SLOTS],
    /// Where a clip was last written as a WAV file, by slot; nothing after the slot's clip, its name or the tempo changed.
    pub exported: [Option<PathBuf>; SLOTS],
    /// What could not be learned last, and how many there were: the editor gives it back to be mended.
    pub not_learned: Option<(u64, LearnRequest)>,
    /// How many clips were made since the editor's instance began, and the slot of the newest: the editor selects it.
    pub made: (u64, usize),
    /// Whether there is something to take back.
    pub can_undo: bool,
    /// Whether something was taken back.
    pub can_redo: bool,
    /// Share of the input that was listened to, while it is.
    pub listening: Option<f32>,
    /// Tempo of the host in quarter notes a minute, for the editor's figures.
    pub tempo_bpm: f64,
}

/// The engine, in a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineStatus {
    /// Nobody asked for it yet.
    #[default]
    NotAsked,
    /// It starts.
    Starting,
    /// It answers.
    Ready {
        /// Its version.
        version: String,
    },
    /// It cannot be had.
    Gone {
        /// Why, and what to do.
        problem: String,
    },
}

/// What a job makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A clip for this slot.
    Clip {
        /// 0 to 9.
        slot: usize,
    },
    /// An adapter.
    Learning,
}

/// A job at work.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// For [`crate::session::Command::Cancel`].
    pub job: JobId,
    /// What it makes.
    pub kind: JobKind,
    /// What it does now, in words; also while it waits.
    pub phase: String,
    /// From 0 to 1, where it is known.
    pub share: Option<f32>,
    /// Beside the bar.
    pub text: String,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Good to know.
    Note,
    /// Something did not work.
    Problem,
}

/// Something said to the musician.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// For [`crate::session::Command::Dismiss`].
    pub number: u64,
    /// Of what kind.
    pub kind: MessageKind,
    /// In words.
    pub text: String,
}

/// What a slot's clip is at.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SlotState {
    /// Nothing.
    #[default]
    Empty,
    /// Its clip is being made or brought back.
    Awaited,
    /// It can be heard.
    Ready {
        /// For the editor.
        picture: Arc<ClipPicture>,
        /// Its file in the cache.
        path: PathBuf,
    },
    /// Its clip is gone and cannot be made again here.
    Missing {
        /// Why, and what to do.
        problem: String,
    },
}

/// A clip as pictures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClipPicture {
    /// Lowest and highest sample of each channel in columns of equal length: `[column][channel][low, high]`.
    pub waveform: Vec<[[f32; 2]; 2]>,
    /// Levels in dB below full scale, `[time column][band]`, bands from low to high on a mel scale.
    pub spectrogram: Vec<Vec<f32>>,
    /// Length in seconds.
    pub secs: f64,
    /// Highest sample.
    pub peak: f32,
}
