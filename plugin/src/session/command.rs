//! What a musician asks for, by hand or by automation.

use std::path::PathBuf;

use protocol::{JobId, SourceRole};

use crate::project::ChosenAdapter;

/// Asked of the conductor; none of these waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make this many clips with what is set, into free slots; seeds count up from the one that is set.
    Generate {
        /// 1 to 8.
        count: usize,
    },
    /// Make this slot again with its own recipe but the adapters' strengths, prompt and so on as they are set now, and its own seed.
    Remake {
        /// 0 to 7.
        slot: usize,
        /// With a new seed.
        reseed: bool,
    },
    /// Make the pads' clips from one seed: A with the first chosen adapter alone, B with the second alone (or with none).
    MakePads,
    /// Stop a job.
    Cancel(JobId),
    /// Tags or words.
    SetPrompt(String),
    /// Name of the base.
    SetBase(String),
    /// Choose an adapter for a slot, or none.
    SetAdapter {
        /// 0 to 3.
        slot: usize,
        /// Which.
        adapter: Option<ChosenAdapter>,
    },
    /// Choose an adapter by its file (a file that was dropped): into the first free slot.
    AddAdapterFile(PathBuf),
    /// A clip's name.
    Rename {
        /// 0 to 9.
        slot: usize,
        /// New.
        name: String,
    },
    /// Whether a clip is kept.
    Keep {
        /// 0 to 9.
        slot: usize,
        /// Kept or not.
        is_kept: bool,
    },
    /// Empty a slot.
    Remove {
        /// 0 to 9.
        slot: usize,
    },
    /// Take back the last change to the slots.
    Undo,
    /// Make it again.
    Redo,
    /// Bring a sound file, or none; listening to the input ends.
    SetSource {
        /// The file.
        path: Option<PathBuf>,
        /// What for.
        role: SourceRole,
    },
    /// Bring what comes in at the input, for as long as the bars that are set.
    Listen {
        /// What for.
        role: SourceRole,
    },
    /// Write a clip as a WAV file, or into the user's music folder.
    Export {
        /// 0 to 9.
        slot: usize,
        /// Where to.
        path: Option<PathBuf>,
    },
    /// Train an adapter.
    Learn {
        /// The new adapter's name.
        name: String,
        /// Files and folders.
        recordings: Vec<PathBuf>,
        /// Steps, or as the base has it.
        steps: Option<u32>,
    },
    /// Go on with a training run, or follow the one that is under way.
    ResumeLearning(String),
    /// Delete a training run that is not finished.
    DiscardRun(String),
    /// Ask the engine for bases, adapters and runs again.
    Refresh,
    /// Put a message away.
    Dismiss(u64),
    /// Nothing of a musician's: something else has happened that the conductor should look at now.
    Look,
}
