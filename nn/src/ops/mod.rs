//! Operations with their own backward, each with a test against central differences at batch 1 and 2.
//!
//! A gradient is computed only for arguments that are variables or depend on one: frozen weights cost nothing.

pub mod attention;
mod composed;
pub mod conv;
pub mod elementwise;
pub mod frozen_conv;
pub mod gated;
pub mod grn;
pub mod norm;
pub mod rotary;
pub mod snake;
pub mod softmax;

pub use attention::{AttentionOptions, Mask, attention};
pub use conv::{Conv1dOptions, ConvTranspose1dOptions, conv_transpose1d, conv1d};
pub use elementwise::{gelu_erf, mish, silu};
pub use frozen_conv::{FrozenConv1d, Fused};
pub use gated::{swiglu, swiglu_packed};
pub use grn::grn;
pub use norm::{layer_norm, rms_norm};
pub use rotary::{RotaryTable, rotary};
pub use snake::snake;
pub use softmax::softmax;
