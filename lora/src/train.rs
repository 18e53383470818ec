//! Training an adapter: data, batches, the loop, what stops it, and what it leaves behind.

mod batch;
mod blow_up;
mod bookkeeping;
mod checkpoint;
mod conditions;
mod config;
mod data;
mod early_stopping;
mod ensemble;
mod fit;
mod objective;
mod plan;
mod preset;
mod previews;
mod prior;
mod run_folder;
mod running_mean;
mod step;
mod sums;
mod trainer;
mod warnings;

pub use batch::{
    Batch, BatchShape, ItemStyle, steps_per_epoch, training_batch, validation_batches,
};
#[doc(hidden)]
pub use bookkeeping::Bookkeeping;
pub use conditions::{ConditionSource, PieceConditions};
pub use config::{
    AdapterMethod, BaseDefaults, Checkpointing, LossWeighting, PatternValue, RankScale,
    TimeSampling, TrainConfig, TrainSettings, saved_settings,
};
pub use data::{Augmentation, Augmentations, LatentPiece, PieceForm, TrainingSet};
pub use early_stopping::{EarlyStopping, Verdict};
pub use ensemble::{Alone, Ensemble, in_turns, join, launched_rank, with_cards};
pub use fit::{Fitted, MemorySize, fit};
pub use objective::FlowTimes;
pub use plan::{Plan, plan};
pub use preset::Preset;
pub(crate) use run_folder::Lock;
pub use run_folder::is_at_work;
pub(crate) use running_mean::RunningMean;
pub use step::{Computation, StepGradients, TrainableAdapter};
pub use trainer::{Outcome, Trainer};
