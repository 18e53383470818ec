//! One step, and what happens when it breaks the numbers: it is undone and the rate halved, a few times.

use std::time::Instant;

use nn::optimizer::clip_factor;

use super::Trainer;
use crate::error::LoraError;
use crate::progress::Progress;
use crate::train::batch::Batch;
use crate::train::checkpoint::Moment;
use crate::train::step::{losses_of_items, mean_of_items};
use crate::train::sums::StepFigures;

/// So often the rate is halved before the run gives up.
const MOST_HALVINGS: u32 = 3;

/// A number that is none, or tells of weights that are.
struct Broken {
    what: &'static str,
    value: String,
}

impl Trainer {
    /// Makes a step and gives its loss; none if the run went back instead.
    pub(super) fn step(&mut self, progress: &mut dyn Progress) -> Result<Option<f64>, LoraError> {
        let batch = self.batch(self.state.step)?;
        match self.try_step(&batch)? {
            Ok(loss) => Ok(Some(loss)),
            Err(broken) => {
                self.go_back(&broken, &batch, progress)?;
                Ok(None)
            }
        }
    }

    /// The inner error leaves in `before` what to go back to.
    fn try_step(&mut self, batch: &Batch) -> Result<Result<f64, Broken>, LoraError> {
        let step = self.state.step;
        let started = Instant::now();
        let broken = |what, value: f64| {
            let value = value.to_string();
            Ok(Err(Broken { what, value }))
        };
        let mut found = self.gradients(batch)?;
        if self.config.prior_clips > 0 {
            found.gradients.extend(self.prior_gradients()?)?;
        }
        if !found.loss.is_finite() {
            return broken("loss", found.loss);
        }
        let unweighted = mean_of_items(&found.item_losses, &batch.valid_frames);
        let is_left_behind = self.state.first_losses.is_left_behind(unweighted, || {
            let of_items = losses_of_items(&batch.noise, &batch.data, &batch.valid_frames)?;
            Ok::<_, LoraError>(mean_of_items(&of_items, &batch.valid_frames))
        })?;
        if self.ensemble.any(is_left_behind)? {
            let value = format!("{unweighted:.4}, far above those of the first steps,");
            return Ok(Err(Broken {
                what: "loss",
                value,
            }));
        }
        let norm = self.optimizer.gradient_norm(&found.gradients)?;
        let norm = self.ensemble.as_first_has_it(norm)?;
        if !norm.is_finite() {
            return broken("gradient", norm);
        }
        let clip = self.config.gradient_clip;
        let factor = if clip > 0.0 {
            clip_factor(norm, clip)
        } else {
            1.0
        };
        self.before = Some(self.moment()?);
        let rate = self.rate_at(step);
        let change = self.optimizer.step(&found.gradients, rate, factor)?;
        let change = self.ensemble.as_first_has_it(change)?;
        if !change.is_finite() {
            return broken("change of the adapter", change);
        }
        self.state.step += 1;
        self.state.first_losses.take_in(unweighted);
        if let Some(mean) = &mut self.running_mean {
            mean.take_in(self.state.step, &self.adapter.variables())?;
        }
        let times = batch.time.to_vec1::<f32>()?;
        let figures = StepFigures {
            loss: found.loss,
            unweighted_loss: unweighted,
            items: times.into_iter().zip(found.item_losses).collect(),
            gradient_norm: norm,
            update_norm: change,
            secs: started.elapsed().as_secs_f64(),
        };
        self.state.elapsed_secs += figures.secs;
        self.state.epoch_sums.add(&figures);
        self.state.log_sums.add(&figures);
        Ok(Ok(found.loss))
    }

    /// The learning rate of a step.
    pub(super) fn rate_at(&self, step: usize) -> f64 {
        self.schedule.at(step) / f64::from(1u32 << self.state.halvings)
    }

    /// Undoes the step before the one that failed, which made the weights that it failed with, and halves the rate. At the last time the
    /// good state is saved and the run ends.
    fn go_back(
        &mut self,
        broken: &Broken,
        batch: &Batch,
        progress: &mut dyn Progress,
    ) -> Result<(), LoraError> {
        let failed_at = self.state.step;
        let halvings = self.state.halvings;
        let elapsed_secs = self.state.elapsed_secs;
        if let Some(before) = self.before.take() {
            self.restore(&before)?;
        }
        self.state.elapsed_secs = elapsed_secs;
        self.state.halvings = halvings;
        self.open_journal()?;
        if halvings >= MOST_HALVINGS {
            let error = LoraError::NotFinite {
                what: broken.what,
                value: broken.value.clone(),
                step: failed_at,
                halvings,
                pieces: self.names_of(batch),
                learning_rate: self.config.learning_rate,
            };
            self.save_checkpoint()?;
            self.write_report(&format!("ended after {} steps: {error}", self.state.step))?;
            return Err(error);
        }
        self.state.halvings += 1;
        let warning = format!(
            "the {} became {} at step {failed_at}: back to step {}, at half the learning rate",
            broken.what, broken.value, self.state.step
        );
        self.warn(Some(warning), progress)
    }

    fn names_of(&self, batch: &Batch) -> String {
        let mut names: Vec<&str> = batch
            .pieces
            .iter()
            .filter_map(|&piece| self.set.training.get(piece))
            .map(|piece| piece.path.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// Brings back a moment of the run.
    pub(super) fn restore(&mut self, moment: &Moment) -> Result<(), LoraError> {
        self.adapter.restore(&moment.tensors)?;
        let tensors = moment.tensors.clone().into_iter().collect();
        self.optimizer.restore(&tensors)?;
        if let Some(mean) = &mut self.running_mean {
            mean.restore(&moment.tensors)?;
        }
        self.state = moment.state.clone();
        Ok(())
    }
}
