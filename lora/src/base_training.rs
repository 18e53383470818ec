//! A base model trained from scratch: first its autoencoder, then its transformer on the latents, then one file of both.
//!
//! | module | holds |
//! |---|---|
//! | [`corpus`] | the pieces to learn from: `corpus.jsonl` and the sounds it names |
//! | [`sizes`] | the sizes of both networks |
//! | [`autoencoder`] | principal components, the loss on spectra, what it reconstructs |
//! | [`transformer`] | latents, batches with dropped conditions and kept spans, the flow's loss |
//! | [`run`] | the loop of both: schedule, running mean, validation, checkpoints, resuming to the bit |
//! | [`start`] | an earlier base as first values |
//! | [`export`] | the base file |
//!
//! The same code runs on the CPU and on a card. All draws are named and numbered, so that a run that is stopped and resumed equals one
//! that was not.

pub mod autoencoder;
pub mod corpus;
pub mod export;
pub mod run;
pub mod sizes;
pub mod start;
pub mod transformer;
mod variables;

pub use corpus::{Corpus, CorpusPiece};
pub use run::{Course, Outcome, RunSettings};
pub use sizes::BaseSizes;
pub use start::Start;
pub use variables::Variables;
