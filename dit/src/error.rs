//! What can go wrong while a model is set up.

use nn::WeightsError;
use std::path::PathBuf;

/// A configuration or weights that make no model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration does not parse: a key is unknown, missing or of the wrong type.
    #[error("the transformer's configuration does not parse: {0}")]
    Parse(#[from] serde_json::Error),
    /// A size in the configuration is impossible.
    #[error("the transformer's configuration: {0}")]
    Config(String),
    /// The weights do not fit the configuration.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An operation failed.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}
