//! The interface both autoencoders share.

use candle_core::Tensor;

use crate::{Posterior, Tiling, VaeError};

/// Sound to latents and back.
///
/// # Shapes
/// - sound `[batch, 2, samples]`, full scale is one
/// - latents `[batch, latent_channels, latent_frames]`, one frame for every [`Autoencoder::hop`] samples
pub trait Autoencoder: Send + Sync {
    /// The sample rate of sound.
    fn sample_rate_hz(&self) -> u32;

    /// Samples of a latent frame.
    fn hop(&self) -> usize;

    /// Channels of a latent frame.
    fn latent_channels(&self) -> usize;

    /// What tells this autoencoder's latents from another's: its kind and a hash of its weights and configuration.
    fn id(&self) -> &str;

    /// Sound to the distribution of its latents, all at once.
    fn encode(&self, audio: &Tensor) -> Result<Posterior, VaeError>;

    /// Latents to sound, all at once.
    fn decode(&self, latents: &Tensor) -> Result<Tensor, VaeError>;

    /// As [`Autoencoder::encode`], tile by tile, so that the work space does not grow with the length.
    fn encode_tiled(&self, audio: &Tensor, tiling: Tiling) -> Result<Posterior, VaeError>;

    /// As [`Autoencoder::decode`], tile by tile.
    fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<Tensor, VaeError>;
}
