//! Training an adapter: data, batches, the loop, what stops it, and what it leaves behind.

mod batch;
mod checkpoint;
mod conditions;
mod config;
mod curves;
mod data;
mod early_stopping;
mod metrics;
mod plan;
mod preset;
mod step;
mod trainer;

pub use batch::{
    Batch, BatchShape, ItemStyle, steps_per_epoch, training_batch, validation_batches,
};
pub use conditions::{ConditionSource, PieceConditions};
pub use config::{BaseDefaults, Checkpointing, TrainConfig, TrainSettings, saved_config};
pub use data::{LatentPiece, TrainingSet};
pub use early_stopping::{EarlyStopping, Verdict};
pub use metrics::EpochMetrics;
pub use plan::{Plan, plan};
pub use preset::Preset;
pub use step::TrainableAdapter;
pub use trainer::{Outcome, Trainer};
