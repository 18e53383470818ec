//! What a run would do, before it does it: layers, counts, memory.

use dit::diffrhythm::Config;

use super::config::{Checkpointing, TrainConfig};
use crate::adapter::Targets;
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
    /// Whether blocks run as gradient checkpoints.
    pub checkpointed: bool,
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
    /// As [`Targets::check`].
    pub fn check(&self, targets: &Targets) -> Result<(), LoraError> {
        let names: Vec<String> = self.layers.iter().map(|layer| layer.name.clone()).collect();
        targets.check(&names)
    }
}

/// Lays out a run of `config` on a base, also one that [`Plan::check`] refuses: its layers show what to ask for.
pub fn plan(base: &Outline, config: &TrainConfig) -> Plan {
    let planned = |layer: &LayerOutline| PlannedLayer {
        name: layer.name.clone(),
        inputs: layer.inputs,
        outputs: layer.outputs,
        is_target: config.targets.matches(&layer.name),
    };
    let layers: Vec<PlannedLayer> = base.layers.iter().map(planned).collect();
    let trainable = layers
        .iter()
        .filter(|layer| layer.is_target)
        .map(|layer| config.rank.saturating_mul(layer.inputs + layer.outputs))
        .fold(0, usize::saturating_add);
    let trigger = base.transformer.cond_dim;
    let frames = crop_frames(config.crop_secs, base.frame_secs);
    let checkpointed = checkpointed(&base.transformer, frames, config);
    let activations = activation_bytes(&base.transformer, config.batch_size, frames, checkpointed);
    Plan {
        memory_bytes: memory_bytes(base, trainable.saturating_add(trigger), activations),
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

/// Whether blocks run as gradient checkpoints.
pub(super) fn checkpointed(transformer: &Config, frames: usize, config: &TrainConfig) -> bool {
    let bytes =
        |checkpointed| activation_bytes(transformer, config.batch_size, frames, checkpointed);
    match config.checkpointing {
        Checkpointing::On => true,
        Checkpointing::Off => false,
        Checkpointing::Auto => {
            bytes(false).saturating_sub(bytes(true)) >= WORTH_CHECKPOINTING_BYTES
        }
    }
}

/// What the blocks keep for their backward pass: about twelve vectors of the model's width and four of the feed-forward's for each
/// frame (checked against the measured peak in docs/benchmarks.md); with checkpoints that of one block, and one vector of each.
fn activation_bytes(
    transformer: &Config,
    batch_size: usize,
    frames: usize,
    checkpointed: bool,
) -> usize {
    let block = 12 * transformer.dim + 4 * transformer.dim * transformer.ff_mult;
    let per_frame = match checkpointed {
        true => block + transformer.depth * transformer.dim,
        false => transformer.depth * block,
    };
    batch_size
        .saturating_mul(frames)
        .saturating_mul(per_frame)
        .saturating_mul(size_of::<f32>())
}

/// The base's weights, four copies of what is trained (value, gradient, two moments), and the activations.
fn memory_bytes(base: &Outline, trainable: usize, activations: usize) -> usize {
    // The program itself with the base inside it, and the allocator's slack.
    const PROGRAM: usize = 80 << 20;
    let weights = base.precision.bytes(base.parameters);
    trainable
        .saturating_mul(4 * size_of::<f32>())
        .saturating_add(weights)
        .saturating_add(activations)
        .saturating_add(PROGRAM)
}
