//! Neural operations with trustworthy gradients on the CPU, strict weight loading, counter-based randomness.
//!
//! Candle supplies tensors and automatic differentiation; several of its stock operations drop gradients without a
//! word, so everything on a trainable path is here, with its own backward and a test against finite differences.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ops`] | attention, convolutions, norms, activations, rotary embedding |
//! | [`linear`] | the linear layer, which adapters attach to |
//! | [`weights`] | safetensors, where a missing, left over, misshapen or non-finite tensor is an error |
//! | [`random`] | numbers that depend on seed, name and counter alone, not on the order of calls |
//! | [`mode`] | inference or training (dropout, checkpoints) |
//! | [`interval`] | stretches of a flow's time that adapters may be limited to |
//! | [`checkpoint`] | parts that run again in the backward pass instead of keeping their intermediates |
//! | [`gradients_in_shares`] | a batch in parts, side by side |
//! | [`optimizer`], [`muon`], [`schedule`] | AdamW, clipping, Muon for matrices trained from scratch, learning rate |
//! | [`process`] | settings that a binary makes first |
//!
//! Tensors are f32. Shapes are written `[batch, frames, features]` for transformers and `[batch, channels, frames]`
//! for convolutions.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use nn::{Linear, LoraWeights, Mode, Stream};
//! let noise = Stream::new(1).named("example");
//! let weight = noise.named("weight").normal((4, 3), &Device::Cpu)?;
//! let mut layer = Linear::new("example", weight, None)?;
//! let x = noise.named("x").normal((2, 5, 3), &Device::Cpu)?;
//! let base = layer.forward(&x, &Mode::Inference)?;
//! layer.attach(LoraWeights {
//!     a: noise.named("a").normal((8, 3), &Device::Cpu)?,
//!     b: Tensor::zeros((4, 8), candle_core::DType::F32, &Device::Cpu)?,
//!     scale: 2.0,
//!     dropout: 0.25,
//! })?;
//! let adapted = layer.forward(&x, &Mode::Inference)?; // B is zero: no effect yet
//! assert_eq!(base.to_vec3::<f32>()?, adapted.to_vec3::<f32>()?);
//! # Ok::<(), candle_core::Error>(())
//! ```

pub mod checkpoint;
pub mod interval;
mod known;
pub mod linear;
mod matrix;
pub mod mode;
pub mod muon;
pub mod ops;
pub mod optimizer;
pub mod process;
pub mod random;
pub mod schedule;
mod shares;
mod simd;
mod storage;
pub mod weights;

pub use checkpoint::{Checkpoints, checkpointed, gradients_of_variables};
pub use interval::TimeInterval;
pub use linear::{
    Delta, FourBit, FourBitCode, Linear, LoraWeights, Magnitude, TrainedChange, TrainedMethod,
    TrainedOptions, VisitLinears, WeightChange, WeightPrecision,
};
pub use mode::Mode;
pub use muon::{Muon, MuonOptions};
pub use optimizer::{AdamW, AdamWOptions, clip_factor};
pub use random::Stream;
pub use schedule::WarmupCosine;
pub use shares::gradients_in_shares;
pub use weights::{Scope, Weights, WeightsError};
