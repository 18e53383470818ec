//! Settings with a name: what somebody else's training was, as far as it is worth repeating.

use std::str::FromStr;

use super::config::{Checkpointing, TrainSettings};
use crate::adapter::ORIGINAL_TARGETS;

/// A named set of settings; flags and files go before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The LoRA project that taught DiffRhythm Chinese opera (zachyu-1231/lora-music-generation, `Lora.py`, `main` and `LoRATrainer`).
    ///
    /// Its hyper-parameters are kept; what it meant and did not do is done: dropout is executed, the rate falls to the end, early stopping
    /// watches held-out songs, conditions are dropped crop by crop. Dropping the audio condition has nothing to drop, since that is all
    /// zeros in training.
    DiffRhythmOpera,
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "diffrhythm-opera" => Ok(Self::DiffRhythmOpera),
            _ => Err("expected diffrhythm-opera".to_owned()),
        }
    }
}

impl Preset {
    /// The settings.
    pub fn settings(self) -> TrainSettings {
        match self {
            Self::DiffRhythmOpera => TrainSettings {
                model: Some("diffrhythm-base".to_owned()),
                epochs: Some(500),
                batch_size: Some(6),
                rank: Some(8),
                alpha: Some(16.0),
                dropout: Some(0.25),
                include: Some(
                    ORIGINAL_TARGETS
                        .iter()
                        .map(|&target| target.to_owned())
                        .collect(),
                ),
                learning_rate: Some(2e-4),
                weight_decay: Some(0.01),
                warm_up_steps: Some(0),
                final_rate_ratio: Some(0.1),
                gradient_clip: Some(1.0),
                style_drop: Some(0.25),
                text_drop: Some(0.25),
                patience_epochs: Some(200),
                minimum_improvement: Some(0.01),
                checkpointing: Some(Checkpointing::On),
                ..TrainSettings::default()
            },
        }
    }
}
