//! The adapters of the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use lora::adapter::Adapter;

/// An adapter, its strength, and the file it is from.
pub(crate) type LoadedAdapter = (Adapter, f64, PathBuf);

pub(crate) fn load_adapters(arguments: &[String], device: &Device) -> Result<Vec<LoadedAdapter>> {
    let load = |argument: &String| {
        let (path, strength) = split_strength(argument)?;
        Ok((Adapter::load(&path, device)?, strength, path))
    };
    arguments.iter().map(load).collect()
}

/// For messages: what the clip was made with.
pub(crate) fn describe_clip(seed: u64, adapters: &[LoadedAdapter]) -> String {
    let with: Vec<String> = adapters
        .iter()
        .map(|(_, strength, path)| format!("{} at strength {strength}", path.display()))
        .collect();
    match with.as_slice() {
        [] => format!("the clip of seed {seed} without adapters"),
        with => format!("the clip of seed {seed} with {}", with.join(" and ")),
    }
}

/// `FILE` or `FILE:STRENGTH`; a file whose own name ends in a colon and a number is found by its whole name.
pub(crate) fn split_strength(argument: &str) -> Result<(PathBuf, f64)> {
    let whole = Path::new(argument);
    if let Some((file, number)) = argument
        .rsplit_once(':')
        .filter(|(file, _)| !whole.exists() && !file.is_empty())
    {
        let strength: f64 = number.parse().with_context(|| {
            format!("--lora {argument}: the strength {number:?} is not a number")
        })?;
        if !strength.is_finite() || strength.abs() > 10.0 {
            bail!("--lora {argument}: a strength is from -10 to 10");
        }
        return Ok((PathBuf::from(file), strength));
    }
    Ok((whole.to_owned(), 1.0))
}
