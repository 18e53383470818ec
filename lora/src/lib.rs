//! Adapters: a small change to a music diffusion model that carries a style.
//!
//! The method is low-rank adaptation (Hu et al., 2021, arXiv:2106.09685) of a flow-matching transformer: of every target layer the
//! weight `W` `[outputs, inputs]` becomes `W + alpha / rank * B A`, and only `A` `[rank, inputs]` and `B` `[outputs, rank]` are trained.
//!
//! - [`base`]: the model that is adapted; one is embedded in the program. Latents are `[batch, channels, frames]` at the autoencoder
//!   and `[batch, frames, channels]` in the transformer.
//! - [`base_training`]: a base trained from scratch: autoencoder, transformer, file.
//! - [`models`]: the files that a model's name stands for.
//! - [`adapter`]: targets, the file format, attaching, merging, combining.
//! - [`device`]: the CPU or a CUDA card.
//! - [`train`]: data, batches, the loop, early stopping, checkpoints.
//! - [`style`]: the vector that a clip is asked with.
//! - [`sung`]: lyrics as tokens, for song models.
//! - [`generate`](mod@generate): from a seed and a style to sound.
//!
//! The binaries `lora-train` and `lora-infer` are thin: they read flags and draw progress bars.

pub mod adapter;
pub mod base;
pub mod base_training;
pub mod device;
mod error;
pub mod generate;
mod hexadecimal;
pub mod inspect;
pub mod models;
pub mod progress;
pub mod style;
pub mod sung;
mod tensor_file;
#[cfg(feature = "cli")]
pub mod terminal;
pub mod train;

pub use error::LoraError;
