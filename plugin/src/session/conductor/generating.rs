//! Clips that are asked for, and what becomes of them.

use std::time::{Duration, Instant};

use protocol::recipe::{EMBEDDED, TEMPO_BPM};
use protocol::{AdapterUse, BaseChoice, ClipFile, JobId, LearnRequest, Recipe, Source, ToEngine};

use super::clips::IfGone;
use super::{Conductor, MessageKind};
use crate::parameters::{KEYS, MOST_SEED};
use crate::project::{ChosenAdapter, FIRST_PAD, SLOTS, VARIATIONS, Variation};
use crate::session::history::{History, Slots};
use crate::session::{JobKind, JobView, SlotState};

/// Units of a phase that come this soon after its beginning were done before.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How long a phase is watched before its length is judged.
const JUDGED_AFTER: Duration = Duration::from_secs(5);

/// What the engine was asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) work: Work,
    pub(super) phase: String,
    pub(super) share: Option<f32>,
    pub(super) text: String,
    was_lost: bool,
    /// The phase under way, when it began, and how much of it was done then, by an earlier engine perhaps.
    pace: Option<(String, Instant, u64)>,
}

#[derive(Debug, Clone)]
pub(super) enum Work {
    /// A clip for a slot; one that was there before and is gone keeps its name.
    Clip {
        slot: usize,
        recipe: Box<Recipe>,
        again: bool,
    },
    /// An adapter.
    Learn(LearnRequest),
    /// An adapter, from where its training stopped.
    Resume(String),
    /// A file that was dropped.
    AddAdapter(std::path::PathBuf),
    /// A training run that is to be deleted.
    Discard(String),
}

impl Job {
    pub(super) fn is_clip(&self) -> bool {
        matches!(self.work, Work::Clip { .. })
    }

    /// What the engine says of it. Of a training, which takes minutes, the count and the time that is left are told too.
    pub(super) fn progress(&mut self, phase: String, (done, total): (u64, u64), text: String) {
        self.share = (total > 0).then(|| done as f32 / total as f32);
        self.text = text;
        match &mut self.pace {
            Some((known, since, before)) if *known == phase => {
                // What a run that goes on had done is counted at once.
                if since.elapsed() < AT_ONCE {
                    *before = done;
                }
            }
            pace => *pace = Some((phase.clone(), Instant::now(), done)),
        }
        self.phase = match self.is_clip() || total == 0 {
            true => phase,
            false => format!("{phase}, {done} of {total}{}", self.left(done, total)),
        };
    }

    /// The time that is left of a phase, once there is something to judge by.
    fn left(&self, done: u64, total: u64) -> String {
        let Some((_, since, before)) = &self.pace else {
            return String::new();
        };
        let (elapsed, judged) = (since.elapsed(), done.saturating_sub(*before));
        if elapsed < JUDGED_AFTER || judged == 0 {
            return String::new();
        }
        let secs = elapsed.as_secs_f64() / judged as f64 * total.saturating_sub(done) as f64;
        match (secs / 60.0).round() as u64 {
            0 => ", less than a minute left".to_owned(),
            minutes => format!(", about {minutes} min left"),
        }
    }

    pub(super) fn view(&self) -> Option<JobView> {
        let kind = match &self.work {
            Work::Clip { slot, .. } => JobKind::Clip { slot: *slot },
            Work::Learn(_) | Work::Resume(_) => JobKind::Learning,
            Work::AddAdapter(_) | Work::Discard(_) => return None,
        };
        Some(JobView {
            job: self.id,
            kind,
            phase: self.phase.clone(),
            share: self.share,
            text: self.text.clone(),
        })
    }

    /// The same for another engine, if it may be tried again.
    pub(super) fn again(&self) -> Option<Work> {
        match &self.work {
            Work::Clip { .. } | Work::AddAdapter(_) if !self.was_lost => Some(self.work.clone()),
            _ => None,
        }
    }
}

impl Conductor {
    /// Makes clips as the editor asks for them: into empty slots, then into the ones that are not kept.
    pub(super) fn generate(&mut self, count: usize) {
        let slots = self.free_slots(false);
        self.generate_into(&slots, count.clamp(1, VARIATIONS));
    }

    /// Makes one clip as the parameter asks for it: it takes the place of the one that plays.
    pub(super) fn generate_by_parameter(&mut self) {
        let slots = self.free_slots(true);
        self.generate_into(&slots, 1);
    }

    fn generate_into(&mut self, slots: &[usize], count: usize) {
        if slots.is_empty() {
            self.tell(
                MessageKind::Problem,
                "All eight clips are kept; release or remove one to make another.".to_owned(),
            );
            return;
        }
        for (number, slot) in slots.iter().take(count).enumerate() {
            let seed = self.next_seed(number as u64);
            let recipe = self.recipe(seed, self.chosen_adapters());
            self.ask_clip(*slot, recipe, false);
        }
    }

    /// Slots for new clips, the best first: none that is kept or awaited.
    fn free_slots(&self, in_place: bool) -> Vec<usize> {
        let selected =
            (self.shared.parameters.variation.value() - 1).clamp(0, VARIATIONS as i32 - 1);
        let selected = selected as usize;
        let is_awaited = |slot: usize| {
            self.jobs
                .iter()
                .any(|job| matches!(job.work, Work::Clip { slot: awaited, .. } if awaited == slot))
        };
        self.with_project(|project| {
            let is_kept = |slot: usize| {
                project.slots[slot]
                    .as_ref()
                    .is_some_and(|variation| variation.is_kept)
            };
            let is_empty = |slot: usize| project.slots[slot].is_none();
            let mut slots: Vec<usize> = (0..VARIATIONS)
                .filter(|slot| !is_kept(*slot) && !is_awaited(*slot))
                .collect();
            slots.sort_by_key(|slot| match (*slot == selected, is_empty(*slot)) {
                (true, true) => 0,
                (true, false) if in_place => 0,
                (false, true) => 1,
                // What is heard now goes last.
                (false, false) => 2,
                (true, false) => 3,
            });
            slots
        })
    }

    /// Of the clip of this number within one request: a locked seed stays for the first one.
    fn next_seed(&self, number: u64) -> u64 {
        let parameters = &self.shared.parameters;
        let seed = u64::try_from(parameters.seed.value()).unwrap_or_default();
        let asked = self.with_project(|project| {
            project.clips_asked += 1;
            project.clips_asked - 1
        });
        let counted = match parameters.seed_lock.value() {
            true => number,
            false => asked,
        };
        (seed + counted) % (MOST_SEED as u64 + 1)
    }

    fn chosen_adapters(&self) -> Vec<AdapterUse> {
        let strengths = self.shared.parameters.adapters.each_ref();
        let strengths = strengths.map(|adapter| adapter.strength.value());
        self.with_project(|project| {
            let chosen = project.adapters.iter().zip(strengths);
            chosen
                .filter_map(|(adapter, strength)| Some((adapter.as_ref()?, strength)))
                .filter(|(_, strength)| *strength != 0.0)
                .map(|(adapter, strength)| adapter_use(adapter, strength))
                .collect()
        })
    }

    /// What is set now, as a recipe.
    fn recipe(&self, seed: u64, adapters: Vec<AdapterUse>) -> Recipe {
        let parameters = &self.shared.parameters;
        let key = usize::try_from(parameters.key.value()).unwrap_or_default();
        let key = KEYS.get(key).filter(|_| key > 0);
        let tempo_bpm = self.tempo_bpm().clamp(*TEMPO_BPM.start(), *TEMPO_BPM.end());
        let metre = self.shared.host.metre();
        self.with_project(|project| Recipe {
            base: BaseChoice {
                name: match project.base.as_str() {
                    "" => EMBEDDED.to_owned(),
                    base => base.to_owned(),
                },
                identity: None,
            },
            adapters,
            prompt: project.prompt.clone(),
            bars: parameters.bars.value().count(),
            metre,
            tempo_bpm,
            key: key.map(|key| (*key).to_owned()),
            seed,
            steps: None,
            guidance: None,
            source: project.source.as_ref().map(|source| Source {
                path: source.path.clone(),
                sha256: None,
                role: source.role,
            }),
            engine: String::new(),
        })
    }

    pub(super) fn remake(&mut self, slot: usize, reseed: bool) {
        if slot >= VARIATIONS {
            return self.make_pads();
        }
        let own = self.with_project(|project| Some(project.slots[slot].as_ref()?.recipe.seed));
        let seed = match own {
            Some(seed) if !reseed => seed,
            // The lock holds the seed of new clips; this one counts on from its own.
            Some(seed) if self.shared.parameters.seed_lock.value() => {
                seed.saturating_add(1) % (MOST_SEED as u64 + 1)
            }
            _ => self.next_seed(0),
        };
        let recipe = self.recipe(seed, self.chosen_adapters());
        self.ask_clip(slot, recipe, false);
    }

    pub(super) fn make_pads(&mut self) {
        let seed = self.next_seed(0);
        let adapters = self.chosen_adapters();
        if adapters.is_empty() {
            self.tell(
                MessageKind::Problem,
                "The pads compare two adapters; choose one or two first.".to_owned(),
            );
            return;
        }
        for pad in 0..SLOTS - FIRST_PAD {
            let alone = adapters.get(pad).cloned().into_iter().collect();
            let recipe = self.recipe(seed, alone);
            self.ask_clip(FIRST_PAD + pad, recipe, false);
        }
    }

    pub(super) fn ask_clip(&mut self, slot: usize, recipe: Recipe, again: bool) {
        let mut jobs = std::mem::take(&mut self.jobs).into_iter();
        // Of two for one slot the newer one is meant.
        let (replaced, others): (Vec<Job>, Vec<Job>) = jobs.by_ref().partition(
            |job| matches!(job.work, Work::Clip { slot: awaited, .. } if awaited == slot),
        );
        self.jobs = others;
        for job in replaced {
            self.say_if_here(&ToEngine::Cancel { job: job.id });
        }
        if let Err(error) = recipe.validate() {
            self.tell(
                MessageKind::Problem,
                format!("This clip cannot be made: {error}."),
            );
            return;
        }
        self.slots[slot].state = SlotState::Awaited;
        self.ask(Work::Clip {
            slot,
            recipe: Box::new(recipe),
            again,
        });
    }

    /// Gives the engine something to do.
    pub(super) fn ask(&mut self, work: Work) {
        self.ask_once_more(work, false);
    }

    /// The same; `was_lost` if an engine was lost over it.
    pub(super) fn ask_once_more(&mut self, work: Work, was_lost: bool) {
        let id = self.next_job;
        self.next_job += 1;
        let message = match work.clone() {
            Work::Clip { recipe, .. } => ToEngine::Generate { job: id, recipe },
            Work::Learn(request) => ToEngine::Learn { job: id, request },
            Work::Resume(run) => ToEngine::ResumeLearning { job: id, run },
            Work::AddAdapter(path) => ToEngine::AddAdapter { job: id, path },
            Work::Discard(run) => ToEngine::DiscardRun { job: id, run },
        };
        let job = Job {
            id,
            work,
            phase: "asked for".to_owned(),
            share: None,
            text: String::new(),
            was_lost,
            pace: None,
        };
        self.jobs.push(job);
        // If the engine is lost over it, it is asked of another one under another number.
        if !self.say(&message)
            && let Some(job) = self.end_job(id)
        {
            // The message about the engine says it all.
            self.give_recordings_back(&job.work);
            self.give_up(&job, None);
        }
        self.is_changed = true;
    }

    /// Nothing came of it: what was there before is there again.
    pub(super) fn give_up(&mut self, job: &Job, problem: Option<String>) {
        if let Work::Clip { slot, again, .. } = &job.work {
            match (*again, &problem) {
                (true, _) => {
                    let problem = problem.clone().unwrap_or_else(|| {
                        "its sound is not on this machine, and making it again was stopped"
                            .to_owned()
                    });
                    self.slots[*slot].miss(problem);
                }
                (false, _) => self.slots[*slot].show_what_is_there(),
            }
        }
        if let Some(problem) = problem {
            let problem = match &job.work {
                // It stands before the problem.
                Work::AddAdapter(path) => {
                    let named = format!("{}: ", path.display());
                    problem.strip_prefix(&named).unwrap_or(&problem).to_owned()
                }
                _ => self.without_folders(problem),
            };
            let what = match &job.work {
                Work::Clip { slot, .. } if *slot < VARIATIONS => {
                    format!("Clip {}", slot + 1)
                }
                Work::Clip { slot, .. } => format!("Pad {}", ["A", "B"][(slot - FIRST_PAD).min(1)]),
                Work::Learn(request) => format!("Learning “{}”", request.name),
                Work::Resume(run) => format!("Learning, run {run}"),
                Work::Discard(run) => format!("Deleting run {run}"),
                Work::AddAdapter(path) => {
                    let name = path.file_name().unwrap_or(path.as_os_str());
                    name.to_string_lossy().into_owned()
                }
            };
            self.tell(MessageKind::Problem, format!("{what}: {problem}"));
        }
        self.is_changed = true;
    }

    pub(super) fn with_job(&mut self, id: JobId, work: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            work(job);
        }
    }

    pub(super) fn end_job(&mut self, id: JobId) -> Option<Job> {
        let place = self.jobs.iter().position(|job| job.id == id)?;
        Some(self.jobs.remove(place))
    }

    /// Another project is opened: what the one before asked for is nobody's.
    pub(super) fn forget_clip_jobs(&mut self) {
        let (clips, others): (Vec<Job>, Vec<Job>) = std::mem::take(&mut self.jobs)
            .into_iter()
            .partition(Job::is_clip);
        self.jobs = others;
        for job in clips {
            self.say_if_here(&ToEngine::Cancel { job: job.id });
        }
    }

    /// A clip is there.
    pub(super) fn take_clip(&mut self, id: JobId, clip: &ClipFile, recipe: Recipe) {
        let Some(job) = self.end_job(id) else {
            return;
        };
        let Work::Clip { slot, again, .. } = job.work else {
            return;
        };
        let name = name_of(&recipe);
        let mut variation = Variation::of_clip(name, recipe, clip);
        if again {
            // It has its name and is kept as before; made by another engine it may sound a little different.
            self.with_project(|project| {
                if let Some(before) = &mut project.slots[slot] {
                    variation.name.clone_from(&before.name);
                    // Its sound is saved anew when it is read.
                    variation.is_kept = before.is_kept;
                    *before = variation;
                }
            });
        } else {
            self.change_slot(slot, Some(variation));
            self.view.made = (self.view.made.0 + 1, slot);
        }
        self.fill(slot, IfGone::Tell);
        self.hold();
    }

    /// Changes a slot so that it can be taken back.
    pub(super) fn change_slot(&mut self, slot: usize, variation: Option<Variation>) {
        let mut history = std::mem::take(&mut self.history);
        self.with_project(|project| history.change(&mut project.slots, slot, variation));
        self.history = history;
    }

    pub(super) fn step_history(
        &mut self,
        step: impl Fn(&mut History, &mut Slots) -> Option<usize>,
    ) {
        let mut history = std::mem::take(&mut self.history);
        let slot = self.with_project(|project| step(&mut history, &mut project.slots));
        self.history = history;
        if let Some(slot) = slot {
            self.fill(slot, IfGone::MakeAgain);
            self.hold();
        }
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if slot < SLOTS {
            self.change_slot(slot, None);
            self.fill(slot, IfGone::MakeAgain);
        }
    }
}

fn adapter_use(adapter: &ChosenAdapter, strength: f32) -> AdapterUse {
    AdapterUse {
        path: adapter.path.clone(),
        name: adapter.name.clone(),
        sha256: adapter.sha256.clone(),
        strength,
    }
}

/// What a new clip is called: its adapters, or the first tag, and its seed.
fn name_of(recipe: &Recipe) -> String {
    let adapters: Vec<&str> = recipe
        .adapters
        .iter()
        .map(|adapter| adapter.name.as_str())
        .collect();
    let words = match adapters.as_slice() {
        [] => recipe.prompt.split(',').next().unwrap_or_default().trim(),
        _ => &adapters.join(" + "),
    };
    match words {
        "" => format!("Clip {}", recipe.seed),
        words => format!("{words} {}", recipe.seed),
    }
}
