//! Files that are either whole or not there: written aside, synced, renamed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::LoraError;

/// Writes `bytes` under `path`; on an error nothing is left under either name.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LoraError> {
    let aside = aside(path);
    let written = write_and_sync(&aside, bytes).and_then(|()| std::fs::rename(&aside, path));
    written.map_err(|source| {
        // The error worth telling is the first one; the leftover may not even exist.
        let _ = std::fs::remove_file(&aside);
        LoraError::File { path: path.to_owned(), source }
    })
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}
