//! What can go wrong while a model is set up.

use nn::WeightsError;
use std::path::PathBuf;

/// A configuration or weights that make no model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read; check the path and its permissions", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration does not parse: a key is unknown, missing or of the wrong type.
    #[error("the transformer's configuration does not parse: {0}")]
    Parse(serde_json::Error),
    /// A size in the configuration is impossible.
    #[error("the transformer's configuration: {0}")]
    Config(String),
    /// A configuration file holds none of this model; why is the source.
    #[error("{}: no configuration of this model; use the config.json that came with the weights", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong with its text.
        source: Box<Error>,
    },
    /// The weights do not fit the configuration.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An operation failed.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
}

// By hand, because the message tells the cause already: as a source it would be told twice.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Parse(error)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}
