//! Diffusion transformers for music, and the flow that trains and samples them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`diffrhythm`] | lyrics, style, time and noisy latents to a velocity; the embedded base is one |
//! | [`stable_audio`] | prompt embeddings, seconds, time and noisy latents to a velocity, as in diffusers |
//! | [`flow`] | everything about time: noising, target, loss, sampling, guidance. No other file knows about it |
//!
//! Both are made of `nn`'s layers alone, so adapters attach to either in the same way.

pub mod diffrhythm;
pub mod error;
pub mod flow;
pub mod stable_audio;

pub use error::Error;
