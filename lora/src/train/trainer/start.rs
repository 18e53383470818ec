//! Beginning a run, and going on with one.

use std::rc::Rc;

use nn::Stream;
use nn::optimizer::{AdamW, AdamWOptions};
use nn::schedule::{ReturningCosine, Schedule, WarmupCosine};

use super::Trainer;
use crate::adapter::OUTPUT_FACTOR;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::progress::Progress;
use crate::train::batch::{BatchShape, steps_per_epoch, validation_batches};
use crate::train::checkpoint::{self, Checkpoint, RunState, Writer};
use crate::train::config::{CONFIG_FILE, MOST_STEPS, TrainConfig, changed_settings};
use crate::train::data::TrainingSet;
use crate::train::ensemble::{Alone, Ensemble};
use crate::train::objective::FlowTimes;
use crate::train::plan::{checkpointed, crop_frames};
use crate::train::previews::Previews;
use crate::train::run_folder::{self, Lock};
use crate::train::running_mean::RunningMean;
use crate::train::step::{Computation, TrainableAdapter};

/// Held-out pieces that are measured; more cost time and change little.
const MOST_VALIDATION_PIECES: usize = 8;

impl Trainer {
    /// Whether a fresh run would find its files' names free. A run that has not made a step yet is no loss and does not count.
    ///
    /// # Errors
    /// [`LoraError::EarlierRun`] with the first file that is there.
    pub fn check_free(config: &TrainConfig) -> Result<(), LoraError> {
        run_folder::check_free(config)
    }

    /// Whether the adapter can be written where it is to go, so that this does not show after the training. Makes its folder.
    ///
    /// # Errors
    /// When the name is a folder's or the run folder's, has another ending than .safetensors, lies among the pieces, is that of something the
    /// run reads, or nothing can be written beside it.
    pub fn check_out(config: &TrainConfig) -> Result<(), LoraError> {
        run_folder::check_out(config)
    }

    /// A fresh run. Refuses to touch an earlier run's files unless `force` is set; with `force` they are removed, the adapter itself is
    /// replaced at the end. Nothing is removed before the settings are known to be good.
    pub fn start(
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
    ) -> Result<Self, LoraError> {
        Self::start_in(Rc::new(Alone), config, base, set, force)
    }

    /// A fresh run of several processes. `config.accumulate` counts the parts of a step over all of them; they are divided evenly.
    pub fn start_in(
        ensemble: Rc<dyn Ensemble>,
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
    ) -> Result<Self, LoraError> {
        if ensemble.is_first() {
            if !force {
                Self::check_free(&config)?;
            }
            Self::check_out(&config)?;
        }
        let mut trainer = Self::prepare(ensemble, config, base, set)?;
        trainer.state.replaces_adapter = force;
        trainer.begin_together()?;
        if trainer.ensemble.is_first() {
            run_folder::clear(&trainer.config.run_dir)?;
        }
        trainer.open_journal()?;
        // From here on the run can be resumed, and until its first step it is in nobody's way.
        trainer.save_checkpoint()?;
        trainer.write_config()?;
        Ok(trainer)
    }

    /// Goes on with the run in the configuration's run folder, from its newest checkpoint that can be read, or from the beginning if there
    /// is none yet. A changed configuration, data set or base is refused with what differs; with `force` it is taken, and the adapter's
    /// description names it.
    pub fn resume(
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        Self::resume_in(Rc::new(Alone), config, base, set, force, progress)
    }

    /// The same for several processes, of which the first alone reads the run folder. They need not be as many as before.
    pub fn resume_in(
        ensemble: Rc<dyn Ensemble>,
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let mut trainer = match ensemble.is_first() {
            true => Self::resume_first(ensemble, config, base, set, force, progress)?,
            false => Self::prepare(ensemble, config, base, set)?,
        };
        trainer.begin_together()?;
        trainer.open_journal()?;
        trainer.write_config()?;
        Ok(trainer)
    }

    fn resume_first(
        ensemble: Rc<dyn Ensemble>,
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
        force: bool,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let run_dir = config.run_dir.clone();
        if !run_dir.join(CONFIG_FILE).exists() {
            return Err(LoraError::BadFile {
                path: run_dir,
                problem: "there is no run to resume here (--run-dir names another)".to_owned(),
            });
        }
        let mut trainer = Self::prepare(ensemble, config, base, set)?;
        let (saved, damaged) = checkpoint::newest(&run_dir, &trainer.device)?;
        for damaged in damaged {
            progress.note(&format!("{damaged}; going on from the one before"));
        }
        match saved {
            Some(saved) => trainer.go_on(saved, force)?,
            None => {
                trainer.check_begins_again()?;
                progress.note("the run was stopped before its first checkpoint: it begins again");
            }
        }
        Ok(trainer)
    }

    /// Without a checkpoint nothing tells whether the adapter of that name may be replaced, and at the end it would not be.
    fn check_begins_again(&self) -> Result<(), LoraError> {
        let path = self.config.out.clone();
        match path.exists() {
            false => Ok(()),
            true => Err(LoraError::BadFile {
                path,
                problem: format!(
                    "is there already, and {} has no checkpoint left to go on from; --force without --resume trains anew and replaces it, --out and --run-dir begin another run",
                    self.config.run_dir.display()
                ),
            }),
        }
    }

    fn write_config(&self) -> Result<(), LoraError> {
        if !self.ensemble.is_first() {
            return Ok(());
        }
        let path = self.config.run_dir.join(CONFIG_FILE);
        dataset::write_aside(&path, self.state.config_toml.as_bytes())
            .map_err(LoraError::file(path))
    }

    fn go_on(&mut self, saved: Checkpoint, force: bool) -> Result<(), LoraError> {
        let differences = self.differences(&saved.now.state);
        self.check_unfinished(&saved.now.state, force && !differences.is_empty())?;
        if !differences.is_empty() && !force {
            return Err(self.refused(format!(
                "cannot go on, changed since the run began: {}; change it back, add --force to go on all the same, or begin a new run with another --run-dir and --out",
                differences.join("; ")
            )));
        }
        self.check_adapter_is_ours(saved.now.state.replaces_adapter)?;
        let fresh = self.state.clone();
        if let Err(error) = self.restore(&saved.now) {
            let whose = match differences.is_empty() {
                true => "the file is damaged: begin again with --force".to_owned(),
                false => format!(
                    "this change is too large to go on with ({})",
                    differences.join("; ")
                ),
            };
            return Err(self.refused(format!(
                "its tensors are not those of this run ({error}); {whose}"
            )));
        }
        if saved.now.state.finished {
            // The adapter under the final name is this run's, as was just seen, and will be older than what comes.
            self.state.replaces_adapter = true;
        }
        self.before = saved.before;
        if !differences.is_empty() {
            self.take_on(fresh, differences);
        }
        Ok(())
    }

    /// Goes on with other settings, data or base than those the run began with.
    fn take_on(&mut self, fresh: RunState, differences: Vec<String>) {
        let state = &mut self.state;
        state.config_toml = fresh.config_toml;
        state.data_hash = fresh.data_hash;
        state.base_sha256 = fresh.base_sha256;
        state.finished = false;
        state.stopped_early = false;
        let at = |difference| format!("from step {}: {difference}", state.step);
        state.changes.extend(differences.into_iter().map(at));
        // What it would go back to belongs to the old settings.
        self.before = None;
    }

    fn refused(&self, problem: String) -> LoraError {
        let path = self.config.run_dir.clone();
        LoraError::BadFile { path, problem }
    }

    fn check_unfinished(&self, saved: &RunState, goes_on: bool) -> Result<(), LoraError> {
        if !saved.finished || goes_on {
            return Ok(());
        }
        let out = self.config.out.display();
        let adapter = match self.config.out.exists() {
            true => format!("its adapter is {out}"),
            false => {
                format!("its adapter, {out}, has been moved; best.safetensors here is the same")
            }
        };
        Err(self.refused(format!(
            "the run is finished, {adapter}; --out and --run-dir begin another, --force begins this one again, --resume --force with more --steps goes on"
        )))
    }

    pub(super) fn differences(&self, saved: &RunState) -> Vec<String> {
        let mut differences = changed_settings(&saved.config_toml, &self.state.config_toml);
        if saved.data_hash != self.state.data_hash {
            differences.push("the training pieces, their songs or tags".to_owned());
        }
        if saved.base_sha256 != self.state.base_sha256 {
            differences.push("the base's file".to_owned());
        }
        differences
    }

    fn prepare(
        ensemble: Rc<dyn Ensemble>,
        config: TrainConfig,
        base: BaseModel,
        set: TrainingSet,
    ) -> Result<Self, LoraError> {
        config.check_divides(ensemble.size())?;
        let device = base.device().clone();
        let random = Stream::new(config.seed);
        let shape = batch_shape(&config, &base);
        let validation = validation_batches(
            &set.validation,
            BatchShape {
                batch_size: config.batch_size,
                ..shape
            },
            MOST_VALIDATION_PIECES,
            &random,
            &device,
        )?;
        let makes_previews = config.preview_steps > 0 && ensemble.is_first();
        let previews = makes_previews.then(|| Previews::new(&config, &base));
        let visits = set.visits(&config.repeats)?;
        let total_steps = total_steps(&config, steps_per_epoch(visits.len(), shape.batch_size))?;
        let (data, base_file) = (set.data_hash.clone(), base.identity().sha256.clone());
        let state = RunState::fresh(&config, data, base_file)?;
        let computation = Computation {
            items_at_once: config.batch_size,
            checkpointed_blocks: checkpointed(base.transformer_config(), shape.frames, &config),
            weight: 1.0,
        };
        let mut pieces = set.training.iter().chain(&set.validation);
        let has_styles = pieces.any(|piece| piece.conditions.style.is_some());
        let adapter = TrainableAdapter::initialise(base, &config, !has_styles, &device)?;
        // Only good settings leave a trace on the disk.
        let lock = match ensemble.is_first() {
            true => Some(Lock::take(&config.run_dir)?),
            false => None,
        };
        let variables = adapter.variables();
        let running_mean = (config.ema_decay > 0.0)
            .then(|| RunningMean::new(config.ema_decay, &variables))
            .transpose()?;
        Ok(Self {
            optimizer: optimizer(&config, &adapter)?,
            running_mean,
            schedule: schedule(&config, total_steps),
            writer: Writer::new(&config.run_dir, config.keep),
            before: None,
            prior: Vec::new(),
            ensemble,
            journal: None,
            previews,
            peak_before_bytes: nn::process::peak_memory_bytes().unwrap_or(0),
            adapter,
            set,
            visits,
            validation,
            shape,
            random,
            device,
            total_steps,
            computation,
            state,
            config,
            _lock: lock,
        })
    }
}

/// What one step sees.
fn batch_shape(config: &TrainConfig, base: &BaseModel) -> BatchShape {
    BatchShape {
        batch_size: config.batch_size * config.accumulate,
        frames: crop_frames(config.crop_secs, base.frame_secs()),
        style_drop: config.style_drop,
        text_drop: config.text_drop,
        tag_drop: config.tag_drop,
        times: FlowTimes::of(config),
        drops_together: config.reference_defects,
        position: base.songs().is_none().then_some(base.clip_position()),
        max_frames: base.transformer_config().max_frames,
        pads_to_model: config.pad_to_model,
    }
}

fn optimizer(config: &TrainConfig, adapter: &TrainableAdapter) -> Result<AdamW, LoraError> {
    let options = AdamWOptions {
        weight_decay: config.weight_decay,
        ..AdamWOptions::default()
    };
    let ratio = |name: &str| match name.ends_with(OUTPUT_FACTOR) {
        true => config.output_rate_ratio,
        false => 1.0,
    };
    Ok(AdamW::new(adapter.variables(), options)?.with_rate_ratios(ratio))
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
