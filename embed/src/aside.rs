//! Files that are complete or absent.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Puts a file at `path` in one step, unless there is one.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path, bytes)?;
    part.persist_noclobber(path)
        .map(drop)
        .map_err(|error| error.error)
}

/// Puts a file at `path` in one step, in place of one that is there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path, bytes)?;
    part.persist(path).map(drop).map_err(|error| error.error)
}

/// A file with a name of its own beside `path`, its bytes on the disk; it goes when it is dropped.
fn part(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = Builder::new();
    builder.prefix(".vector-").suffix(".part");
    // Otherwise nobody else could read the file under its final name either; the user's mask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut part = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    part.write_all(bytes)?;
    part.as_file().sync_data()?;
    Ok(part)
}
