//! DiffRhythm (Ning et al. 2025, "DiffRhythm: Blazingly Fast and Embarrassingly Simple End-to-End Full-Length Song
//! Generation with Latent Diffusion"; `model/dit.py` and `model/modules.py` of the reference), with the reference's tensor
//! names. The embedded base is this architecture at a small size.
//!
//! Shapes: latents `[batch, frames, channels]`, tokens `[batch, frames]`, style `[batch, cond_dim]`, times `[batch]`.
//!
//! ```
//! use dit::diffrhythm::Config;
//! let config = Config::from_json(r#"{
//!     "dim": 32, "depth": 2, "ff_mult": 2, "text_dim": 8, "conv_layers": 1, "mel_dim": 4, "text_num_embeds": 10,
//!     "cond_dim": 8, "attention_heads": 2, "causal": false
//! }"#)?;
//! assert_eq!(config.max_frames, 2048);
//! assert!(Config::from_json(r#"{ "dimension": 32 }"#).is_err());
//! # Ok::<(), dit::Error>(())
//! ```

mod block;
pub mod config;
mod embedding;
pub mod model;
mod released;
mod text;

pub use config::Config;
pub(crate) use embedding::TIME_SCALE;
pub use model::{DiffusionTransformer, Drops, EncodedText, Inputs, Presence};
