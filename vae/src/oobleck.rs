//! Oobleck, the waveform autoencoder of Stable Audio (Evans et al. 2024), DiffRhythm and ACE-Step.
//!
//! Strided convolutions with snake activations and dilated residual units down to the latents, and the mirror image up
//! again. The reference is diffusers' `autoencoder_oobleck.py`; tensors named as in `stable-audio-tools` load too.
//!
//! # Shapes
//! sound `[batch, audio_channels, samples]`; latents `[batch, latent_channels, samples / hop]`.

mod config;
mod convolution;
mod decoder;
mod encoder;
mod inferred;
mod layout;
mod model;
mod receptive_field;
mod residual;
mod snake;

/// Values of an activation up to which it is computed whole; a longer one is computed in tiles.
const WHOLE_VALUES: usize = 8 << 20;
/// Values of the largest activation of a tile: what stays in a shared level-3 cache.
const TILE_VALUES: usize = 2 << 20;

pub use config::OobleckConfig;
pub use model::OobleckAutoencoder;
