//! What plugin and engine say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;

/// A number that a client gives each job of its own.
pub type JobId = u64;

/// Most recordings that one [`LearnRequest`] may name.
pub const MOST_RECORDINGS: usize = 2_000;

/// From the plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToEngine {
    /// The first message.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the client.
        protocol: u32,
        /// The client's name and version, for the engine's log.
        client: String,
    },
    /// Which bases there are; answered by [`FromEngine::Bases`].
    ListBases,
    /// Which adapters there are in the user's folder; answered by [`FromEngine::Adapters`].
    ListAdapters,
    /// What this file is; answered by [`FromEngine::Adapters`] with it among them, or by [`FromEngine::Failed`] of this job.
    AddAdapter {
        /// For the answer.
        job: JobId,
        /// An adapter anywhere.
        path: PathBuf,
    },
    /// Make a clip.
    Generate {
        /// A new number.
        job: JobId,
        /// What to make.
        recipe: Box<Recipe>,
    },
    /// Train an adapter on recordings.
    Learn {
        /// A new number.
        job: JobId,
        /// What to train on.
        request: LearnRequest,
    },
    /// Go on with a run that was stopped.
    ResumeLearning {
        /// A new number.
        job: JobId,
        /// Of [`FromEngine::Runs`].
        run: String,
    },
    /// Which training runs are not finished; answered by [`FromEngine::Runs`].
    ListRuns,
    /// Delete a run that is not under way, with what it has learned; all clients are told the [`FromEngine::Runs`] that are left, or this one
    /// [`FromEngine::Failed`] of this job.
    DiscardRun {
        /// For the answer.
        job: JobId,
        /// Of [`FromEngine::Runs`].
        run: String,
    },
    /// Stop a job at its next step; a training run writes a checkpoint and can go on later.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// The clips that this client may still read, and the sounds it has listened to and may ask with, all of them: they are not cleaned away
    /// while it is connected.
    Hold {
        /// The clips' keys.
        keys: Vec<String>,
        /// The sounds' files.
        inputs: Vec<PathBuf>,
    },
}

/// Train an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnRequest {
    /// The new adapter's name.
    pub name: String,
    /// Files and folders of recordings.
    pub recordings: Vec<PathBuf>,
    /// Name of the base.
    pub base: String,
    /// Training steps; the base's own number where none is given.
    pub steps: Option<u32>,
}

/// From the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromEngine {
    /// The answer to [`ToEngine::Hello`].
    Welcome {
        /// The engine's version, as [`Recipe::engine`] has it.
        engine: String,
    },
    /// The versions do not fit; the connection ends.
    Refused {
        /// Which ones, and what to do.
        reason: String,
    },
    /// All bases.
    Bases {
        /// The embedded one first.
        bases: Vec<BaseInfo>,
    },
    /// All adapters that the engine knows of.
    Adapters {
        /// By name.
        adapters: Vec<AdapterInfo>,
    },
    /// Training runs that are not finished.
    Runs {
        /// The newest first.
        runs: Vec<RunInfo>,
    },
    /// A job waits.
    Queued {
        /// Which.
        job: JobId,
        /// Jobs before it.
        ahead: u32,
    },
    /// A job is at work.
    Progress {
        /// Which.
        job: JobId,
        /// What it does now, in words.
        phase: String,
        /// Units done.
        done: u64,
        /// Units in all; 0 where it is not known.
        total: u64,
        /// What is worth saying beside it, such as the loss.
        text: String,
    },
    /// Something worth a line of its own.
    Note {
        /// Which job says it.
        job: JobId,
        /// In words.
        text: String,
    },
    /// A clip is made.
    Made {
        /// Which job made it.
        job: JobId,
        /// Where it is.
        clip: ClipFile,
        /// The recipe with everything filled in that makes the same clip again.
        recipe: Box<Recipe>,
    },
    /// An adapter is trained.
    Learned {
        /// Which job trained it.
        job: JobId,
        /// The new adapter.
        adapter: AdapterInfo,
    },
    /// A job was cancelled.
    Stopped {
        /// Which.
        job: JobId,
    },
    /// A job came to nothing.
    Failed {
        /// Which.
        job: JobId,
        /// Why.
        problem: Problem,
    },
}

/// Why a job came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs.
    pub kind: ProblemKind,
    /// For people: what is wrong and what to do.
    pub text: String,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// What was asked for makes no sense.
    BadRequest,
    /// A file is gone.
    MissingFile,
    /// An adapter for another base, or changed weights.
    WrongBase,
    /// The disk is full or cannot be written.
    Disk,
    /// More memory than the engine may take.
    Memory,
    /// Anything else.
    Internal,
}

/// A base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseInfo {
    /// What a recipe calls it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Tags its prompts are made of; none if it takes words.
    pub tags: Vec<String>,
    /// Those of them that are picked by hand, for a palette; tempo, key, bars and metre have controls of their own.
    pub groups: Vec<TagGroup>,
    /// Whether all its files are on this machine.
    pub is_installed: bool,
    /// Longest clip in one piece, in seconds.
    pub most_secs: f64,
}

/// Tags that say something of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagGroup {
    /// What people call them, such as "Instruments".
    pub title: String,
    /// In the order in which they are shown.
    pub tags: Vec<String>,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// Its file.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Name of the base it was trained on, as a recipe calls it; of an unknown base, as the file has it.
    pub base: String,
    /// Why it cannot be used, if so.
    pub problem: Option<String>,
    /// Words that ask for its style.
    pub trigger_words: Vec<String>,
}

impl AdapterInfo {
    /// Why it cannot be used with a base, if so. One that does not say its base is tried.
    pub fn unfit_for(&self, base: &str) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        (!self.base.is_empty() && self.base != base)
            .then(|| format!("made for another base: {}", self.base))
    }
}

/// A training run that is not finished: it can go on, or is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its name for [`ToEngine::ResumeLearning`].
    pub run: String,
    /// The adapter's name.
    pub name: String,
    /// Steps done.
    pub steps_done: u32,
    /// Steps in all.
    pub steps: u32,
    /// It is at work now, perhaps for another client.
    pub is_under_way: bool,
}

/// A clip as a file: a seamless loop in stereo, FLAC of 24 bits, exactly [`Recipe::frames`] long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipFile {
    /// [`Recipe::key`] of the filled-in recipe.
    pub key: String,
    /// In the user's cache; kept while a client holds its key.
    pub path: PathBuf,
    /// Its length.
    pub frames: u64,
    /// Its rate.
    pub sample_rate_hz: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_of_another_base_is_not_for_this_one() {
        let mut info = AdapterInfo {
            path: "vinyl.safetensors".into(),
            name: "vinyl".to_owned(),
            sha256: String::new(),
            base: "embedded".to_owned(),
            problem: None,
            trigger_words: vec!["crackle".to_owned()],
        };
        assert_eq!(info.unfit_for("embedded"), None);
        let why = info.unfit_for("ace-step");
        assert!(why.is_some_and(|why| why.contains("embedded")));
        info.problem = Some("weights changed".to_owned());
        assert_eq!(
            info.unfit_for("embedded").as_deref(),
            Some("weights changed")
        );
        (info.problem, info.base) = (None, String::new());
        assert_eq!(info.unfit_for("embedded"), None, "it does not say");
    }
}
