//! Operations with their own backward, each with a test against central differences at batch 1 and 2.
//!
//! A gradient is computed only for arguments that are variables or depend on one: frozen weights cost nothing.

pub mod conv;
pub mod snake;

pub use conv::{Conv1dOptions, ConvTranspose1dOptions, conv_transpose1d, conv1d};
pub use snake::snake;
