//! Whether a forward pass is part of training.

use crate::checkpoint::Checkpoints;
use crate::interval::TimeInterval;
use crate::random::Stream;
use candle_core::{Tensor, Var};

/// Passed down through every forward: dropout happens in training only, with numbers of this stream, and what is trained
/// on layers ([`TrainedChange`](crate::TrainedChange)) has gradients there alone. In other modes nothing is kept for a
/// backward pass, so that a look at held-out data costs no more memory than the widest layer.
#[derive(Clone, Debug)]
pub enum Mode {
    /// No dropout.
    Inference,
    /// The same at a time of a flow's way: adapters that are limited to a part of it act there alone. They always do in
    /// other modes, which know of no time.
    Sampling {
        /// 0: noise, 1: data.
        time: f32,
    },
    /// Dropout is applied.
    Training {
        /// Draws the masks; give each step a stream of its own (`stream.at(step)`). Each layer adds its name.
        dropout: Stream,
        /// Where checkpointed parts leave their gradients; without it every part keeps what its backward needs.
        checkpoints: Option<Checkpoints>,
    },
}

impl Mode {
    /// The stream of a layer in training, none at inference.
    pub fn dropout(&self, name: &str) -> Option<Stream> {
        match self {
            Self::Inference | Self::Sampling { .. } => None,
            Self::Training { dropout, .. } => Some(dropout.named(name)),
        }
    }

    /// A variable that is trained, as this mode sees it: with a gradient in training, else as it is now.
    pub fn of_variable(&self, variable: &Var) -> Tensor {
        match self {
            Self::Inference | Self::Sampling { .. } => variable.as_detached_tensor(),
            Self::Training { .. } => variable.as_tensor().clone(),
        }
    }

    /// Whether what is limited to these times acts.
    pub fn is_within(&self, times: &TimeInterval) -> bool {
        match self {
            Self::Sampling { time } => times.contains(*time),
            Self::Inference | Self::Training { .. } => true,
        }
    }

    /// The mode of a model's block with this number, counted from 0, which may be no checkpoint where others are.
    pub fn of_block(&self, block: usize) -> Self {
        match self.checkpoints() {
            Some(checkpoints) if !checkpoints.includes(block) => self.without_checkpoints(),
            _ => self.clone(),
        }
    }

    /// Where checkpointed parts leave their gradients, if there are to be any.
    pub(crate) fn checkpoints(&self) -> Option<&Checkpoints> {
        match self {
            Self::Inference | Self::Sampling { .. } => None,
            Self::Training { checkpoints, .. } => checkpoints
                .as_ref()
                .filter(|checkpoints| !checkpoints.is_recomputing()),
        }
    }

    /// Whether a checkpointed part runs again for its gradients, so that its own result is not looked at.
    pub(crate) fn is_recomputing(&self) -> bool {
        match self {
            Self::Inference | Self::Sampling { .. } => false,
            Self::Training { checkpoints, .. } => checkpoints
                .as_ref()
                .is_some_and(Checkpoints::is_recomputing),
        }
    }

    /// The same inside of a checkpointed part that runs again.
    pub(crate) fn recomputing(&self) -> Self {
        match self {
            Self::Inference | Self::Sampling { .. } => self.clone(),
            Self::Training { dropout, .. } => Self::Training {
                dropout: dropout.clone(),
                checkpoints: Some(Checkpoints::recomputing()),
            },
        }
    }

    /// The same inside of a checkpointed part.
    pub(crate) fn without_checkpoints(&self) -> Self {
        match self {
            Self::Inference | Self::Sampling { .. } => self.clone(),
            Self::Training { dropout, .. } => Self::Training {
                dropout: dropout.clone(),
                checkpoints: None,
            },
        }
    }
}
