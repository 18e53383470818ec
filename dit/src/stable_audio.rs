//! The transformer of Stable Audio Open (Evans et al. 2024, "Stable Audio Open"), as in diffusers'
//! `models/transformers/stable_audio_transformer.py`, whose folders it loads.
//!
//! One token made of time and global conditions goes before the latent frames; blocks of self-attention with partly
//! rotated heads, cross-attention over the prompt with fewer heads of keys, and a gated MLP.
//!
//! Shapes: latents `[batch, channels, frames]`, prompt `[batch, tokens, features]`, times `[batch]`.
//!
//! ```
//! use dit::stable_audio::Config;
//! let config = Config::from_json(r#"{ "num_layers": 2, "_class_name": "StableAudioDiTModel" }"#)?;
//! assert_eq!((config.dim(), config.num_layers), (1536, 2));
//! assert!(Config::from_json(r#"{ "layers": 2 }"#).is_err());
//! # Ok::<(), dit::Error>(())
//! ```

mod block;
pub mod config;
mod embedding;
pub mod model;

pub use config::Config;
pub use model::{Inputs, StableAudioTransformer};
