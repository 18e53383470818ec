//! What the run writes down as it goes: figures, previews, warnings, and the report made from them.

use std::path::PathBuf;

use journal::{
    EpochRecord, Journal, JournalOptions, REPORT_FILE, Record, Remark, Report, ValidationRecord,
    read_records,
};

use super::Trainer;
use crate::error::LoraError;
use crate::inspect;
use crate::progress::Progress;
use crate::train::config::LossWeighting;
use crate::train::warnings;

/// Loss on the held-out songs.
pub(super) struct HeldOutLoss {
    pub mean: f64,
    /// Flow time and mean loss there.
    pub by_time: Vec<(f64, f64)>,
}

impl Trainer {
    /// Begins the record of a new run, or goes on with that of a resumed one: what was written after its step is dropped.
    pub(super) fn open_journal(&mut self) -> Result<(), LoraError> {
        if !self.ensemble.is_first() {
            return Ok(());
        }
        let options = JournalOptions {
            tensorboard: self.config.tensorboard,
            settings: self.settings()?,
            ..JournalOptions::default()
        };
        // Two at once would write over each other.
        self.journal = None;
        let journal = Journal::resume(&self.config.run_dir, self.state.step, options)?;
        self.journal = Some(journal);
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), LoraError> {
        match &mut self.journal {
            Some(journal) => Ok(journal.write(record)?),
            None => Ok(()),
        }
    }

    /// Waits until all that is written is on the disk.
    pub(super) fn sync_journal(&self) -> Result<(), LoraError> {
        match &self.journal {
            Some(journal) => Ok(journal.sync()?),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Result<Vec<(String, String)>, LoraError> {
        let table: toml::Table = self.config.to_toml()?.parse().unwrap_or_default();
        let pairs = table.into_iter();
        Ok(pairs
            .map(|(name, value)| (name, value.to_string()))
            .collect())
    }

    pub(super) fn epoch(&self) -> usize {
        self.state.step.div_ceil(self.per_epoch()).max(1)
    }

    /// Writes down the steps since the last time.
    pub(super) fn record_steps(&mut self) -> Result<(), LoraError> {
        let sums = std::mem::take(&mut self.state.log_sums);
        if self.journal.is_none() {
            return Ok(());
        }
        let adapter = self.adapter.adapter(self.description(None))?;
        let norms = inspect::norms(&adapter)?.into_iter().collect();
        let mut record = sums.record(norms);
        record.step = self.state.step;
        record.epoch = self.epoch();
        record.unweighted_loss = self.beside_weighted(sums.mean_unweighted_loss());
        record.learning_rate = self.rate_at(self.state.step.saturating_sub(1));
        record.elapsed_secs = self.state.elapsed_secs;
        self.write(&Record::Step(record))
    }

    /// A loss without weights, where the run's has some.
    pub(super) fn beside_weighted(&self, unweighted: f64) -> Option<f64> {
        (self.config.loss_weighting != LossWeighting::None).then_some(unweighted)
    }

    pub(super) fn record_validation(&mut self, loss: &HeldOutLoss) -> Result<(), LoraError> {
        let record = ValidationRecord {
            step: self.state.step,
            epoch: self.epoch(),
            loss: loss.mean,
            loss_by_time: loss.by_time.clone(),
        };
        self.write(&Record::Validation(record))
    }

    pub(super) fn record_epoch(&mut self, record: EpochRecord) -> Result<(), LoraError> {
        self.write(&Record::Epoch(record))
    }

    /// Tells a warning and writes it down.
    pub(super) fn warn(
        &mut self,
        warning: Option<String>,
        progress: &mut dyn Progress,
    ) -> Result<(), LoraError> {
        let Some(text) = warning else {
            return Ok(());
        };
        progress.note(&format!("warning: {text}"));
        let step = self.state.step;
        self.write(&Record::Warning(Remark { step, text }))
    }

    /// Makes the previews that are due.
    pub(super) fn preview(&mut self, progress: &mut dyn Progress) -> Result<(), LoraError> {
        let step = self.state.step;
        let mut previews = std::mem::take(&mut self.previews);
        let made = match &mut previews {
            Some(previews) => {
                self.with_result(|adapter| previews.make(adapter, &self.set, step, progress))
            }
            None => Ok(Vec::new()),
        };
        self.previews = previews;
        for preview in made? {
            let record = &preview.record;
            let copied = record.similarity.and_then(|similarity| {
                let piece = record.nearest_piece.as_deref().unwrap_or_default();
                warnings::copied(similarity, record.usual_similarity, piece)
            });
            let inaudible = warnings::inaudible(preview.difference);
            self.write(&Record::Preview(preview.record))?;
            self.warn(copied, progress)?;
            self.warn(inaudible, progress)?;
        }
        Ok(())
    }

    /// Warns once if training and held-out songs part. `training` is the epoch's loss.
    pub(super) fn watch_parting(
        &mut self,
        training: f64,
        held_out: f64,
        is_best: bool,
        progress: &mut dyn Progress,
    ) -> Result<(), LoraError> {
        if is_best {
            self.state.training_loss_at_best = Some(training);
            self.state.warned_of_parting = false;
            return Ok(());
        }
        let best = self.state.early_stopping.best;
        let (Some(at_best), Some(best)) = (self.state.training_loss_at_best, best) else {
            return Ok(());
        };
        let warning = warnings::parting((training, at_best), (held_out, best));
        if warning.is_some() && !self.state.warned_of_parting {
            self.state.warned_of_parting = true;
            self.warn(warning, progress)?;
        }
        Ok(())
    }

    /// The page that shows the run as far as it has come.
    pub(super) fn write_report(&self, outcome: &str) -> Result<PathBuf, LoraError> {
        if !self.ensemble.is_first() {
            return Ok(self.config.run_dir.join(REPORT_FILE));
        }
        let records = read_records(&self.config.run_dir)?;
        let title = self.config.trigger_words.join(", ");
        let report = Report::new(title, &self.config.run_dir, &records)
            .outcome(outcome)
            .settings(self.settings()?);
        Ok(report.write()?)
    }
}
