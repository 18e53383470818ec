//! Audio autoencoders behind one interface: sound to latents and back.
//!
//! | type | for | source |
//! |---|---|---|
//! | [`OobleckAutoencoder`] | released models (Stable Audio, DiffRhythm, ACE-Step) | diffusers' `autoencoder_oobleck.py`, `stable-audio-tools` |
//! | [`SpectralAutoencoder`] | the embedded base | the project's own, `testing/pytorch/` |
//!
//! # Shapes
//! sound `[batch, channels, samples]`, latents `[batch, latent_channels, latent_frames]`; a latent frame is
//! [`Autoencoder::hop`] samples.
//!
//! ```no_run
//! use candle_core::Device;
//! use vae::{Autoencoder, OobleckAutoencoder, Tiling};
//!
//! # fn example(sound: candle_core::Tensor) -> Result<(), vae::VaeError> {
//! let autoencoder = OobleckAutoencoder::load_folder("stable-audio-open/vae", &Device::Cpu)?;
//! let latents = autoencoder.encode_tiled(&sound, Tiling::EXACT)?.mean;
//! let again = autoencoder.decode_tiled(&latents, Tiling::EXACT)?;
//! # Ok(())
//! # }
//! ```

mod autoencoder;
mod error;
mod identity;
pub mod oobleck;
mod posterior;
pub mod spectral;
mod tiling;

pub use autoencoder::Autoencoder;
pub use error::VaeError;
pub use oobleck::{OobleckAutoencoder, OobleckConfig};
pub use posterior::Posterior;
pub use spectral::{SpectralAutoencoder, SpectralConfig};
pub use tiling::{Tile, Tiling, pasted_tiles};
