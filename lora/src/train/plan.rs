//! What a run would do, before it does it: layers, counts, memory.

use dit::diffrhythm::Config;

use super::config::{Checkpointing, PatternValue, TrainConfig};
use crate::adapter::pattern_matches;
use crate::base::{LayerOutline, Outline};
use crate::error::LoraError;

/// One linear layer of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLayer {
    /// Full name.
    pub name: String,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
    /// Whether it gets factors.
    pub is_target: bool,
}

/// A run on paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// All layers of the base.
    pub layers: Vec<PlannedLayer>,
    /// Numbers to train in the factors.
    pub trainable: usize,
    /// Numbers in the trigger vector, trained beside them.
    pub trigger: usize,
    /// Numbers in the base.
    pub total: usize,
    /// How many blocks run as gradient checkpoints.
    pub checkpointed: usize,
    /// Expected peak memory in bytes.
    pub memory_bytes: usize,
}

/// With `auto`, blocks run as checkpoints where that saves this many bytes: below, time is worth more.
const WORTH_CHECKPOINTING_BYTES: usize = 1 << 30;

impl Plan {
    /// The layers that get factors.
    pub fn targets(&self) -> impl Iterator<Item = &PlannedLayer> {
        self.layers.iter().filter(|layer| layer.is_target)
    }

    /// Whether the run could begin.
    ///
    /// # Errors
    /// As [`Targets::check`](crate::adapter::Targets::check), and when a pattern of ranks or alphas matches no target.
    pub fn check(&self, config: &TrainConfig) -> Result<(), LoraError> {
        let names: Vec<String> = self.layers.iter().map(|layer| layer.name.clone()).collect();
        config.targets().check(&names)?;
        let targets: Vec<&str> = self.targets().map(|layer| layer.name.as_str()).collect();
        check_patterns("rank_pattern", &config.rank_pattern, &targets)?;
        check_patterns("alpha_pattern", &config.alpha_pattern, &targets)
    }
}

fn check_patterns<T: std::fmt::Display>(
    setting: &'static str,
    patterns: &[PatternValue<T>],
    targets: &[&str],
) -> Result<(), LoraError> {
    let is_idle = |pattern: &&PatternValue<T>| {
        let mut targets = targets.iter();
        !targets.any(|name| pattern_matches(&pattern.pattern, name))
    };
    match patterns.iter().find(is_idle) {
        None => Ok(()),
        Some(idle) => Err(LoraError::Setting {
            setting,
            value: idle.to_string(),
            expected: "matches no layer that is adapted; --dry-run marks those".to_owned(),
        }),
    }
}

/// Lays out a run of `config` on a base, also one that [`Plan::check`] refuses: its layers show what to ask for.
pub fn plan(base: &Outline, config: &TrainConfig) -> Plan {
    let targets = config.targets();
    let planned = |layer: &LayerOutline| PlannedLayer {
        name: layer.name.clone(),
        inputs: layer.inputs,
        outputs: layer.outputs,
        is_target: targets.matches(&layer.name),
    };
    let layers: Vec<PlannedLayer> = base.layers.iter().map(planned).collect();
    let trainable = layers
        .iter()
        .filter(|layer| layer.is_target)
        .map(|layer| {
            let options = config.layer_options(&layer.name);
            options.parameters(layer.outputs, layer.inputs)
        })
        .fold(0, usize::saturating_add);
    let trigger = base.transformer.cond_dim;
    let frames = match config.pad_to_model {
        true => base.transformer.max_frames,
        false => crop_frames(config.crop_secs, base.frame_secs),
    };
    let checkpointed = checkpointed(&base.transformer, frames, config);
    let activations = activation_bytes(&base.transformer, config.batch_size, frames, checkpointed);
    Plan {
        memory_bytes: memory_bytes(base, config, trainable.saturating_add(trigger), activations),
        checkpointed,
        layers,
        trainable,
        trigger,
        total: base.parameters,
    }
}

/// Latent frames of a crop of this length.
pub(super) fn crop_frames(crop_secs: f64, frame_secs: f64) -> usize {
    ((crop_secs / frame_secs).round() as usize).max(1)
}

/// How many blocks run as gradient checkpoints, from the first on.
pub(super) fn checkpointed(transformer: &Config, frames: usize, config: &TrainConfig) -> usize {
    let bytes =
        |checkpointed| activation_bytes(transformer, config.batch_size, frames, checkpointed);
    let depth = transformer.depth;
    match config.checkpointing {
        Checkpointing::Share(share) => (share * depth as f64).round() as usize,
        Checkpointing::Auto => {
            let saved = bytes(0).saturating_sub(bytes(depth));
            if saved >= WORTH_CHECKPOINTING_BYTES {
                depth
            } else {
                0
            }
        }
    }
}

/// What the blocks keep for their backward pass: about twelve vectors of the model's width and four of the feed-forward's for each
/// frame (checked against the measured peak in docs/benchmarks.md); with checkpoints that of one block, and one vector of each.
fn activation_bytes(
    transformer: &Config,
    batch_size: usize,
    frames: usize,
    checkpointed: usize,
) -> usize {
    let block = 12 * transformer.dim + 4 * transformer.dim * transformer.ff_mult;
    // A checkpointed block is whole only while it runs again, one at a time.
    let whole = transformer.depth.saturating_sub(checkpointed) + checkpointed.min(1);
    let per_frame = whole * block + checkpointed * transformer.dim;
    batch_size
        .saturating_mul(frames)
        .saturating_mul(per_frame)
        .saturating_mul(size_of::<f32>())
}

/// The base's weights, four copies of what is trained (value, gradient, two moments), and the activations.
fn memory_bytes(
    base: &Outline,
    config: &TrainConfig,
    trainable: usize,
    activations: usize,
) -> usize {
    // The program itself with the base inside it, and the allocator's slack.
    const PROGRAM: usize = 80 << 20;
    let weights = config.weights.bytes(base.parameters);
    trainable
        .saturating_mul(4 * size_of::<f32>())
        .saturating_add(weights)
        .saturating_add(activations)
        .saturating_add(PROGRAM)
}
