//! What is checked of an output before any work is done for it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::error::LoraError;

/// What a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A folder.
    Folder,
    /// A safetensors file.
    Safetensors,
    /// A file of torch's.
    Torch,
}

/// The ending says what a file is to whoever opens it next, programs among them: one of another format misleads, and none says nothing.
pub fn check_ending(output: &Path, written: Written) -> Result<()> {
    let ending = output.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_lowercase();
    let right: &[&str] = match written {
        Written::Folder => return Ok(()),
        Written::Safetensors => &["safetensors"],
        Written::Torch => &["pt", "pth", "ckpt", "bin"],
    };
    if right.contains(&ending.as_str()) {
        return Ok(());
    }
    let is = match ending.as_str() {
        "" => "has no ending".to_owned(),
        other => format!(".{other} is the ending of another format than what is written"),
    };
    bail!(
        "{}: {is}; name it {}",
        output.display(),
        output.with_extension(right[0]).display()
    );
}

/// Refuses an output that is there, unless it may be replaced.
pub fn check_free(output: &Path, replace: bool) -> Result<(), LoraError> {
    match output.symlink_metadata().is_ok() && !replace {
        true => Err(LoraError::Exists {
            path: output.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Even --force does not replace what the output is made of.
pub fn refuse_what_is_read<'a>(output: &Path, read: impl Iterator<Item = &'a Path>) -> Result<()> {
    let Ok(place) = output.canonicalize() else {
        return Ok(());
    };
    for path in read {
        if path.canonicalize().is_ok_and(|path| path == place) {
            bail!(
                "{} is read for this, and would be replaced; name another output",
                output.display()
            );
        }
    }
    Ok(())
}

/// The folder that the output is to be in.
pub fn make_folder(output: &Path) -> Result<(), LoraError> {
    match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            std::fs::create_dir_all(folder).map_err(LoraError::file(folder))
        }
        _ => Ok(()),
    }
}
