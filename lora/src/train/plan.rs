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
        memory_bytes: memory_bytes(
            base,
            config,
            trainable.saturating_add(trigger),
            frames,
            activations,
        ),
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

/// What the blocks keep for their backward pass: about fifteen vectors of the model's width and five of the feed-forward's for each frame,
/// and as much as two blocks for what comes before and after them and for the gradients on the way (fitted to measured peaks, docs/log.md);
/// with checkpoints that of one block, and two vectors of each. That all items of a batch are computed side by side is the worst case: few
/// threads take them in shares, whose memory is free again when they are done.
fn activation_bytes(
    transformer: &Config,
    batch_size: usize,
    frames: usize,
    checkpointed: usize,
) -> usize {
    const AROUND_BLOCKS: usize = 2;
    let block = 15 * transformer.dim + 5 * transformer.dim * transformer.ff_mult;
    // A checkpointed block is whole only while it runs again, one at a time.
    let whole = transformer.depth.saturating_sub(checkpointed) + checkpointed.min(1);
    let per_frame = (whole + AROUND_BLOCKS) * block + checkpointed * 2 * transformer.dim;
    batch_size
        .saturating_mul(frames)
        .saturating_mul(per_frame)
        .saturating_mul(size_of::<f32>())
}

/// The base's weights, what is trained in all its copies, the base's own clips, and the activations. The clips are computed behind the
/// pieces, when the memory of those is free again.
fn memory_bytes(
    base: &Outline,
    config: &TrainConfig,
    trainable: usize,
    frames: usize,
    activations: usize,
) -> usize {
    // The program itself with the base inside it, and the allocator's slack.
    const PROGRAM: usize = 80 << 20;
    let weights = config.weights.bytes(base.parameters);
    let clips = config
        .prior_clips
        .saturating_mul(frames * base.transformer.mel_dim);
    trainable
        .saturating_mul(copies_of_trained(config))
        .saturating_add(clips)
        .saturating_mul(size_of::<f32>())
        .saturating_add(weights)
        .saturating_add(activations)
        .saturating_add(PROGRAM)
}

/// How often what is trained is in memory while a checkpoint is written.
fn copies_of_trained(config: &TrainConfig) -> usize {
    // With the optimizer's two moments, and the running mean if there is one.
    let moment = 3 + usize::from(config.ema_decay > 0.0);
    // Of the pieces, and of the base's own clips.
    let gradients = 1 + usize::from(config.prior_clips > 0);
    // In use; now and before the last step, as tensors and as a file's bytes.
    gradients + moment + 4 * moment
}

#[cfg(test)]
mod tests {
    use super::super::config::{BaseDefaults, TrainSettings};
    use super::*;
    use crate::base::BaseModel;
    use crate::models::EMBEDDED_NAME;

    /// Peaks that were measured with two threads, in MiB: a plan is above them, and not by half.
    #[test]
    fn plans_are_near_what_was_measured() {
        let device = candle_core::Device::Cpu;
        let base = Outline::of(&mut BaseModel::open(EMBEDDED_NAME, &device).unwrap());
        for (batch_size, checkpointing, prior_clips, measured) in [
            (8, Checkpointing::OFF, 0, 395),
            (8, Checkpointing::ON, 0, 196),
            (8, Checkpointing::OFF, 8, 398),
            (4, Checkpointing::OFF, 0, 243),
            (1, Checkpointing::OFF, 0, 129),
            (1, Checkpointing::ON, 0, 106),
        ] {
            let settings = TrainSettings {
                batch_size: Some(batch_size),
                checkpointing: Some(checkpointing),
                prior_clips: Some(prior_clips),
                ..TrainSettings::default()
            };
            let config = settings.resolve(BaseDefaults::of(&base)).unwrap();
            let planned = plan(&base, &config).memory_bytes >> 20;
            assert!(
                (measured..measured * 3 / 2).contains(&planned),
                "batch {batch_size}, {checkpointing}: planned {planned}, measured {measured}"
            );
        }
    }
}
