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
mod layout;
mod model;
mod receptive_field;
mod residual;
mod snake;

pub use config::OobleckConfig;
pub use model::OobleckAutoencoder;
