//! Did the adapter work? Distances of generated clips to real ones, with and without the adapter.
//!
//! The `lora-eval` command reads folders of clips, measures them with `features`, and tells the result as a table, as
//! JSON and as a picture. What the numbers mean, and what they do not, is in `docs/evaluation.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`files`] | the sound files below a folder |
//! | [`clip_set`] | a folder measured; what could not be is named |
//! | [`memorisation`] | the nearest training stretch of each output |
//! | [`report`] | everything that is told, as serialised by `--json` |
//! | [`study`] | several families, several adapters for each, compared in one table |
//! | [`table`] | the same for reading |
//! | [`picture`] | mel spectrograms side by side |
//! | [`corpus_statistics`] | how the frozen statistics are made |

pub mod clip_set;
pub mod corpus_statistics;
mod error;
pub mod files;
pub mod memorisation;
pub mod picture;
pub mod report;
pub mod study;
pub mod table;

pub use clip_set::{ClipSet, Skipped};
pub use error::EvalError;
pub use memorisation::{Memorisation, Similarities, TrainingPieces};
pub use report::{Folders, Report};
