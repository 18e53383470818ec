//! The loop: steps, running mean, validation, figures, checkpoints.
//!
//! The rate rises, stays, and falls to zero over the last part of the steps (Hu et al. 2024, "MiniCPM", section 4: warmup, stable, decay),
//! so that a run may be made longer or shorter while it lasts: `steps` may differ when it is resumed, nothing else may.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use journal::{Journal, JournalOptions, Record, Remark, Report, StepRecord, ValidationRecord};
use nn::{AdamW, AdamWOptions, Muon, MuonOptions, clip_factor};
use serde::{Deserialize, Serialize};

use super::start;
use super::variables::Variables;
use crate::error::LoraError;
use crate::progress::Progress;
use crate::tensor_file;
use crate::train::{Lock, RunningMean};

/// The checkpoint of a run, replaced in one step.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
const STATE: &str = "lorelei_base_run";
const VARIABLE: &str = "variables/";
/// Largest norm of all gradients together.
const GRADIENT_NORM_MOST: f64 = 1.0;
/// Between two checkpoints.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(240);
/// Weight decay per unit of learning rate.
const MATRIX_DECAY: f64 = 0.02;
const OTHER_DECAY: f64 = 0.01;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Optimizer steps of the whole run.
    pub steps: usize,
    /// Items of a step; longer ones are fewer.
    pub batch_size: usize,
    /// Peak learning rate of what AdamW trains.
    pub learning_rate: f64,
    /// Peak learning rate of the matrices that Muon trains, if there are such.
    pub matrix_rate: f64,
    /// Steps of the rise.
    pub warmup_steps: usize,
    /// Share of the steps over which the rate falls to zero at the end.
    pub decay_share: f64,
    /// Share of the running mean that stays at each step.
    pub average_decay: f64,
    /// Steps between two validations.
    pub validation_steps: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl RunSettings {
    /// What the rates are multiplied with at a step, counted from zero.
    pub fn rate_share(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let falling = (self.steps as f64 * self.decay_share).max(1.0);
        let left = self.steps.saturating_sub(step) as f64;
        (left / falling).min(1.0)
    }

    /// # Errors
    /// [`LoraError::Setting`] for the first setting that is out of its range.
    pub fn check(&self) -> Result<(), LoraError> {
        let wrong = |setting, value: String, expected: &str| {
            Err(LoraError::Setting {
                setting,
                value,
                expected: expected.to_owned(),
            })
        };
        let counts = [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("validation_steps", self.validation_steps),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return wrong(name, "0".to_owned(), "at least 1");
        }
        for (name, rate) in [
            ("learning_rate", self.learning_rate),
            ("matrix_rate", self.matrix_rate),
        ] {
            if !(rate > 0.0 && rate <= 1.0) {
                return wrong(name, rate.to_string(), "above 0 and at most 1");
            }
        }
        for (name, share) in [
            ("decay_share", self.decay_share),
            ("average_decay", self.average_decay),
        ] {
            if !(0.0..1.0).contains(&share) {
                return wrong(name, share.to_string(), "at least 0 and below 1");
            }
        }
        Ok(())
    }
}

/// What is minimised.
pub(super) trait Objective {
    /// What is trained.
    fn variables(&self) -> &Variables;
    /// Whether Muon trains this variable, and not AdamW.
    fn is_hidden_matrix(&self, name: &str) -> bool;
    /// Loss of a step and its gradients.
    fn gradients(&self, step: usize) -> Result<(f64, GradStore), LoraError>;
    /// Loss on what is held out, with the variables as they are, and what it is made of.
    fn validation(&self) -> Result<(f64, String), LoraError>;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With all its steps; the variables are the running mean now.
    Finished,
    /// Before that, by Ctrl-C or the time that was given; it can be resumed.
    Stopped,
}

/// How a run is to begin, and how long it may take now.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Whether to go on with the run in that folder.
    pub resume: bool,
    /// Whether to replace it.
    pub force: bool,
    /// When to save and stop, if not before.
    pub until: Option<Instant>,
}

/// A run's folder that nobody else works in, with what was saved of it.
pub(super) struct Place {
    folder: PathBuf,
    until: Option<Instant>,
    /// What the run leaves in the end.
    result: &'static str,
    fresh: State,
    /// State and tensors of a run that is gone on with.
    saved: Option<(State, BTreeMap<String, Tensor>)>,
    _lock: Lock,
}

impl Place {
    /// Takes the folder, before anything is computed for the run. `origin` is whatever decides it beside the settings: sizes and hashes
    /// of the data, which are compared when it is resumed.
    ///
    /// # Errors
    /// When another program works there, a run or its result is there already, or the saved run was begun otherwise.
    pub(super) fn take(
        course: Course<'_>,
        settings: &RunSettings,
        origin: BTreeMap<&'static str, String>,
        result: &'static str,
    ) -> Result<Self, LoraError> {
        settings.check()?;
        let lock = Lock::take(course.folder)?;
        let fresh = State {
            settings: settings.clone(),
            origin: own(&origin),
            step: 0,
            elapsed_secs: 0.0,
        };
        let checkpoint = course.folder.join(CHECKPOINT_FILE);
        let saved = match course.resume && checkpoint.exists() {
            true => Some(read(&checkpoint, &fresh)?),
            false => None,
        };
        let place = Self {
            folder: course.folder.to_owned(),
            until: course.until,
            result,
            fresh,
            saved,
            _lock: lock,
        };
        if place.saved.is_none() && !course.force {
            let earlier = [checkpoint, place.result()];
            if let Some(path) = earlier.into_iter().find(|path| path.exists()) {
                return Err(LoraError::EarlierRun { path });
            }
        }
        Ok(place)
    }

    /// Where the result is written.
    pub(super) fn result(&self) -> PathBuf {
        self.folder.join(self.result)
    }

    /// Takes away what an earlier run left, or one that never came to a checkpoint.
    fn clear(&self) -> Result<(), LoraError> {
        let own = [
            self.result,
            CHECKPOINT_FILE,
            journal::METRICS_FILE,
            journal::REPORT_FILE,
        ];
        for path in own.map(|name| self.folder.join(name)) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LoraError::file(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a checkpoint's header says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    settings: RunSettings,
    origin: BTreeMap<String, String>,
    step: usize,
    elapsed_secs: f64,
}

/// Trains until the steps are done, the time is over or Ctrl-C.
///
/// # Errors
/// When files cannot be read or written, a run is there already, or a loss is no number.
pub(super) fn run(
    objective: &dyn Objective,
    settings: &RunSettings,
    place: &mut Place,
    progress: &mut dyn Progress,
) -> Result<Outcome, LoraError> {
    let mut run = Run::begin(objective, settings, place)?;
    progress.begin("training", settings.steps);
    progress.skip(run.state.step.min(settings.steps));
    let mut saved = Instant::now();
    let mut outcome = Outcome::Finished;
    while run.state.step < settings.steps {
        let is_over = (place.until).is_some_and(|until| Instant::now() >= until);
        if is_over || progress.stop_requested() {
            outcome = Outcome::Stopped;
            break;
        }
        run.step()?;
        progress.advance();
        if run.state.step.is_multiple_of(settings.validation_steps) {
            progress.describe(&run.validate()?);
        }
        if saved.elapsed() >= BETWEEN_CHECKPOINTS {
            run.save()?;
            saved = Instant::now();
        }
    }
    progress.end();
    let shown = match run.shown.take() {
        Some((step, shown)) if step == run.state.step => shown,
        _ => run.validate()?,
    };
    run.save()?;
    progress.note(&format!("step {}: {shown}", run.state.step));
    run.report(outcome)?;
    if outcome == Outcome::Finished {
        objective.variables().set(run.mean.means())?;
    }
    Ok(outcome)
}

/// A run under way.
struct Run<'a> {
    objective: &'a dyn Objective,
    settings: &'a RunSettings,
    checkpoint: PathBuf,
    folder: PathBuf,
    matrices: Muon,
    others: AdamW,
    mean: RunningMean,
    state: State,
    journal: Journal,
    /// Losses, gradient norms and seconds since the last record.
    since: (f64, f64, f64, usize),
    /// The last validation in words, and its step.
    shown: Option<(usize, String)>,
}

impl<'a> Run<'a> {
    fn begin(
        objective: &'a dyn Objective,
        settings: &'a RunSettings,
        place: &mut Place,
    ) -> Result<Self, LoraError> {
        let variables = objective.variables();
        let [hidden, others] =
            variables.parted(|name, var| objective.is_hidden_matrix(name) && var.rank() == 2);
        let muon = MuonOptions {
            weight_decay: MATRIX_DECAY,
            ..MuonOptions::default()
        };
        let adamw = AdamWOptions {
            beta2: 0.98,
            weight_decay: OTHER_DECAY,
            ..AdamWOptions::default()
        };
        let mut matrices = Muon::new(hidden, muon)?;
        let mut others = AdamW::new(others, adamw)?;
        let mut mean = RunningMean::new(settings.average_decay, &variables.list())?;
        let folder = &place.folder.clone();
        let options = JournalOptions::default();
        let (state, journal) = match place.saved.take() {
            Some((state, tensors)) => {
                variables.set(&with_prefix(&tensors, VARIABLE))?;
                mean.restore(&tensors)?;
                let of_optimizers: HashMap<String, Tensor> = tensors.into_iter().collect();
                matrices.restore(&of_optimizers)?;
                others.restore(&of_optimizers)?;
                let journal = Journal::resume(folder, state.step, options)?;
                (state, journal)
            }
            None => {
                place.clear()?;
                (place.fresh.clone(), Journal::create(folder, options)?)
            }
        };
        Ok(Self {
            objective,
            settings,
            checkpoint: folder.join(CHECKPOINT_FILE),
            folder: folder.clone(),
            matrices,
            others,
            mean,
            state,
            journal,
            since: (0.0, 0.0, 0.0, 0),
            shown: None,
        })
    }

    fn step(&mut self) -> Result<(), LoraError> {
        let begun = Instant::now();
        let step = self.state.step;
        let (loss, gradients) = self.objective.gradients(step)?;
        let norm = self.gradient_norm(&gradients)?;
        if !loss.is_finite() || !norm.is_finite() {
            let path = match self.checkpoint.exists() {
                true => &self.checkpoint,
                false => &self.folder,
            };
            return Err(LoraError::BadFile {
                path: path.to_owned(),
                problem: format!(
                    "at step {step} of this run the loss became {loss} and its gradient {norm}; --resume goes on from the last checkpoint, and if that ends here again, --force with a lower --learning-rate (and --matrix-rate, if there is one) begins anew"
                ),
            });
        }
        let factor = clip_factor(norm, GRADIENT_NORM_MOST);
        let share = self.settings.rate_share(step);
        self.matrices
            .step(&gradients, self.settings.matrix_rate * share, factor)?;
        self.others
            .step(&gradients, self.settings.learning_rate * share, factor)?;
        self.state.step += 1;
        let variables = self.objective.variables().list();
        self.mean.take_in(self.state.step, &variables)?;
        let secs = begun.elapsed().as_secs_f64();
        self.state.elapsed_secs += secs;
        let (losses, norms, time, count) = self.since;
        self.since = (losses + loss, norms + norm, time + secs, count + 1);
        Ok(())
    }

    fn gradient_norm(&self, gradients: &GradStore) -> Result<f64, LoraError> {
        let mut total = 0.0;
        for (_, variable) in self.objective.variables().iter() {
            if let Some(gradient) = gradients.get(variable.as_tensor()) {
                total += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        Ok(total.sqrt())
    }

    /// The loss on what is held out, of the running mean; also written down, with the means of the steps.
    fn validate(&mut self) -> Result<String, LoraError> {
        let variables = self.objective.variables();
        let (loss, parts) =
            variables.with_values(self.mean.means(), || self.objective.validation())?;
        let (losses, norms, secs, count) = std::mem::take(&mut self.since);
        let step = self.state.step;
        let mean = |sum: f64| sum / count.max(1) as f64;
        if count > 0 {
            let share = self.settings.rate_share(step.saturating_sub(1));
            self.journal.write(&Record::Step(StepRecord {
                step,
                epoch: 1,
                loss: mean(losses),
                unweighted_loss: None,
                loss_by_time: Default::default(),
                gradient_norm: mean(norms),
                update_norm: f64::NAN,
                learning_rate: self.settings.learning_rate * share,
                step_secs: mean(secs),
                elapsed_secs: self.state.elapsed_secs,
                adapter_norms: BTreeMap::new(),
            }))?;
        }
        self.journal.write(&Record::Validation(ValidationRecord {
            step,
            epoch: 1,
            loss,
            loss_by_time: Vec::new(),
        }))?;
        let shown = format!(
            "loss {:.4}, held out {loss:.4}{parts}, {:.2} s a step",
            mean(losses),
            mean(secs)
        );
        self.journal.write(&Record::Note(Remark {
            step,
            text: shown.clone(),
        }))?;
        self.shown = Some((step, shown.clone()));
        Ok(shown)
    }

    fn save(&self) -> Result<(), LoraError> {
        let variables = self.objective.variables().values()?;
        let mut tensors: BTreeMap<String, Tensor> = variables
            .into_iter()
            .map(|(name, value)| (format!("{VARIABLE}{name}"), value))
            .collect();
        tensors.extend(self.mean.state());
        tensors.extend(self.matrices.state()?);
        tensors.extend(self.others.state()?);
        let bad = |problem: String| LoraError::BadFile {
            path: self.checkpoint.clone(),
            problem,
        };
        let state = serde_json::to_string(&self.state).map_err(|error| bad(error.to_string()))?;
        let bytes = tensor_file::to_bytes(&tensors, STATE, state).map_err(bad)?;
        self.journal.sync()?;
        dataset::write_aside(&self.checkpoint, &bytes).map_err(LoraError::file(&self.checkpoint))
    }

    fn report(&self, outcome: Outcome) -> Result<(), LoraError> {
        let records = self.journal.records()?;
        let title = self.folder.display().to_string();
        let word = match outcome {
            Outcome::Finished => "finished",
            Outcome::Stopped => "stopped",
        };
        Report::new(title, &self.folder, &records)
            .outcome(format!("{word} after {} steps", self.state.step))
            .write()?;
        Ok(())
    }
}

fn own(origin: &BTreeMap<&'static str, String>) -> BTreeMap<String, String> {
    let owned = |(name, value): (&&str, &String)| ((*name).to_owned(), value.clone());
    origin.iter().map(owned).collect()
}

/// Those tensors whose names begin with `prefix`, without it.
fn with_prefix(tensors: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let chosen = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
    };
    tensors.iter().filter_map(chosen).collect()
}

/// State and tensors of a checkpoint that goes on as `fresh` would begin.
fn read(path: &Path, fresh: &State) -> Result<(State, BTreeMap<String, Tensor>), LoraError> {
    let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
    let bad = |problem: String| LoraError::BadFile {
        path: path.to_owned(),
        problem,
    };
    let (text, tensors) = tensor_file::from_bytes(&bytes, STATE, &Device::Cpu).map_err(bad)?;
    let mut state: State = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    state.settings.steps = fresh.settings.steps;
    let differences = differences(&state, fresh);
    if !differences.is_empty() {
        return Err(bad(format!(
            "this run was begun otherwise ({}); resume it as it was begun, or begin again with --force",
            differences.join("; ")
        )));
    }
    Ok((state, tensors))
}

/// What differs between two runs, in words.
fn differences(saved: &State, asked: &State) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in &asked.origin {
        let before = saved.origin.get(name).map(String::as_str);
        let before = before.or((name == start::ORIGIN).then_some(start::NO_ORIGIN));
        if before != Some(value) {
            found.push(format!("another {name}"));
        }
    }
    let [saved, asked] = [saved, asked].map(|state| serde_json::to_value(&state.settings));
    if let (Ok(saved), Ok(asked)) = (saved, asked)
        && let (Some(saved), Some(asked)) = (saved.as_object(), asked.as_object())
    {
        for (name, value) in asked {
            if let Some(before) = saved.get(name).filter(|before| *before != value) {
                found.push(format!("{name} was {before} and is {value}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RunSettings {
        RunSettings {
            steps: 100,
            batch_size: 4,
            learning_rate: 1e-3,
            matrix_rate: 2e-3,
            warmup_steps: 10,
            decay_share: 0.25,
            average_decay: 0.99,
            validation_steps: 10,
            seed: 1,
        }
    }

    #[test]
    fn the_rate_rises_stays_and_falls() {
        let settings = settings();
        assert!((settings.rate_share(0) - 0.1).abs() < 1e-12);
        assert_eq!(settings.rate_share(10), 1.0);
        assert_eq!(settings.rate_share(75), 1.0);
        assert!((settings.rate_share(90) - 0.4).abs() < 1e-12);
        assert!(settings.rate_share(99) > 0.0);
        assert_eq!(settings.rate_share(100), 0.0);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let wrong = RunSettings {
            batch_size: 0,
            ..settings()
        };
        assert!(
            wrong
                .check()
                .unwrap_err()
                .to_string()
                .contains("--batch-size")
        );
        let wrong = RunSettings {
            matrix_rate: f64::NAN,
            ..settings()
        };
        assert!(
            wrong
                .check()
                .unwrap_err()
                .to_string()
                .contains("--matrix-rate")
        );
        assert!(settings().check().is_ok());
    }
}
