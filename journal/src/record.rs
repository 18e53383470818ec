//! What a run writes down: one record is one line of `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::number;

/// Equal parts of the flow's time 0..1 that training losses are told apart by.
pub const TIME_PARTS: usize = 8;

/// A line, told from the others by its field `kind`.
///
/// Numbers that are not finite are written as `null` and read as NaN, or as `None` where a number may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// How training goes, every few optimizer steps.
    Step(StepRecord),
    /// What one epoch came to.
    Epoch(EpochRecord),
    /// Loss on the held-out songs.
    Validation(ValidationRecord),
    /// Two clips from the same noise.
    Preview(PreviewRecord),
    /// Something the user should know and may have to act on.
    Warning(Remark),
    /// Something worth knowing.
    Note(Remark),
}

impl Record {
    /// Optimizer steps that were done when this was written.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(record) => record.step,
            Self::Epoch(record) => record.step,
            Self::Validation(record) => record.step,
            Self::Preview(record) => record.step,
            Self::Warning(remark) | Self::Note(remark) => remark.step,
        }
    }

    /// Seconds of training until this was written, where it says so.
    pub fn elapsed_secs(&self) -> Option<f64> {
        match self {
            Self::Step(record) => Some(record.elapsed_secs),
            Self::Epoch(record) => Some(record.elapsed_secs),
            _ => None,
        }
    }
}

/// How training goes. Means are over the steps since the last such record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimizer steps so far.
    pub step: usize,
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Mean training loss.
    #[serde(deserialize_with = "number::or_nan")]
    pub loss: f64,
    /// The same without weights by flow time, which compares with the loss on the held-out songs; `None` where no weights were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unweighted_loss: Option<f64>,
    /// Mean loss of the items whose flow time fell into each eighth of 0..1; `None` where there was none.
    #[serde(default)]
    pub loss_by_time: [Option<f64>; TIME_PARTS],
    /// Mean norm of the gradient before clipping.
    #[serde(deserialize_with = "number::or_nan")]
    pub gradient_norm: f64,
    /// Mean norm of what a step added to the weights.
    #[serde(deserialize_with = "number::or_nan")]
    pub update_norm: f64,
    /// Learning rate of the last step.
    #[serde(deserialize_with = "number::or_nan")]
    pub learning_rate: f64,
    /// Mean seconds a step, validation and previews left out.
    #[serde(deserialize_with = "number::or_nan")]
    pub step_secs: f64,
    /// Seconds of training so far, interruptions left out.
    #[serde(deserialize_with = "number::or_nan")]
    pub elapsed_secs: f64,
    /// Norm of the adapter's change to the weights, for each block of the model.
    #[serde(default, deserialize_with = "number::map_or_nan")]
    pub adapter_norms: BTreeMap<String, f64>,
}

/// What one epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Optimizer steps so far.
    pub step: usize,
    /// Mean training loss of the epoch.
    #[serde(deserialize_with = "number::or_nan")]
    pub loss: f64,
    /// The same without weights by flow time, which compares with the loss on the held-out songs; `None` where no weights were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unweighted_loss: Option<f64>,
    /// Loss on the held-out songs, where it was measured after this epoch.
    pub validation_loss: Option<f64>,
    /// Learning rate of the epoch's last step.
    #[serde(deserialize_with = "number::or_nan")]
    pub learning_rate: f64,
    /// Mean norm of the gradient before clipping.
    #[serde(deserialize_with = "number::or_nan")]
    pub gradient_norm: f64,
    /// Seconds of training so far, interruptions left out.
    #[serde(deserialize_with = "number::or_nan")]
    pub elapsed_secs: f64,
}

/// Loss on the held-out songs, always with the same crops, noise and times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Optimizer steps so far.
    pub step: usize,
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Mean loss.
    #[serde(deserialize_with = "number::or_nan")]
    pub loss: f64,
    /// Pairs of flow time (0..1) and mean loss at that time.
    #[serde(default, deserialize_with = "number::pairs_or_nan")]
    pub loss_by_time: Vec<(f64, f64)>,
}

/// Two clips from the same noise, without and with the adapter as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewRecord {
    /// Optimizer steps so far.
    pub step: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// WAV file of the base alone; relative paths start at the run's folder.
    pub without_adapter: PathBuf,
    /// WAV file of the base with the adapter.
    pub with_adapter: PathBuf,
    /// The training piece that the clip with the adapter resembles most.
    #[serde(default)]
    pub nearest_piece: Option<String>,
    /// How much it resembles that piece, at most 1.
    #[serde(default)]
    pub similarity: Option<f64>,
    /// What such a similarity usually is, between recordings that were not copied from each other.
    #[serde(default)]
    pub usual_similarity: Option<f64>,
}

/// A sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Optimizer steps so far.
    pub step: usize,
    /// What there is to say, and what to do about it.
    pub text: String,
}
