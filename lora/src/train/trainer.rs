//! The loop: steps, epochs, validation, checkpoints, the best weights kept.
//!
//! - `start`: beginning a run, and going on with one
//! - `record`: what it writes down as it goes
//! - `step`: one step, and undoing one that broke the numbers
//! - `together`: what several processes do together

mod record;
mod start;
mod step;
mod together;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use candle_core::Device;
use journal::{EpochRecord, Journal};
use nn::Stream;
use nn::optimizer::AdamW;
use nn::schedule::Schedule;

use super::batch::{Batch, BatchShape, steps_per_epoch, training_batch};
use super::checkpoint::{Checkpoint, Moment, RunState, Writer};
use super::config::TrainConfig;
use super::data::{LatentPiece, TrainingSet};
use super::ensemble::Ensemble;
use super::previews::Previews;
use super::prior;
use super::run_folder::{BEST_FILE, Lock};
use super::running_mean::RunningMean;
use super::step::{Computation, TrainableAdapter};
use super::warnings;
use crate::adapter::AdapterDescription;
use crate::error::LoraError;
use crate::progress::Progress;
use record::HeldOutLoss;

/// Held-out songs are measured at the end of an epoch, but not again before this many steps.
const LEAST_STEPS_BETWEEN_VALIDATIONS: usize = 10;

/// A step that takes longer is judged by one look.
const SLOW_STEP_SECS: f64 = 2.0;

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
    /// The page that shows the run.
    pub report: PathBuf,
}

/// A run: what it trains, on what, and how far it is.
pub struct Trainer {
    config: TrainConfig,
    adapter: TrainableAdapter,
    set: TrainingSet,
    visits: Vec<usize>,
    validation: Vec<Batch>,
    shape: BatchShape,
    optimizer: AdamW,
    running_mean: Option<RunningMean>,
    schedule: Schedule,
    random: Stream,
    device: Device,
    total_steps: usize,
    computation: Computation,
    state: RunState,
    /// Clips of the base alone, made when the run goes on; none if they are not asked for.
    prior: Vec<LatentPiece>,
    /// As it was before the last step.
    before: Option<Moment>,
    writer: Writer,
    /// The processes that train together; only the first touches the run's files.
    ensemble: Rc<dyn Ensemble>,
    /// Open from the first step on, in the first process.
    journal: Option<Journal>,
    /// None if there are to be none, or another process makes them.
    previews: Option<Previews>,
    /// The most memory that the process had taken before it computed anything of this run.
    peak_before_bytes: usize,
    _lock: Option<Lock>,
}

impl Trainer {
    /// Where the run keeps its files.
    pub fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Steps done so far.
    pub fn steps_done(&self) -> usize {
        self.state.step
    }

    /// What the held-out songs are measured by.
    pub fn validation_batches(&self) -> &[Batch] {
        &self.validation
    }

    /// The adapter as far as it is trained.
    pub fn adapter(&self) -> &TrainableAdapter {
        &self.adapter
    }

    fn per_epoch(&self) -> usize {
        steps_per_epoch(self.visits.len(), self.shape.batch_size)
    }

    /// What a step sees, counted from 0.
    pub fn batch(&self, step: usize) -> Result<Batch, LoraError> {
        training_batch(
            &self.set.training,
            &self.visits,
            self.shape,
            step,
            &self.random,
            &self.device,
        )
    }

    /// Seconds the rest of the run will take, judged by one step that is computed and thrown away.
    pub fn estimate_secs(&self) -> Result<f64, LoraError> {
        let step = self.state.step;
        let batch = self.batch(step)?;
        let mut last = 0.0;
        // The first computation also pays for memory pages and thread start.
        for _ in 0..2 {
            let started = Instant::now();
            let own = self.own_items();
            self.adapter
                .gradients_of_items(&batch, own, step, self.computation)?;
            last = started.elapsed().as_secs_f64();
            if last > SLOW_STEP_SECS {
                // What comes first does not weigh on such a step, and a second one would be time lost.
                break;
            }
        }
        let remaining = self.total_steps.saturating_sub(step);
        let validations = remaining / validation_interval(self.per_epoch());
        // A forward pass without gradients takes about a third of a training step.
        Ok(last * (remaining as f64 + validations as f64 * self.validation.len() as f64 / 3.0))
    }

    /// Trains to the end, to early stopping, or to a requested stop, which saves a checkpoint and returns [`LoraError::Stopped`].
    pub fn run(mut self, progress: &mut dyn Progress) -> Result<Outcome, LoraError> {
        let per_epoch = self.per_epoch();
        let interval = validation_interval(per_epoch);
        if self.state.step == 0 {
            let loss = self.validate()?;
            self.state.first_validation_loss = loss.as_ref().map(|loss| loss.mean);
            if let Some(loss) = loss {
                self.record_validation(&loss)?;
            }
        }
        self.make_prior(progress)?;
        progress.begin("training", self.total_steps);
        progress.skip(self.state.step.min(self.total_steps));
        self.preview_if_due(progress)?;
        while self.state.step < self.total_steps && !self.state.stopped_early {
            self.writer.check()?;
            if self.ensemble.any(progress.stop_requested())? {
                return self.stop();
            }
            let Some(loss) = self.step(progress)? else {
                continue;
            };
            let step = self.state.step;
            let last = step == self.total_steps;
            if step.is_multiple_of(self.config.log_steps) || last {
                self.record_steps()?;
            }
            if step.is_multiple_of(per_epoch) || last {
                let due = last || step.is_multiple_of(interval);
                self.state.stopped_early = self.end_epoch(due, progress)?;
            }
            let ends = last || self.state.stopped_early;
            let every = self.config.preview_steps;
            self.state.preview_is_due = every > 0 && (step.is_multiple_of(every) || ends);
            self.preview_if_due(progress)?;
            // What belongs to this step is written down by now: a run that goes on from here finds it.
            if step.is_multiple_of(self.config.checkpoint_steps) && self.ensemble.is_first() {
                self.sync_journal()?;
                self.writer.begin(self.checkpoint()?)?;
            }
            progress.describe(&self.status(loss));
            progress.advance();
        }
        progress.end();
        self.finish(progress)
    }

    fn make_prior(&mut self, progress: &mut dyn Progress) -> Result<(), LoraError> {
        let count = self.config.prior_clips;
        if count == 0 {
            return Ok(());
        }
        let styles: Vec<Vec<f32>> = self
            .set
            .training
            .iter()
            .filter_map(|piece| piece.conditions.style.clone())
            .collect();
        let secs = self.config.crop_secs;
        let made = match self.ensemble.is_first() {
            true => self.adapter.without_change(|adapter| {
                prior::pieces(adapter.base(), count, secs, &styles, progress)
            }),
            false => Ok(Vec::new()),
        };
        let stopped = match made {
            Err(LoraError::Stopped) => true,
            other => {
                self.prior = other?;
                false
            }
        };
        self.wait_for_first(stopped)
    }

    /// The base's own clips that a step keeps in mind.
    fn prior_batch(&self, step: usize) -> Result<Batch, LoraError> {
        let visits: Vec<usize> = (0..self.prior.len()).collect();
        let shape = BatchShape {
            batch_size: self.config.batch_size,
            ..self.shape
        };
        let random = self.random.named("prior");
        let mut batch = training_batch(&self.prior, &visits, shape, step, &random, &self.device)?;
        for style in &mut batch.styles {
            style.has_trigger = false;
        }
        Ok(batch)
    }

    /// Saves where the run is.
    fn stop<T>(&mut self) -> Result<T, LoraError> {
        self.save_checkpoint()?;
        self.write_report(&format!("stopped after {} steps", self.state.step))?;
        Err(LoraError::Stopped)
    }

    fn preview_if_due(&mut self, progress: &mut dyn Progress) -> Result<(), LoraError> {
        if !self.state.preview_is_due {
            return Ok(());
        }
        let stopped = match self.preview(progress) {
            Err(LoraError::Stopped) => true,
            other => other.map(|()| false)?,
        };
        self.wait_for_first(stopped)?;
        self.state.preview_is_due = false;
        self.write_report(&format!("{} steps so far", self.state.step))?;
        Ok(())
    }

    /// Closes an epoch; `true` asks to stop.
    fn end_epoch(
        &mut self,
        validate: bool,
        progress: &mut dyn Progress,
    ) -> Result<bool, LoraError> {
        let epoch = self.epoch();
        let sums = std::mem::take(&mut self.state.epoch_sums);
        let training_loss = sums.mean_loss();
        let held_out = match validate {
            true => {
                self.keep_together()?;
                self.validate()?
            }
            false => None,
        };
        if let Some(held_out) = &held_out {
            self.record_validation(held_out)?;
        }
        let held_out = held_out.map(|loss| loss.mean);
        let watched = match self.config.reference_defects {
            true => Some(training_loss),
            false => held_out,
        };
        let mut stop = false;
        if let Some(loss) = watched {
            let verdict = self.state.early_stopping.observe(epoch, loss);
            stop = verdict.stop;
            if verdict.is_best {
                self.save_adapter(&self.config.run_dir.join(BEST_FILE), Some(loss))?;
            }
            if let Some(held_out) = held_out {
                self.watch_parting(training_loss, held_out, verdict.is_best, progress)?;
            }
        }
        self.record_epoch(EpochRecord {
            epoch,
            step: self.state.step,
            loss: training_loss,
            unweighted_loss: self.beside_weighted(sums.mean_unweighted_loss()),
            validation_loss: held_out,
            learning_rate: self.rate_at(self.state.step.saturating_sub(1)),
            gradient_norm: sums.mean_gradient_norm(),
            elapsed_secs: self.state.elapsed_secs,
        })?;
        Ok(stop)
    }

    /// The weights that count: the running mean where there is one.
    fn with_result<T>(
        &self,
        work: impl FnOnce(&TrainableAdapter) -> Result<T, LoraError>,
    ) -> Result<T, LoraError> {
        match &self.running_mean {
            Some(mean) => self.adapter.with_values(mean.means(), work),
            None => work(&self.adapter),
        }
    }

    fn validate(&self) -> Result<Option<HeldOutLoss>, LoraError> {
        self.with_result(|adapter| {
            let (mut sum, mut items) = (0.0, Vec::new());
            let losses = self.held_out_losses(adapter)?;
            for (batch, (loss, of_items)) in self.validation.iter().zip(losses) {
                sum += loss * of_items.len() as f64;
                items.extend(batch.time.to_vec1::<f32>()?.into_iter().zip(of_items));
            }
            Ok((!items.is_empty()).then(|| HeldOutLoss {
                mean: sum / items.len() as f64,
                by_time: means_by_time(items),
            }))
        })
    }

    fn status(&self, loss: f64) -> String {
        let best = self.state.early_stopping.best;
        let validation = best.map_or_else(String::new, |best| format!(", best held-out {best:.4}"));
        format!(
            "loss {loss:.4}{validation}, rate {:.1e}",
            self.rate_at(self.state.step.saturating_sub(1))
        )
    }

    fn outcome_in_words(&self) -> String {
        let how = match self.state.stopped_early {
            true => "stopped early",
            false => "finished",
        };
        let loss = match (
            self.state.early_stopping.best,
            self.state.first_validation_loss,
        ) {
            (Some(best), Some(first)) => {
                format!("; best loss on the held-out songs {best:.4} (before training {first:.4})")
            }
            _ => String::new(),
        };
        format!("{how} after {} steps{loss}", self.state.step)
    }

    fn description(&self, validation_loss: Option<f64>) -> AdapterDescription {
        AdapterDescription {
            format: 1,
            rank: self.config.rank,
            alpha: self.config.alpha,
            dropout: self.config.dropout,
            targets: self.config.targets(),
            base: Some(self.adapter.base().identity().clone()),
            trigger_words: self.config.trigger_words.clone(),
            lorelei_version: env!("CARGO_PKG_VERSION").to_owned(),
            data_hash: self.set.data_hash.clone(),
            seed: self.config.seed,
            step: self.state.step,
            validation_loss,
            changes: self.state.changes.clone(),
        }
    }

    fn save_adapter(&self, path: &Path, validation_loss: Option<f64>) -> Result<(), LoraError> {
        if !self.ensemble.is_first() {
            return Ok(());
        }
        let description = self.description(validation_loss);
        self.with_result(|adapter| adapter.adapter(description))?
            .save(path)
    }

    /// The run as it is now.
    fn moment(&self) -> Result<Moment, LoraError> {
        Ok(Moment::of(
            self.state.clone(),
            self.adapter.values()?,
            &self.optimizer,
            self.running_mean.as_ref(),
        )?)
    }

    fn checkpoint(&self) -> Result<Checkpoint, LoraError> {
        Ok(Checkpoint {
            now: self.moment()?,
            before: self.before.clone(),
        })
    }

    /// Saves where the run is, and waits until that is on the disk, in all processes.
    fn save_checkpoint(&mut self) -> Result<(), LoraError> {
        if self.ensemble.is_first() {
            self.writer.begin(self.checkpoint()?)?;
            self.writer.wait()?;
        }
        self.ensemble.wait_for_all()
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

    fn finish(mut self, progress: &mut dyn Progress) -> Result<Outcome, LoraError> {
        let best = self.config.run_dir.join(BEST_FILE);
        // Without held-out songs nothing tells one moment from another: the last weights are the ones.
        if self.state.early_stopping.best.is_none() {
            self.save_adapter(&best, None)?;
        }
        let first = self.state.first_validation_loss;
        let idle = warnings::no_effect(first, self.state.early_stopping.best);
        self.warn(idle, progress)?;
        let allowed = self.config.memory.zip(nn::process::peak_memory_bytes());
        let over = allowed.and_then(|(allowed, peak)| {
            warnings::over_memory(self.peak_before_bytes, peak, allowed)
        });
        self.warn(over, progress)?;
        self.sync_journal()?;
        // From here on nothing is left to train: if the adapter cannot be written, --resume only writes it.
        self.save_checkpoint()?;
        if self.ensemble.is_first() {
            self.check_adapter_is_ours(self.state.replaces_adapter)?;
            let bytes = std::fs::read(&best).map_err(LoraError::file(&best))?;
            dataset::write_aside(&self.config.out, &bytes)
                .map_err(LoraError::file(&self.config.out))?;
        }
        let report = self.write_report(&self.outcome_in_words())?;
        self.state.finished = true;
        self.save_checkpoint()?;
        Ok(Outcome {
            adapter: self.config.out.clone(),
            steps: self.state.step,
            best_validation_loss: self.state.early_stopping.best,
            first_validation_loss: self.state.first_validation_loss,
            stopped_early: self.state.stopped_early,
            report,
        })
    }
}

/// Mean losses at each flow time, lowest time first.
fn means_by_time(mut items: Vec<(f32, f64)>) -> Vec<(f64, f64)> {
    items.sort_by(|left, right| left.0.total_cmp(&right.0));
    let groups = items.chunk_by(|left, right| left.0 == right.0);
    let mean = |group: &[(f32, f64)]| {
        let sum: f64 = group.iter().map(|(_, loss)| loss).sum();
        (f64::from(group[0].0), sum / group.len() as f64)
    };
    groups.map(mean).collect()
}

/// Steps from one validation to the next: whole epochs. It follows from the step alone, so that a resumed run measures where an
/// uninterrupted one does.
fn validation_interval(per_epoch: usize) -> usize {
    LEAST_STEPS_BETWEEN_VALIDATIONS.div_ceil(per_epoch) * per_epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validations_are_whole_epochs_and_ten_steps_apart() {
        for (per_epoch, interval) in [(1, 10), (2, 10), (3, 12), (10, 10), (11, 11), (250, 250)] {
            assert_eq!(validation_interval(per_epoch), interval);
        }
    }
}
