//! The loop: steps, epochs, validation, checkpoints, the best weights kept.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use nn::Stream;
use nn::optimizer::{AdamW, AdamWOptions, clip_factor};
use nn::schedule::{ReturningCosine, Schedule, WarmupCosine};

use super::batch::{Batch, BatchShape, steps_per_epoch, training_batch, validation_batches};
use super::checkpoint::{self, Checkpoint, RunState};
use super::config::{CONFIG_FILE, MOST_STEPS, TrainConfig};
use super::curves;
use super::data::TrainingSet;
use super::early_stopping::EarlyStopping;
use super::metrics::{self, EpochMetrics};
use super::plan::{checkpointed, crop_frames};
use super::step::TrainableAdapter;
use crate::adapter::AdapterDescription;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::progress::Progress;

/// Held-out pieces that are measured; more cost time and change little.
const MOST_VALIDATION_PIECES: usize = 8;
/// Held-out songs are measured at the end of an epoch, but not again before this many steps.
const LEAST_STEPS_BETWEEN_VALIDATIONS: usize = 10;
const BEST_FILE: &str = "best.safetensors";
/// All that a run keeps in its folder. The checkpoint comes first: removed in this order, a run that is being replaced can never be
/// resumed without its other files.
const RUN_FILES: [&str; 5] = [
    checkpoint::CHECKPOINT_FILE,
    metrics::METRICS_FILE,
    BEST_FILE,
    curves::CURVES_FILE,
    CONFIG_FILE,
];

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The adapter, best by validation.
    pub adapter: PathBuf,
    /// Steps done.
    pub steps: usize,
    /// Lowest loss on the held-out songs, if there are any.
    pub best_validation_loss: Option<f64>,
    /// That loss before the first step.
    pub first_validation_loss: Option<f64>,
    /// Early stopping ended it.
    pub stopped_early: bool,
    /// Picture of the loss curves.
    pub curves: PathBuf,
}

/// A run: what it trains, on what, and how far it is.
pub struct Trainer {
    config: TrainConfig,
    adapter: TrainableAdapter,
    set: TrainingSet,
    validation: Vec<Batch>,
    shape: BatchShape,
    optimizer: AdamW,
    schedule: Schedule,
    random: Stream,
    device: Device,
    total_steps: usize,
    checkpointed: bool,
    state: RunState,
}

impl Trainer {
    /// Whether a fresh run would find its files' names free.
    ///
    /// # Errors
    /// [`LoraError::EarlierRun`] with the first file that is there.
    pub fn check_free(config: &TrainConfig) -> Result<(), LoraError> {
        let in_folder = RUN_FILES.map(|name| config.run_dir.join(name));
        let mut files = std::iter::once(&config.out).chain(&in_folder);
        match files.find(|path| path.exists()) {
            Some(path) => Err(LoraError::EarlierRun { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Whether the adapter can be written where it is to go, so that this does not show after the training. Makes its folder.
    ///
    /// # Errors
    /// When the name is a folder's or the run folder's, or nothing can be written beside it.
    pub fn check_out(config: &TrainConfig) -> Result<(), LoraError> {
        let bad = |problem: &str| {
            let (path, problem) = (config.out.clone(), problem.to_owned());
            Err(LoraError::BadFile { path, problem })
        };
        if config.out.is_dir() {
            return bad("is a folder; --out names the adapter's file");
        }
        if config.out == config.run_dir {
            return bad("is the adapter's name and the run folder's too; --run-dir names another");
        }
        if config.run_dir == config.data {
            let path = config.run_dir.clone();
            let problem = "is the folder of the pieces; --run-dir names another".to_owned();
            return Err(LoraError::BadFile { path, problem });
        }
        let folder = config.out.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).map_err(LoraError::file(folder))?;
        let mut probe = config.out.clone().into_os_string();
        probe.push(".probe");
        let probe = PathBuf::from(probe);
        let written = std::fs::write(&probe, []).and_then(|()| std::fs::remove_file(&probe));
        written.map_err(LoraError::file(&config.out))
    }

    /// A fresh run. Refuses to touch an earlier run's files unless `force` is set; with `force` they are removed, the adapter itself is
    /// replaced at the end. Nothing is removed before the settings are known to be good.
    pub fn start(
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
    ) -> Result<Self, LoraError> {
        if !force {
            Self::check_free(&config)?;
        }
        Self::check_out(&config)?;
        let mut trainer = Self::prepare(config, base, set)?;
        trainer.state.replaces_adapter = force;
        let config = &trainer.config;
        let out_folder = config.out.parent().unwrap_or(Path::new(""));
        for folder in [&config.run_dir, out_folder] {
            std::fs::create_dir_all(folder).map_err(LoraError::file(folder))?;
        }
        for name in RUN_FILES {
            remove_if_there(&config.run_dir.join(name))?;
        }
        let path = config.run_dir.join(CONFIG_FILE);
        dataset::write_aside(&path, trainer.state.config_toml.as_bytes())
            .map_err(LoraError::file(&path))?;
        Ok(trainer)
    }

    /// Goes on with the run in the configuration's run folder. A changed configuration, data set or base is refused with what differs.
    pub fn resume(
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
    ) -> Result<Self, LoraError> {
        let run_dir = config.run_dir.clone();
        let mut trainer = Self::prepare(config, base, set)?;
        let saved = Checkpoint::load(&run_dir, &trainer.device)?;
        trainer.check_unchanged(&saved.state)?;
        trainer.check_adapter_is_ours(saved.state.replaces_adapter)?;
        let damaged = |error: &dyn std::fmt::Display| LoraError::BadFile {
            path: checkpoint::path(&run_dir),
            problem: format!(
                "its tensors are not those of this run ({error}); the file is damaged: begin again with --force"
            ),
        };
        let restored = trainer.adapter.restore(&saved.tensors);
        restored.map_err(|error| damaged(&error))?;
        let moments: HashMap<String, Tensor> = saved.tensors.clone().into_iter().collect();
        let restored = trainer.optimizer.restore(&moments);
        restored.map_err(|error| damaged(&error))?;
        metrics::rewind(&run_dir, saved.state.step)?;
        trainer.state = saved.state;
        Ok(trainer)
    }

    fn prepare(config: TrainConfig, base: BaseModel, set: TrainingSet) -> Result<Self, LoraError> {
        let device = base.device().clone();
        let random = Stream::new(config.seed);
        let shape = BatchShape {
            batch_size: config.batch_size,
            frames: crop_frames(config.crop_secs, base.frame_secs()),
            style_drop: config.style_drop,
            text_drop: config.text_drop,
            drops_together: config.reference_defects,
            position: base.songs().is_none().then_some(base.clip_position()),
            max_frames: base.transformer_config().max_frames,
        };
        let validation = validation_batches(
            &set.validation,
            shape,
            MOST_VALIDATION_PIECES,
            &random,
            &device,
        )?;
        let per_epoch = steps_per_epoch(set.training.len(), config.batch_size);
        let total_steps = total_steps(&config, per_epoch)?;
        let config_toml = toml::to_string(&config).map_err(|error| LoraError::BadFile {
            path: config.run_dir.join(CONFIG_FILE),
            problem: error.to_string(),
        })?;
        let state = RunState {
            step: 0,
            early_stopping: EarlyStopping::new(config.patience_epochs, config.minimum_improvement),
            epoch_sums: (0.0, 0.0, 0),
            elapsed_secs: 0.0,
            config_toml,
            first_validation_loss: None,
            data_hash: set.data_hash.clone(),
            base_sha256: base.identity().sha256.clone(),
            replaces_adapter: false,
            stopped_early: false,
            finished: false,
        };
        let checkpointed = checkpointed(base.transformer_config(), shape.frames, &config);
        let pieces = set.training.iter().chain(&set.validation);
        let has_styles = pieces
            .into_iter()
            .any(|piece| piece.conditions.style.is_some());
        let adapter = TrainableAdapter::initialise(base, &config, !has_styles, &device)?;
        let optimizer = AdamW::new(
            adapter.variables(),
            AdamWOptions {
                weight_decay: config.weight_decay,
                ..AdamWOptions::default()
            },
        )?;
        let schedule = schedule(&config, total_steps);
        Ok(Self {
            adapter,
            set,
            validation,
            shape,
            optimizer,
            schedule,
            random,
            device,
            total_steps,
            checkpointed,
            state,
            config,
        })
    }

    fn check_unchanged(&self, saved: &RunState) -> Result<(), LoraError> {
        let refused = |problem| {
            let path = checkpoint::path(&self.config.run_dir);
            Err(LoraError::BadFile { path, problem })
        };
        if saved.finished {
            return refused(format!(
                "the run is finished, its adapter is {}; --out and --run-dir begin another, --force begins this one again",
                self.config.out.display()
            ));
        }
        let mut differences = changed_settings(&saved.config_toml, &self.state.config_toml);
        if saved.data_hash != self.state.data_hash {
            differences.push("the training pieces".to_owned());
        }
        if saved.base_sha256 != self.state.base_sha256 {
            differences.push("the base's file".to_owned());
        }
        if differences.is_empty() {
            return Ok(());
        }
        refused(format!(
            "cannot go on, changed since the run began: {}; change it back, or begin a new run with another --run-dir and --out, or with --force",
            differences.join("; ")
        ))
    }

    /// Where the run keeps its files.
    pub fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Seconds the rest of the run will take, judged by one step that is computed and thrown away.
    pub fn estimate_secs(&self) -> Result<f64, LoraError> {
        let batch = training_batch(
            &self.set.training,
            self.shape,
            self.state.step,
            &self.random,
            &self.device,
        )?;
        let mut last = 0.0;
        // The first computation also pays for memory pages and thread start.
        for _ in 0..2 {
            let started = Instant::now();
            self.gradients(&batch)?;
            last = started.elapsed().as_secs_f64();
        }
        let remaining = self.total_steps - self.state.step;
        let per_epoch = steps_per_epoch(self.set.training.len(), self.shape.batch_size);
        let validations = remaining / validation_interval(per_epoch);
        // A forward pass without gradients takes about a third of a training step.
        Ok(last * (remaining as f64 + validations as f64 * self.validation.len() as f64 / 3.0))
    }

    /// Trains to the end, to early stopping, or to a requested stop, which saves a checkpoint and returns [`LoraError::Stopped`].
    pub fn run(mut self, progress: &mut dyn Progress) -> Result<Outcome, LoraError> {
        let per_epoch = steps_per_epoch(self.set.training.len(), self.shape.batch_size);
        let interval = validation_interval(per_epoch);
        if self.state.step == 0 {
            self.state.first_validation_loss = self.validate()?;
        }
        progress.begin("training", self.total_steps - self.state.step);
        while self.state.step < self.total_steps && !self.state.stopped_early {
            if progress.stop_requested() {
                self.save_checkpoint()?;
                return Err(LoraError::Stopped);
            }
            let started = Instant::now();
            let loss = self.step()?;
            self.state.elapsed_secs += started.elapsed().as_secs_f64();
            let last = self.state.step == self.total_steps;
            if self.state.step.is_multiple_of(per_epoch) || last {
                let due = last || self.state.step.is_multiple_of(interval);
                self.state.stopped_early = self.end_epoch(per_epoch, due)?;
            }
            if self.state.step.is_multiple_of(self.config.checkpoint_steps) {
                self.save_checkpoint()?;
            }
            progress.describe(&self.status(loss));
            progress.advance();
        }
        progress.end();
        self.finish()
    }

    fn step(&mut self) -> Result<f64, LoraError> {
        let step = self.state.step;
        let batch = training_batch(
            &self.set.training,
            self.shape,
            step,
            &self.random,
            &self.device,
        )?;
        let (value, gradients) = self.gradients(&batch)?;
        self.check_finite("loss", value)?;
        let norm = self.optimizer.gradient_norm(&gradients)?;
        self.check_finite("gradient", norm)?;
        let clip = self.config.gradient_clip;
        let factor = if clip > 0.0 {
            clip_factor(norm, clip)
        } else {
            1.0
        };
        self.optimizer
            .step(&gradients, self.schedule.at(step), factor)?;
        self.state.step += 1;
        let sums = &mut self.state.epoch_sums;
        *sums = (sums.0 + value, sums.1 + norm, sums.2 + 1);
        Ok(value)
    }

    fn gradients(&self, batch: &Batch) -> Result<(f64, GradStore), LoraError> {
        let (loss, gradients) =
            self.adapter
                .gradients(batch, self.state.step, self.checkpointed)?;
        let gradients = gradients
            .ok_or_else(|| candle_core::Error::Msg("a training step without a crop".to_owned()))?;
        Ok((loss, gradients))
    }

    fn check_finite(&self, what: &'static str, value: f64) -> Result<(), LoraError> {
        if value.is_finite() {
            return Ok(());
        }
        Err(LoraError::NotFinite {
            what,
            value,
            step: self.state.step,
            learning_rate: self.config.learning_rate,
        })
    }

    /// Closes an epoch; `true` asks to stop.
    fn end_epoch(&mut self, per_epoch: usize, validate: bool) -> Result<bool, LoraError> {
        let epoch = self.state.step.div_ceil(per_epoch);
        let (losses, norms, count) = std::mem::take(&mut self.state.epoch_sums);
        let validation_loss = if validate { self.validate()? } else { None };
        let mut stop = false;
        let watched = match self.config.reference_defects {
            true => Some(losses / count.max(1) as f64),
            false => validation_loss,
        };
        if let Some(loss) = watched {
            let verdict = self.state.early_stopping.observe(epoch, loss);
            stop = verdict.stop;
            if verdict.is_best {
                self.save_adapter(&self.config.run_dir.join(BEST_FILE), Some(loss))?;
            }
        }
        let metrics = EpochMetrics {
            epoch,
            step: self.state.step,
            loss: losses / count.max(1) as f64,
            validation_loss,
            learning_rate: self.schedule.at(self.state.step.saturating_sub(1)),
            gradient_norm: norms / count.max(1) as f64,
            elapsed_secs: self.state.elapsed_secs,
        };
        metrics::append(&self.config.run_dir, &metrics)?;
        Ok(stop)
    }

    fn validate(&self) -> Result<Option<f64>, LoraError> {
        let (mut sum, mut items) = (0.0, 0);
        for batch in &self.validation {
            sum += self.adapter.validation_loss(batch)? * batch.styles.len() as f64;
            items += batch.styles.len();
        }
        Ok((items > 0).then(|| sum / items as f64))
    }

    fn status(&self, loss: f64) -> String {
        let best = self.state.early_stopping.best;
        let validation = best.map_or_else(String::new, |best| format!(", best held-out {best:.4}"));
        format!(
            "loss {loss:.4}{validation}, rate {:.1e}",
            self.schedule.at(self.state.step.saturating_sub(1))
        )
    }

    fn description(&self, validation_loss: Option<f64>) -> AdapterDescription {
        AdapterDescription {
            format: 1,
            rank: self.config.rank,
            alpha: self.config.alpha,
            dropout: self.config.dropout,
            targets: self.config.targets.clone(),
            base: Some(self.adapter.base().identity().clone()),
            trigger_words: self.config.trigger_words.clone(),
            lorelei_version: env!("CARGO_PKG_VERSION").to_owned(),
            data_hash: self.set.data_hash.clone(),
            seed: self.config.seed,
            step: self.state.step,
            validation_loss,
        }
    }

    fn save_adapter(&self, path: &Path, validation_loss: Option<f64>) -> Result<(), LoraError> {
        self.adapter
            .adapter(self.description(validation_loss))?
            .save(path)
    }

    fn save_checkpoint(&self) -> Result<(), LoraError> {
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, variable) in self.adapter.variables() {
            tensors.insert(name, variable.as_tensor().clone());
        }
        tensors.extend(self.optimizer.state()?);
        Checkpoint {
            state: self.state.clone(),
            tensors,
        }
        .save(&self.config.run_dir)
    }

    /// Whether the adapter's name is free, or to be replaced, or taken by this run (which was killed after writing it).
    fn check_adapter_is_ours(&self, replaces: bool) -> Result<(), LoraError> {
        let (out, best) = (&self.config.out, self.config.run_dir.join(BEST_FILE));
        if replaces || !out.exists() {
            return Ok(());
        }
        let bytes = std::fs::read(out).map_err(LoraError::file(out))?;
        if std::fs::read(&best).is_ok_and(|ours| ours == bytes) {
            return Ok(());
        }
        let path = out.clone();
        Err(LoraError::TakenMeanwhile { path, best })
    }

    fn finish(mut self) -> Result<Outcome, LoraError> {
        let best = self.config.run_dir.join(BEST_FILE);
        // Without held-out songs nothing tells one moment from another: the last weights are the ones.
        if self.state.early_stopping.best.is_none() {
            self.save_adapter(&best, None)?;
        }
        // From here on nothing is left to train: if the adapter cannot be written, --resume only writes it.
        self.save_checkpoint()?;
        self.check_adapter_is_ours(self.state.replaces_adapter)?;
        let bytes = std::fs::read(&best).map_err(LoraError::file(&best))?;
        dataset::write_aside(&self.config.out, &bytes)
            .map_err(LoraError::file(&self.config.out))?;
        curves::draw(&self.config.run_dir, &metrics::read(&self.config.run_dir)?)?;
        self.state.finished = true;
        self.save_checkpoint()?;
        Ok(Outcome {
            adapter: self.config.out.clone(),
            steps: self.state.step,
            best_validation_loss: self.state.early_stopping.best,
            first_validation_loss: self.state.first_validation_loss,
            stopped_early: self.state.stopped_early,
            curves: self.config.run_dir.join(curves::CURVES_FILE),
        })
    }
}

fn schedule(config: &TrainConfig, total_steps: usize) -> Schedule {
    let (peak, floor_ratio) = (config.learning_rate, config.final_rate_ratio);
    if config.reference_defects {
        return Schedule::ReturningCosine(ReturningCosine {
            peak,
            floor_ratio,
            total_steps,
        });
    }
    Schedule::WarmupCosine(WarmupCosine {
        peak,
        warmup_steps: config.warm_up_steps.min(total_steps / 2),
        total_steps,
        floor_ratio,
    })
}

/// Settings of two configurations that differ, as people read them; both are TOML with one setting a line.
fn changed_settings(saved: &str, now: &str) -> Vec<String> {
    let settings = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once(" = "));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (saved, now) = (settings(saved), settings(now));
    let mut names: Vec<&String> = saved.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = (saved.get(name), now.get(name));
        if before != after {
            let shown = |value: Option<&String>| value.map_or("unset", String::as_str).to_owned();
            changes.push(format!("{name} = {} (was {})", shown(after), shown(before)));
        }
    }
    changes
}

fn total_steps(config: &TrainConfig, per_epoch: usize) -> Result<usize, LoraError> {
    let Some(epochs) = config.epochs else {
        return Ok(config.steps);
    };
    let steps = epochs.checked_mul(per_epoch);
    let bounded = steps.filter(|steps| *steps as u64 <= MOST_STEPS);
    bounded.ok_or_else(|| LoraError::Setting {
        setting: "epochs",
        value: epochs.to_string(),
        expected: format!("at {per_epoch} steps an epoch these are more than {MOST_STEPS} steps"),
    })
}

/// Steps from one validation to the next: whole epochs. It follows from the step alone, so that a resumed run measures where an
/// uninterrupted one does.
fn validation_interval(per_epoch: usize) -> usize {
    LEAST_STEPS_BETWEEN_VALIDATIONS.div_ceil(per_epoch) * per_epoch
}

fn remove_if_there(path: &Path) -> Result<(), LoraError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LoraError::file(path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_are_told_with_both_values() {
        let saved = "seed = 3\nepochs = 5\nout = \"a = b\"\n\n[targets]\ninclude = [\"x\"]\n";
        let now = "seed = 4\nsteps = 7\nout = \"a = b\"\n\n[targets]\ninclude = [\"x\"]\n";
        assert_eq!(
            changed_settings(saved, now),
            [
                "epochs = unset (was 5)",
                "seed = 4 (was 3)",
                "steps = 7 (was unset)"
            ]
        );
        assert!(changed_settings(now, now).is_empty());
    }

    #[test]
    fn validations_are_whole_epochs_and_ten_steps_apart() {
        for (per_epoch, interval) in [(1, 10), (2, 10), (3, 12), (10, 10), (11, 11), (250, 250)] {
            assert_eq!(validation_interval(per_epoch), interval);
        }
    }
}
