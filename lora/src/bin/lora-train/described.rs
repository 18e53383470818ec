//! A run in words, before it begins: its base, layers, memory and pieces.

use anyhow::Result;
use lora::base::Outline;
use lora::progress::Progress;
use lora::terminal::Terminal;
use lora::train::{Plan, TrainConfig, TrainingSet};

/// `all_layers` lists the base's layers and marks the targets with a star.
pub(crate) fn describe_plan(
    plan: &Plan,
    base: &Outline,
    config: &TrainConfig,
    all_layers: bool,
) -> Result<String> {
    use std::fmt::Write;
    let mut text = String::new();
    writeln!(text, "base: {}", base.title)?;
    writeln!(
        text,
        "layers to adapt: {} of {}{}",
        plan.targets().count(),
        plan.layers.len(),
        if all_layers {
            ", marked *"
        } else {
            " (--dry-run lists them)"
        }
    )?;
    for layer in plan.layers.iter().filter(|_| all_layers) {
        let mark = if layer.is_target { '*' } else { ' ' };
        let (name, inputs, outputs) = (&layer.name, layer.inputs, layer.outputs);
        writeln!(text, "{mark} {name} [{inputs} -> {outputs}]")?;
    }
    let share = 100.0 * plan.trainable as f64 / plan.total as f64;
    writeln!(
        text,
        "trainable: {} of {} parameters ({share:.4} %), and {} of {}",
        grouped(plan.trainable),
        grouped(plan.total),
        plan.trigger,
        match base.is_for_songs {
            true => "a style vector if the pieces have none",
            false => "the trigger vector",
        }
    )?;
    writeln!(
        text,
        "memory: about {} MB at batch {}{}",
        megabytes(plan.memory_bytes),
        config.batch_size,
        match plan.checkpointed {
            0 => String::new(),
            blocks => format!(
                ", {blocks} of {} blocks computed twice to save more",
                base.transformer.depth
            ),
        }
    )?;
    Ok(text)
}

/// As `--memory` is written.
pub(crate) fn megabytes(bytes: usize) -> usize {
    bytes.div_ceil(1_000_000)
}

/// A count with commas between thousands.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// What the pieces are, and what is odd about them.
pub(crate) fn describe_set(set: &TrainingSet, progress: &mut Terminal) {
    progress.note(&format!(
        "{} pieces to train on, {} held out",
        set.training.len(),
        set.validation.len()
    ));
    if set.validation.is_empty() {
        progress.note("no song is held out: early stopping is off and the last weights are kept; cut two songs or more");
    }
    if !set.changed.is_empty() {
        const SHOWN: usize = 8;
        let more = match set.changed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let shown = &set.changed[..set.changed.len().min(SHOWN)];
        progress.note(&format!(
            "changed since cut-music wrote them, used as they are now: {}{more}",
            shown.join(", ")
        ));
    }
    for note in &set.notes {
        progress.note(note);
    }
    for skipped in &set.skipped {
        progress.note(&format!("left out: {skipped}"));
    }
    if !set.unknown_tags.is_empty() {
        progress.note(&format!(
            "tags the base does not know, left out: {}",
            set.unknown_tags.join(", ")
        ));
    }
}
