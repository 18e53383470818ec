//! The adapters of the command line.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use candle_core::Device;
use lora::adapter::{Adapter, Placement};
use lora::generate::step_times;
use lora::terminal::tell;

/// An adapter, how it is put on the base, and the file it is from.
pub(crate) type LoadedAdapter = (Adapter, Placement, PathBuf);

pub(crate) fn load_adapters(arguments: &[String], device: &Device) -> Result<Vec<LoadedAdapter>> {
    let load = |argument: &String| {
        let (path, placement) = parse(argument)?;
        Ok((Adapter::load(&path, device)?, placement, path))
    };
    arguments.iter().map(load).collect()
}

/// What an argument of --lora says.
pub(crate) fn parse(argument: &str) -> Result<(PathBuf, Placement)> {
    Placement::parse(argument).map_err(|problem| anyhow!("--lora {argument}: {problem}"))
}

/// For messages: what the clip was made with.
pub(crate) fn describe_clip(seed: u64, adapters: &[LoadedAdapter]) -> String {
    let with: Vec<String> = adapters
        .iter()
        .map(|(_, placement, path)| format!("{} at {placement}", path.display()))
        .collect();
    match with.as_slice() {
        [] => format!("the clip of seed {seed} without adapters"),
        with => format!("the clip of seed {seed} with {}", with.join(" and ")),
    }
}

/// Tells of adapters whose times lie between two steps, so that they never act.
pub(crate) fn tell_of_idle(adapters: &[LoadedAdapter], steps: usize) {
    let times = step_times(steps);
    for (_, placement, path) in adapters {
        if !times.iter().any(|time| placement.times.contains(*time)) {
            tell(format_args!(
                "{}: none of the {steps} steps begins at the times {}, so it does nothing; ask for more steps or a longer stretch",
                path.display(),
                placement.times
            ));
        }
    }
}
