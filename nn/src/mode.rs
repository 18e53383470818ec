//! Whether a forward pass is part of training.

use crate::random::Stream;

/// Passed down through every forward: dropout happens in training only, with numbers of this stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No dropout.
    Inference,
    /// Dropout is applied.
    Training {
        /// Draws the masks; give each step a stream of its own (`stream.at(step)`). Each layer adds its name.
        dropout: Stream,
    },
}

impl Mode {
    /// The stream of a layer in training, none at inference.
    pub fn dropout(&self, name: &str) -> Option<Stream> {
        match self {
            Self::Inference => None,
            Self::Training { dropout } => Some(dropout.named(name)),
        }
    }
}
