//! Runs the project's models on golden cases that reference implementations left, and says of every output tensor how far it
//! lies from theirs: `cargo xtask parity CASE_DIR...`.
//!
//! A case is a folder with `golden.json` (configuration and notes), `golden.safetensors` (inputs, intermediates, outputs) and
//! the model's files as the reference library saves them. Its kind is told from what it holds, so other sizes and seeds
//! are cases too. Every tensor is compared, or named with the reason why it is not; one that is neither counts as over its
//! tolerance.
//!
//! | module | what it holds |
//! |---|---|
//! | [`case`] | a case's tensors, notes and files |
//! | [`kinds`] | how kinds are recognised; one file each says what it runs and what is allowed |
//! | [`report`] | differences, tolerances, and what was not compared |

mod adapter;
pub mod case;
pub mod error;
pub mod kinds;
pub mod report;
mod weights;

pub use case::Case;
pub use error::ParityError;
pub use kinds::Kind;
pub use report::{Outcome, Report, Row, values};
