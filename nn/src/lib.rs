//! Neural operations with trustworthy gradients on the CPU, strict weight loading, counter-based randomness.

mod matrix;
pub mod ops;
mod simd;
mod storage;
pub mod weights;

pub use weights::{Scope, Weights, WeightsError};
