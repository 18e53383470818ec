//! The thread of an instance that does what may wait: it talks with the engine, reads clips and makes them ready for the audio thread.

mod clips;
mod engine;
mod files;
mod generating;
mod learning;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use protocol::places::Places;
use protocol::{AdapterInfo, JobId};

use super::history::History;
use super::{Command, ConductorEnds, Message, MessageKind, OFFLINE_PATIENCE, Shared, View};
use crate::project::{ChosenAdapter, Project, SLOTS};
use clips::{IfGone, Slot, Wanted};
use engine::Engine;
use files::{Exported, Listening};
use generating::Job;
use protocol::recipe::{MOST_ADAPTERS, MOST_PROMPT_BYTES};

// Commands, the engine, a restored project and an offline render wake it. The audio thread wakes nobody: what it says is looked for, how often
// depends on what a musician would notice.
/// While no block of sound was processed since the last look.
const ASLEEP: Duration = Duration::from_secs(5);
/// A host that has processed nothing for so long has stopped.
const PROCESSES_STILL: Duration = Duration::from_secs(1);
/// An audio server that has asked for nothing for so long is gone.
const AUDIO_GONE: Duration = Duration::from_secs(3);
/// While the host's transport stands.
const STANDING: Duration = Duration::from_millis(500);
/// While it plays, and the tempo may change.
const PLAYING: Duration = Duration::from_millis(100);
/// While clips are handed over, or the input is listened to.
const BUSY: Duration = Duration::from_millis(20);
/// While an offline render waits.
const AWAITED: Duration = Duration::from_millis(2);
/// Messages that are kept for the editor.
const MOST_MESSAGES: usize = 20;
/// What is said of an adapter that is nowhere.
const NOT_HERE: &str = "is not on this machine";

/// See the module.
#[derive(Debug)]
pub(super) struct Conductor {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    ends: ConductorEnds,
    places: Option<Places>,
    library: Option<PathBuf>,
    engine: Engine,
    jobs: Vec<Job>,
    next_job: JobId,
    slots: [Slot; SLOTS],
    next_clip: u64,
    wanted: Wanted,
    history: History,
    listening: Option<Listening>,
    exported: [Option<Exported>; SLOTS],
    presses: u64,
    vain_waits: u64,
    blocks: u64,
    /// When the host was last seen to process a block.
    processed: Option<Instant>,
    /// Whether the engine has listed its adapters.
    are_adapters_known: bool,
    /// What was told of chosen adapters that are nowhere.
    missing_told: Vec<String>,
    /// Whether the musician was told that no blocks come any more.
    is_silence_told: bool,
    view: View,
    is_changed: bool,
    next_message: u64,
}

impl Conductor {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: Receiver<Command>,
        ends: ConductorEnds,
        library: Option<PathBuf>,
    ) -> Self {
        Self {
            shared,
            commands,
            ends,
            places: Places::of_user().ok(),
            library,
            engine: Engine::default(),
            jobs: Vec::new(),
            next_job: 1,
            slots: Default::default(),
            next_clip: 1,
            wanted: Wanted::default(),
            history: History::default(),
            listening: None,
            exported: Default::default(),
            presses: 0,
            vain_waits: 0,
            blocks: 0,
            processed: None,
            are_adapters_known: false,
            missing_told: Vec::new(),
            is_silence_told: false,
            view: View::default(),
            is_changed: true,
            next_message: 1,
        }
    }

    pub(super) fn run(mut self) {
        self.look_around();
        while !self.shared.is_over() {
            let pause = self.pause();
            let next = match self.commands.recv_timeout(pause) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // What is asked for is meant for the project that is open now.
            self.adopt_project();
            let mut next = next.or_else(|| self.commands.try_recv().ok());
            while let Some(command) = next {
                self.obey(command);
                next = self.commands.try_recv().ok();
            }
            self.look_around();
        }
    }

    fn pause(&mut self) -> Duration {
        let blocks = self.shared.host.blocks();
        if std::mem::replace(&mut self.blocks, blocks) != blocks {
            self.processed = Some(Instant::now());
        }
        // Two looks may fall into one block.
        let is_processing = self
            .processed
            .is_some_and(|processed| processed.elapsed() < PROCESSES_STILL);
        if self.shared.settling.asked().is_some() {
            AWAITED
        } else if self.listening.is_some() || !self.is_all_ready() {
            BUSY
        } else if !is_processing {
            ASLEEP
        } else if self.shared.host.is_playing() || self.shared.parameters.audition.value() {
            PLAYING
        } else {
            STANDING
        }
    }

    fn look_around(&mut self) {
        self.shared.looks.fetch_add(1, Ordering::Relaxed);
        // Before everything that it stands for.
        let ticket = self.shared.settling.asked();
        self.adopt_project();
        self.count_presses();
        self.tell_of_silence();
        self.tell_of_vain_waits();
        self.hear_engine();
        self.listen();
        self.make_ready();
        self.ends.clips.collect();
        protocol::client::wait_for_ended();
        if let Some(ticket) = ticket
            && self.is_settled()
        {
            self.shared.settling.serve(ticket);
        }
        if self.view.tempo_bpm != self.tempo_bpm() {
            self.view.tempo_bpm = self.tempo_bpm();
            self.is_changed = true;
        }
        if std::mem::take(&mut self.is_changed) {
            self.publish();
        }
    }

    /// Whether everything that was asked for can be heard or has failed.
    fn is_settled(&self) -> bool {
        let makes_clips = self.jobs.iter().any(Job::is_clip);
        !makes_clips && self.is_all_ready() && self.presses == self.shared.host.presses()
    }

    fn obey(&mut self, command: Command) {
        self.is_changed |= command != Command::Look;
        match command {
            Command::Look => {}
            Command::Generate { count } => self.generate(count),
            Command::Remake { slot, reseed } => self.remake(slot, reseed),
            Command::MakePads => self.make_pads(),
            Command::Cancel(job) => self.cancel(job),
            Command::SetPrompt(prompt) => self.set_prompt(prompt),
            Command::SetBase(base) => self.with_project(|project| project.base = base),
            Command::SetAdapter { slot, adapter } => self.set_adapter(slot, adapter),
            Command::AddAdapterFile(path) => self.add_adapter_file(path),
            Command::Rename { slot, name } => self.with_project(|project| {
                if let Some(Some(variation)) = project.slots.get_mut(slot) {
                    variation.name = name;
                }
            }),
            Command::Keep { slot, is_kept } => self.keep(slot, is_kept),
            Command::Remove { slot } => self.remove(slot),
            Command::Undo => self.step_history(History::undo),
            Command::Redo => self.step_history(History::redo),
            Command::SetSource { path, role } => self.set_source(path, role),
            Command::Listen { role } => self.begin_listening(role),
            Command::Export { slot, path } => self.export(slot, path),
            Command::Learn {
                name,
                recordings,
                steps,
            } => self.learn(name, recordings, steps),
            Command::ResumeLearning(run) => self.resume_learning(run),
            Command::DiscardRun(run) => self.discard_run(run),
            Command::Refresh => self.refresh(),
            Command::Dismiss(number) => self
                .view
                .messages
                .retain(|message| message.number != number),
        }
    }

    fn set_prompt(&mut self, prompt: String) {
        if prompt.len() > MOST_PROMPT_BYTES {
            self.tell(
                MessageKind::Problem,
                format!(
                    "The prompt of {} bytes is too long and was not taken; {MOST_PROMPT_BYTES} are the most.",
                    prompt.len()
                ),
            );
            return;
        }
        self.with_project(|project| project.prompt = prompt);
    }

    fn set_adapter(&mut self, slot: usize, adapter: Option<ChosenAdapter>) {
        self.with_project(|project| {
            if let Some(place) = project.adapters.get_mut(slot) {
                *place = adapter;
            }
        });
        self.look_for_adapters();
    }

    /// The project, locked. What is done with it is short: the host waits for it when it saves.
    fn with_project<T>(&self, work: impl FnOnce(&mut Project) -> T) -> T {
        let mut project = self
            .shared
            .parameters
            .project
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut project)
    }

    /// Takes over a project that the host has just put in the place of the one before.
    fn adopt_project(&mut self) {
        let is_known = self.with_project(|project| std::mem::replace(&mut project.is_known, true));
        if is_known {
            return;
        }
        self.forget_clip_jobs();
        self.history.clear();
        self.exported = Default::default();
        self.tell_unreadable();
        self.missing_told.clear();
        self.look_for_adapters();
        for slot in 0..SLOTS {
            self.fill(slot, IfGone::MakeAgain);
        }
        self.hold();
        self.is_changed = true;
    }

    fn tell_unreadable(&mut self) {
        let parts = self.with_project(|project| project.unreadable_parts());
        if !parts.is_empty() {
            let text = format!(
                "A part of the project could not be read: {}. It is kept in the project as it was.",
                parts.join(", ")
            );
            self.tell(MessageKind::Problem, text);
        }
    }

    /// The slots of chosen adapters that are nowhere: neither where they were, nor among those the engine knows, by whatever path.
    fn missing_adapters(&self) -> Vec<(usize, ChosenAdapter)> {
        if !self.are_adapters_known {
            return Vec::new();
        }
        let chosen = self.with_project(|project| project.adapters.clone());
        let is_missing = |chosen: &ChosenAdapter| {
            let is_same = |known: &AdapterInfo| {
                known.path == chosen.path || chosen.sha256.as_ref() == Some(&known.sha256)
            };
            !self.view.adapters.iter().any(is_same) && !chosen.path.is_file()
        };
        let chosen = chosen.into_iter().enumerate();
        let chosen = chosen.filter_map(|(slot, adapter)| Some((slot, adapter?)));
        chosen.filter(|(_, adapter)| is_missing(adapter)).collect()
    }

    /// Looks which of the chosen adapters are nowhere, and tells of each once.
    pub(super) fn look_for_adapters(&mut self) {
        let missing = self.missing_adapters();
        self.view.missing_adapters = [false; MOST_ADAPTERS];
        for (slot, _) in &missing {
            self.view.missing_adapters[*slot] = true;
        }
        let texts: Vec<String> = missing
            .iter()
            .map(|(_, adapter)| {
                format!(
                    "The adapter “{}” {NOT_HERE}. Drop its file on the window, or put it into the adapters' folder; until then no clip can be made with it.",
                    adapter.name
                )
            })
            .collect();
        // What was told and is no longer so.
        let told = &mut self.view.messages;
        told.retain(|message| !message.text.contains(NOT_HERE) || texts.contains(&message.text));
        self.missing_told.retain(|text| texts.contains(text));
        for text in texts {
            if !self.missing_told.contains(&text) {
                self.missing_told.push(text.clone());
                self.tell(MessageKind::Problem, text);
            }
        }
        self.is_changed = true;
    }

    fn tell_of_vain_waits(&mut self) {
        let waits = self.shared.host.vain_waits();
        if std::mem::replace(&mut self.vain_waits, waits) != waits {
            let text = format!(
                "An offline render waited {} minutes for a clip and went on without it; let the clips appear in the window, and render again.",
                OFFLINE_PATIENCE.as_secs() / 60
            );
            self.tell(MessageKind::Problem, text);
        }
    }

    /// Without a DAW nobody else would tell that the audio server is gone.
    fn tell_of_silence(&mut self) {
        let is_silent = self.shared.host.expects_blocks()
            && self
                .processed
                .is_some_and(|processed| processed.elapsed() > AUDIO_GONE);
        if is_silent && !self.is_silence_told {
            let text = "No sound goes out any more: the audio server (JACK, ALSA) has ended or has let this program go. Export the clips that you want to keep, then start the server and this program again.";
            self.tell(MessageKind::Problem, text.to_owned());
        }
        self.is_silence_told = is_silent;
    }

    fn count_presses(&mut self) {
        let presses = self.shared.host.presses();
        let new = presses - self.presses;
        self.presses = presses;
        for _ in 0..new.min(SLOTS as u64) {
            self.generate_by_parameter();
        }
    }

    fn tempo_bpm(&self) -> f64 {
        self.shared.host.tempo_bpm().unwrap_or(120.0)
    }

    /// A text in which adapters are called by the names of their files: a banner has no room for folders.
    fn without_folders(&self, text: String) -> String {
        let adapters = self.view.adapters.iter();
        adapters.fold(text, |text, adapter| match adapter.path.file_name() {
            Some(name) => {
                let path = adapter.path.display().to_string();
                text.replace(&path, &name.to_string_lossy())
            }
            None => text,
        })
    }

    /// Says something to the musician.
    fn tell(&mut self, kind: MessageKind, text: String) {
        // The same again is no news.
        self.view.messages.retain(|message| message.text != text);
        self.view.messages.push(Message {
            number: self.next_message,
            kind,
            text,
        });
        self.next_message += 1;
        if self.view.messages.len() > MOST_MESSAGES {
            self.view.messages.remove(0);
        }
        self.is_changed = true;
    }

    fn publish(&mut self) {
        self.view.revision += 1;
        self.view.project = self.with_project(|project| project.without_sound());
        self.view.jobs = self.jobs.iter().filter_map(Job::view).collect();
        self.view.slots = self.slots.each_ref().map(|slot| slot.state.clone());
        self.view.exported = std::array::from_fn(|slot| self.last_exported(slot));
        self.view.can_undo = self.history.can_undo();
        self.view.can_redo = self.history.can_redo();
        self.shared.publish(self.view.clone());
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        // Also after a panic: nobody waits for one who is gone.
        self.shared.settling.end();
    }
}
