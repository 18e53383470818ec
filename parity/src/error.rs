//! What can go wrong before anything is compared.

use std::path::PathBuf;

/// A case that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// A file cannot be read.
    #[error("{}: {source}; a case is a folder with golden.json, golden.safetensors and what they refer to", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {problem}; copy the case again", path.display())]
    Broken {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The notes or tensors lack something that cases of this kind have.
    #[error("{}: no {what}, which cases of this kind have; is it made by another version of the scripts?", folder.display())]
    Missing {
        /// The case.
        folder: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The notes ask for something that is not known.
    #[error("{}: {what} is not known here; teach it to the crate `parity`", folder.display())]
    Unknown {
        /// The case.
        folder: PathBuf,
        /// What is not known.
        what: String,
    },
    /// A file of weights cannot be read.
    #[error(transparent)]
    File(#[from] checkpoint::CheckpointError),
    /// An adapter cannot be read or attached.
    #[error(transparent)]
    Adapter(Box<lora::LoraError>),
    /// A transformer does not load.
    #[error(transparent)]
    Transformer(#[from] dit::Error),
    /// An autoencoder does not load or run.
    #[error(transparent)]
    Autoencoder(#[from] vae::VaeError),
    /// A style encoder does not load or run.
    #[error(transparent)]
    Encoder(#[from] embed::EmbedError),
    /// Lyrics make no tokens.
    #[error(transparent)]
    Lyrics(#[from] lyrics::LyricsError),
    /// Weights do not load.
    #[error(transparent)]
    Weights(#[from] nn::WeightsError),
    /// An operation failed.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
}

impl From<lora::LoraError> for ParityError {
    fn from(error: lora::LoraError) -> Self {
        Self::Adapter(Box::new(error))
    }
}

impl From<candle_core::Error> for ParityError {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}
