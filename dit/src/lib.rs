//! The DiffRhythm diffusion transformer (Ning et al. 2025, "DiffRhythm: Blazingly Fast and Embarrassingly Simple
//! End-to-End Full-Length Song Generation with Latent Diffusion") and its flow.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | sizes and flags, validated |
//! | [`model`] | the network: text, style, time and noisy latents to a velocity |
//! | [`flow`] | everything about time: noising, target, loss, sampling, guidance. No other file knows about it |
//! | `embedding`, `text`, `block` | the network's parts, with the reference's tensor names |
//!
//! Shapes: latents `[batch, frames, channels]`, tokens `[batch, frames]`, style `[batch, cond_dim]`, times `[batch]`.
//!
//! ```
//! let config = dit::Config::from_json(r#"{
//!     "dim": 32, "depth": 2, "ff_mult": 2, "text_dim": 8, "conv_layers": 1, "mel_dim": 4, "text_num_embeds": 10,
//!     "cond_dim": 8, "attention_heads": 2, "causal": false
//! }"#)?;
//! assert_eq!(config.max_frames, 2048);
//! assert!(dit::Config::from_json(r#"{ "dimension": 32 }"#).is_err());
//! # Ok::<(), dit::Error>(())
//! ```

mod block;
pub mod config;
mod embedding;
pub mod error;
pub mod flow;
pub mod model;
mod text;

pub use config::Config;
pub use error::Error;
pub use model::{DiffusionTransformer, Drops, Inputs, Presence};
