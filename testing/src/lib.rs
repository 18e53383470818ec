//! Helpers that tests of every crate share: golden files, tolerances and finite differences.
//!
//! | module | what it is for |
//! |---|---|
//! | [`golden`] | load `golden.json` and `golden.safetensors` of one case |
//! | [`mod@device`] | the CUDA device if there is one, else the CPU |
//! | [`close`] | compare tensors relative to the largest value of the expected one |
//! | [`files`] | fixtures of other crates |
//! | [`gradient`] | check an op's own backward against central differences |
//! | [`sample`] | tensors with fixed, well spread values that need no generator |
//!
//! A test helper reports by panicking, so the lints against that are off here; only tests depend on this crate,
//! and `bench`, which measures with the same fixed tensors.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! let actual = Tensor::new(&[1.0f32, 2.00001], &Device::Cpu)?;
//! let expected = Tensor::new(&[1.0f32, 2.0], &Device::Cpu)?;
//! testing::assert_close("doubling", &actual, &expected, 1e-4);
//! # Ok::<(), candle_core::Error>(())
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation in a test helper is a failed test"
)]

pub mod close;
pub mod device;
pub mod files;
pub mod golden;
pub mod gradient;
pub mod sample;

pub use close::{assert_close, assert_equal, compare};
pub use device::{CUDA_FACTOR, device};
pub use files::{fixture, release_file};
pub use golden::Golden;
pub use gradient::{assert_gradients, assert_gradients_within};
pub use sample::{pseudo_random, pseudo_random_on, pseudo_random_var};
