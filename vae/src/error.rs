//! What can go wrong between sound and latents.

use std::path::PathBuf;

use nn::WeightsError;
use spectrum::SpectrumError;
use thiserror::Error;

/// An autoencoder that cannot be loaded, or an input it cannot take.
#[derive(Debug, Error)]
pub enum VaeError {
    /// A missing, unused, misshapen or damaged tensor.
    #[error(transparent)]
    Weights(Box<WeightsError>),
    /// A transform that the configuration or the input does not allow.
    #[error(transparent)]
    Spectrum(#[from] SpectrumError),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A configuration file that cannot be read.
    #[error("{}: cannot be read; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration that describes no autoencoder of this kind.
    #[error("{origin}: {reason}")]
    Config {
        /// Where the configuration comes from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An input of the wrong shape.
    #[error("{what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The shape in words.
        expected: String,
        /// The shape given.
        actual: Vec<usize>,
    },
    /// Sound that does not fill one latent frame.
    #[error("the sound has {samples} samples, at least {hop} (one latent frame) are needed")]
    TooShort {
        /// Samples given.
        samples: usize,
        /// Samples of a latent frame.
        hop: usize,
    },
    /// Tiles of which nothing remains once their overlaps are cut off.
    #[error("tiles of {chunk} leave nothing after an overlap of {overlap} on each side")]
    Tiling {
        /// Length of a tile.
        chunk: usize,
        /// Overlap on each side.
        overlap: usize,
    },
}

// Boxed because it is by far the largest variant, and every result of this crate would carry its size.
impl From<WeightsError> for VaeError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(Box::new(error))
    }
}

/// Checks `[batch, channels, length]` with a fixed number of channels; returns `(batch, length)`.
pub(crate) fn check_shape(
    what: &'static str,
    tensor: &candle_core::Tensor,
    channels: usize,
) -> Result<(usize, usize), VaeError> {
    match *tensor.dims() {
        [batch, found, length] if batch > 0 && found == channels => Ok((batch, length)),
        _ => Err(VaeError::Shape {
            what,
            expected: format!("[batch, {channels}, length]"),
            actual: tensor.dims().to_vec(),
        }),
    }
}
