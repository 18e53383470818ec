//! What a run does at a step and at a checkpoint beside the network and the optimizer, by the trainer's own functions but without a base
//! or data: for `benches/bookkeeping.rs` alone.

use std::path::Path;

use candle_core::{Tensor, Var};
use journal::{Journal, JournalOptions, Record};
use nn::optimizer::{AdamW, AdamWOptions};
use nn::{Stream, VisitLinears};

use super::checkpoint::{Checkpoint, Moment, RunState, Writer};
use super::config::TrainConfig;
use super::step::{copies, losses_of_items, mean_of_items};
use super::sums::StepFigures;
use crate::adapter::AdaptedLayers;
use crate::error::LoraError;
use crate::inspect;

/// The state of a run and where it is written to.
pub struct Bookkeeping {
    config: TrainConfig,
    layers: AdaptedLayers,
    optimizer: AdamW,
    state: RunState,
    before: Option<Moment>,
    writer: Writer,
    journal: Journal,
}

impl Bookkeeping {
    /// Of an adapter on a model's target layers, in the configuration's run folder.
    pub fn new(model: &mut dyn VisitLinears, config: TrainConfig) -> Result<Self, LoraError> {
        let layers = AdaptedLayers::initialise(
            model,
            &config.targets(),
            |layer| config.layer_options(layer),
            &Stream::new(config.seed),
        )?;
        let journal = Journal::create(&config.run_dir, JournalOptions::default())?;
        Ok(Self {
            optimizer: AdamW::new(layers.variables(), AdamWOptions::default())?,
            state: RunState::fresh(&config, String::new(), String::new())?,
            before: None,
            writer: Writer::new(&config.run_dir, config.keep),
            journal,
            layers,
            config,
        })
    }

    /// Everything that is trained.
    pub fn variables(&self) -> Vec<(String, Var)> {
        self.layers.variables()
    }

    /// Where the run is written to.
    pub fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    fn moment(&self) -> Result<Moment, LoraError> {
        let values = copies(self.variables())?;
        Ok(Moment::of(
            self.state.clone(),
            values,
            &self.optimizer,
            None,
        )?)
    }

    /// What a step could be undone with.
    pub fn keep_moment(&mut self) -> Result<(), LoraError> {
        self.before = Some(self.moment()?);
        Ok(())
    }

    /// What a step came to, from its prediction.
    pub fn add_figures(
        &mut self,
        predicted: &Tensor,
        target: &Tensor,
        valid_frames: &[usize],
    ) -> Result<(), LoraError> {
        let items = losses_of_items(predicted, target, valid_frames)?;
        let figures = StepFigures {
            loss: items.iter().sum(),
            unweighted_loss: mean_of_items(&items, valid_frames),
            items: items.into_iter().map(|loss| (0.5, loss)).collect(),
            gradient_norm: 1.0,
            update_norm: 1.0,
            secs: 1.0,
        };
        self.state.step += 1;
        self.state.epoch_sums.add(&figures);
        self.state.log_sums.add(&figures);
        Ok(())
    }

    /// The line of figures.
    pub fn record_steps(&mut self) -> Result<(), LoraError> {
        let sums = std::mem::take(&mut self.state.log_sums);
        let factors = self.layers.factors()?;
        let norms = inspect::norms_of_layers(&factors)?.into_iter().collect();
        let mut record = sums.record(norms);
        record.step = self.state.step;
        Ok(self.journal.write(&Record::Step(record))?)
    }

    /// What a checkpoint takes of the training's thread, once the one before is on the disk.
    pub fn begin_checkpoint(&mut self) -> Result<(), LoraError> {
        self.journal.sync()?;
        let checkpoint = Checkpoint {
            now: self.moment()?,
            before: self.before.clone(),
        };
        self.writer.begin(checkpoint)
    }

    /// Until the checkpoint is on the disk.
    pub fn wait(&mut self) -> Result<(), LoraError> {
        self.writer.wait()
    }
}
