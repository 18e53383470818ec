//! The embedded base's autoencoder: log magnitudes on a warped axis and parametric stereo, with phases made anew.
//!
//! One spectrum stands for both channels; per band a level difference and a coherence say how it is spread between them
//! (after Breebaart et al. 2005, "Parametric coding of stereo audio"). A principal-component skip with a residual
//! ConvNeXt (Liu et al. 2022) on either side of the latents packs four short-time frames into one latent frame. The
//! reference in PyTorch is `testing/pytorch/spectral_features.py` and `testing/pytorch/spectral_autoencoder.py`.
//!
//! # Shapes
//! sound `[batch, 2, samples]`; features `[batch, latent_frames, features]`; latents
//! `[batch, latent_channels, latent_frames]`.

mod config;
mod features;
mod model;
mod network;
mod stereo;
mod synthesis;

pub use config::SpectralConfig;
pub use features::SpectralFeatures;
pub use model::SpectralAutoencoder;
pub use stereo::stereo_band_edges;
pub use synthesis::Synthesis;
