//! What the processes of a run do together: the first one's beginning, gradients of a step, losses of the held-out songs.

use std::ops::Range;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::Trainer;
use crate::error::LoraError;
use crate::train::batch::Batch;
use crate::train::checkpoint::Checkpoint;
use crate::train::step::{Computation, StepGradients, TrainableAdapter};

impl Trainer {
    /// Gives every process the state of the first, which alone reads the run folder.
    ///
    /// # Errors
    /// When a process has other settings, pieces or another base than the first.
    pub(super) fn begin_together(&mut self) -> Result<(), LoraError> {
        if self.ensemble.size() == 1 {
            return Ok(());
        }
        let first = self.checkpoint_of_first()?;
        let differences = match &first {
            Some(first) => self.differences(&first.now.state),
            None => Vec::new(),
        };
        if !differences.is_empty() {
            return Err(LoraError::Ensemble {
                problem: format!(
                    "this one is not set to the same work as process 0: {}; give every host the same folder of pieces, base and settings",
                    differences.join("; ")
                ),
            });
        }
        self.take_over(first)
    }

    /// None in the first process itself.
    fn checkpoint_of_first(&self) -> Result<Option<Checkpoint>, LoraError> {
        let unreadable = |problem| LoraError::Ensemble {
            problem: format!("the run's state cannot be passed on: {problem}"),
        };
        let mut bytes = Vec::new();
        if self.ensemble.is_first() {
            bytes = self.checkpoint()?.to_bytes().map_err(unreadable)?;
        }
        self.ensemble.broadcast(&mut bytes)?;
        if self.ensemble.is_first() {
            return Ok(None);
        }
        let read = Checkpoint::from_bytes(&bytes, &self.device).map_err(unreadable)?;
        Ok(Some(read))
    }

    fn take_over(&mut self, first: Option<Checkpoint>) -> Result<(), LoraError> {
        if let Some(first) = first {
            self.restore(&first.now)?;
            self.before = first.before;
        }
        Ok(())
    }

    /// Sets weights that have parted right again. They are the same to the last bit on machines of one kind; others round differently.
    pub(super) fn keep_together(&mut self) -> Result<(), LoraError> {
        if self.ensemble.size() == 1 {
            return Ok(());
        }
        let here = f64::from(self.checksum_of_weights()?);
        let first = self.ensemble.as_first_has_it(here)?;
        if !self.ensemble.any(here != first)? {
            return Ok(());
        }
        let first = self.checkpoint_of_first()?;
        self.take_over(first)
    }

    fn checksum_of_weights(&self) -> Result<u32, LoraError> {
        let mut hasher = crc32fast::Hasher::new();
        for (_, variable) in self.adapter.variables() {
            let values = variable.flatten_all()?.to_vec1::<f32>()?;
            for value in values {
                hasher.update(&value.to_le_bytes());
            }
        }
        Ok(hasher.finalize())
    }

    /// The items of a step's batch that this process computes.
    pub(super) fn own_items(&self) -> Range<usize> {
        let items = self.shape.batch_size / self.ensemble.size();
        let first = self.ensemble.rank() * items;
        first..first + items
    }

    /// Gradients and losses of the step, added up over all processes.
    pub(super) fn gradients(&self, batch: &Batch) -> Result<StepGradients, LoraError> {
        let (step, own) = (self.state.step, self.own_items());
        let mut found = self
            .adapter
            .gradients_of_items(batch, own, step, self.computation)?;
        if self.ensemble.size() > 1 {
            self.add_up(&mut found)?;
        }
        Ok(found)
    }

    /// Gradients of the base's own clips, which the first process has; they are no more in a step of several than in one of one.
    pub(super) fn prior_gradients(&self) -> Result<GradStore, LoraError> {
        let (step, computation) = (
            self.state.step,
            Computation {
                weight: self.config.prior_weight,
                ..self.computation
            },
        );
        let mut found = match self.ensemble.is_first() {
            true => {
                let batch = self.prior_batch(step)?;
                self.adapter.gradients(&batch, step, computation)?
            }
            false => StepGradients {
                loss: 0.0,
                item_losses: vec![0.0; self.config.batch_size],
                gradients: GradStore::default(),
            },
        };
        if self.ensemble.size() > 1 {
            self.add_up(&mut found)?;
        }
        Ok(found.gradients)
    }

    /// Waits for work that the first process does alone, and stops with it if it was stopped.
    pub(super) fn wait_for_first(&mut self, stopped: bool) -> Result<(), LoraError> {
        // The others leave it the cores.
        self.ensemble.wait_for_all()?;
        match self.ensemble.any(stopped)? {
            true => self.stop(),
            false => Ok(()),
        }
    }

    /// Numbers in one call, tensors in another.
    fn add_up(&self, found: &mut StepGradients) -> Result<(), LoraError> {
        let variables = self.adapter.variables();
        let mut numbers = vec![found.loss];
        numbers.extend(&found.item_losses);
        let mut flat = Vec::with_capacity(variables.len());
        for (_, variable) in &variables {
            let gradient = found.gradients.get(variable.as_tensor());
            numbers.push(f64::from(u8::from(gradient.is_some())));
            flat.push(match gradient {
                Some(gradient) => gradient.flatten_all()?,
                None => variable.flatten_all()?.zeros_like()?,
            });
        }
        self.ensemble.sum(&mut numbers)?;
        let sums = self.ensemble.sum_tensor(&Tensor::cat(&flat, 0)?)?;
        let items = found.item_losses.len();
        found.loss = numbers[0];
        found.item_losses.copy_from_slice(&numbers[1..=items]);
        let mut first = 0;
        for ((_, variable), holders) in variables.iter().zip(&numbers[1 + items..]) {
            let count = variable.elem_count();
            // A variable that no process has a gradient of is left alone, as in one process.
            if *holders > 0.0 {
                let sum = sums.narrow(0, first, count)?.reshape(variable.shape())?;
                found.gradients.insert(variable.as_tensor(), sum);
            }
            first += count;
        }
        Ok(())
    }

    /// Mean loss and losses of the items of every batch of the held-out songs; each process measures some of them.
    pub(super) fn held_out_losses(
        &self,
        adapter: &TrainableAdapter,
    ) -> Result<Vec<(f64, Vec<f64>)>, LoraError> {
        let mut losses = Vec::with_capacity(self.validation.len());
        for (number, batch) in self.validation.iter().enumerate() {
            losses.push(
                match number % self.ensemble.size() == self.ensemble.rank() {
                    true => adapter.validation_loss(batch)?,
                    false => (0.0, vec![0.0; batch.styles.len()]),
                },
            );
        }
        let mut numbers: Vec<f64> = losses
            .iter()
            .flat_map(|(mean, items)| std::iter::once(mean).chain(items))
            .copied()
            .collect();
        self.ensemble.sum(&mut numbers)?;
        let mut numbers = numbers.into_iter();
        for (mean, items) in &mut losses {
            for place in std::iter::once(mean).chain(items) {
                *place = numbers.next().unwrap_or(f64::NAN);
            }
        }
        Ok(losses)
    }
}
