//! The connection with the engine: opened when it is needed, opened again when it is lost.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};

use protocol::{Client, FromEngine, JobId, ToEngine};

use super::generating::Work;
use super::{Conductor, MessageKind};
use crate::session::EngineStatus;

/// The conductor's end.
#[derive(Debug, Default)]
pub(super) enum Engine {
    /// Not connected.
    #[default]
    Away,
    /// Connected.
    Here {
        client: Client,
        hear: Receiver<FromEngine>,
    },
}

impl Conductor {
    /// Says something to the engine, which is started if none runs. False, and a message to the musician, if it cannot be said.
    pub(super) fn say(&mut self, message: &ToEngine) -> bool {
        if !self.connect() {
            return false;
        }
        let Engine::Here { client, .. } = &self.engine else {
            return false;
        };
        match client.say(message) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("engine: {error}");
                self.lose_engine();
                false
            }
        }
    }

    /// Says something if the engine is there anyway.
    pub(super) fn say_if_here(&mut self, message: &ToEngine) {
        if matches!(self.engine, Engine::Here { .. }) {
            self.say(message);
        }
    }

    fn connect(&mut self) -> bool {
        if matches!(self.engine, Engine::Here { .. }) {
            return true;
        }
        if self.shared.is_over() {
            return false;
        }
        let Some(places) = self.places.clone() else {
            self.be_without_engine("the system names no home folder; set LORELEI_HOME".to_owned());
            return false;
        };
        self.view.engine = EngineStatus::Starting;
        self.publish();
        let shared = std::sync::Arc::clone(&self.shared);
        let name = concat!("Lorelei plugin ", env!("CARGO_PKG_VERSION"));
        let waker = self.shared.waker();
        let opened = Client::connect(
            &places,
            self.library.as_deref(),
            name,
            &|| shared.is_over(),
            waker,
        );
        self.is_changed = true;
        match opened {
            Ok((client, hear)) => {
                self.view.engine = EngineStatus::Ready {
                    version: client.engine_version().to_owned(),
                };
                for question in [
                    ToEngine::ListBases,
                    ToEngine::ListAdapters,
                    ToEngine::ListRuns,
                ] {
                    // A connection that breaks now is noticed when it is listened to.
                    let _ = client.say(&question);
                }
                self.engine = Engine::Here { client, hear };
                self.hold();
                true
            }
            Err(error) => {
                self.be_without_engine(error.to_string());
                false
            }
        }
    }

    fn be_without_engine(&mut self, problem: String) {
        self.tell(
            MessageKind::Problem,
            format!("No sound can be made: {problem}."),
        );
        self.view.engine = EngineStatus::Gone { problem };
    }

    /// Asks for all lists; opens the connection, so that an open editor shows what there is.
    pub(super) fn refresh(&mut self) {
        if matches!(self.engine, Engine::Away) {
            self.connect();
            return;
        }
        for question in [
            ToEngine::ListBases,
            ToEngine::ListAdapters,
            ToEngine::ListRuns,
        ] {
            self.say(&question);
        }
    }

    /// Tells the engine which clips are still needed.
    pub(super) fn hold(&mut self) {
        let mut keys: Vec<String> = self.history.keys().map(str::to_owned).collect();
        self.with_project(|project| {
            let variations = project.slots.iter().flatten();
            keys.extend(variations.map(|variation| variation.key.clone()));
        });
        keys.sort_unstable();
        keys.dedup();
        let inputs = self.inputs_in_use();
        self.say_if_here(&ToEngine::Hold { keys, inputs });
    }

    /// Sounds that were listened to and that the next clip, or one of those that are there, begins with.
    fn inputs_in_use(&self) -> Vec<PathBuf> {
        let folder = self.places.as_ref().map(|places| places.inputs());
        let mut inputs: Vec<PathBuf> = self.with_project(|project| {
            let clips = project.slots.iter().flatten();
            let sources = clips.filter_map(|clip| Some(clip.recipe.source.as_ref()?.path.clone()));
            let next = project.source.iter().map(|source| source.path.clone());
            sources.chain(next).collect()
        });
        inputs.retain(|path| path.parent() == folder.as_deref());
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }

    pub(super) fn hear_engine(&mut self) {
        loop {
            let Engine::Here { hear, .. } = &self.engine else {
                return;
            };
            match hear.try_recv() {
                Ok(message) => self.hear(message),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.lose_engine(),
            }
        }
    }

    fn hear(&mut self, message: FromEngine) {
        self.is_changed = true;
        match message {
            FromEngine::Bases { bases } => self.view.bases = bases,
            FromEngine::Adapters { adapters } => {
                self.view.adapters = adapters;
                self.are_adapters_known = true;
                self.choose_added();
                self.look_for_adapters();
            }
            FromEngine::Runs { runs } => {
                self.view.runs = runs;
                self.end_discarding();
            }
            FromEngine::Queued { job, ahead } => {
                let phase = match ahead {
                    0 => "next".to_owned(),
                    1 => "waiting for one other".to_owned(),
                    _ => format!("waiting for {ahead} others"),
                };
                self.with_job(job, |job| job.phase = phase);
            }
            FromEngine::Progress {
                job,
                phase,
                done,
                total,
                text,
            } => self.with_job(job, |job| job.progress(phase, (done, total), text)),
            FromEngine::Note { text, .. } => self.tell(MessageKind::Note, text),
            FromEngine::Made { job, clip, recipe } => self.take_clip(job, &clip, *recipe),
            FromEngine::Learned { job, adapter } => {
                self.end_job(job);
                self.tell(
                    MessageKind::Note,
                    format!(
                        "“{}” is learned; it is in the list of adapters.",
                        adapter.name
                    ),
                );
                self.say(&ToEngine::ListAdapters);
            }
            FromEngine::Stopped { job } => {
                if let Some(job) = self.end_job(job) {
                    self.give_up(&job, None);
                }
            }
            FromEngine::Failed { job, problem } => {
                if let Some(job) = self.end_job(job) {
                    self.give_recordings_back(&job.work);
                    self.give_up(&job, Some(problem.text));
                }
            }
            FromEngine::Welcome { .. } => {}
            FromEngine::Refused { reason } => self.be_without_engine(reason),
        }
    }

    /// It is gone in mid-work: clips are asked for once more of a new one, which a crash by the clip itself must not repeat for ever.
    fn lose_engine(&mut self) {
        let Engine::Here { client, hear } = std::mem::take(&mut self.engine) else {
            return;
        };
        drop(client);
        self.view.engine = EngineStatus::NotAsked;
        self.is_changed = true;
        // What it said before it ended still counts.
        let last_words: Vec<FromEngine> = hear.try_iter().collect();
        for message in last_words {
            self.hear(message);
        }
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() {
            return;
        }
        self.tell(
            MessageKind::Problem,
            "The engine ended unexpectedly; it is started again.".to_owned(),
        );
        for job in jobs {
            match (job.again(), &job.work) {
                (Some(work), _) => self.ask_once_more(work, true),
                (None, Work::Learn(_) | Work::Resume(_)) => {
                    let problem =
                        "The engine ended; the training can go on from its last checkpoint.";
                    self.give_up(&job, Some(problem.to_owned()));
                    self.say(&ToEngine::ListRuns);
                }
                (None, Work::Discard(_)) => {
                    let problem = "The engine ended; see whether it is still in the list.";
                    self.give_up(&job, Some(problem.to_owned()));
                    self.say(&ToEngine::ListRuns);
                }
                (None, _) => {
                    let problem = "The engine ended twice while this was made; it may be too much for this machine.";
                    self.give_up(&job, Some(problem.to_owned()));
                }
            }
        }
    }

    pub(super) fn cancel(&mut self, job: JobId) {
        self.with_job(job, |job| job.phase = "stopping".to_owned());
        self.say_if_here(&ToEngine::Cancel { job });
    }
}
