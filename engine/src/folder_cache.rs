//! A folder of files of which those that were used longest ago go first.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file is kept this long after it was last used, whatever the limit: a host that is not connected may read it still.
pub(crate) const LEAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Files with this ending, when each was used, and its size in bytes.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<(SystemTime, PathBuf, u64)> {
    let of_entry = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let metadata = entry.metadata().ok()?;
        let is_meant = metadata.is_file() && path.extension().is_some_and(|own| own == ending);
        is_meant.then(|| Some((metadata.modified().ok()?, path, metadata.len())))?
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(of_entry).collect()
}

/// Removes files until the rest is within the limit; none that is held or younger than `least_age`. Gives those that are gone.
pub(crate) fn clean(
    folder: &Path,
    ending: &str,
    most_bytes: u64,
    least_age: Duration,
    is_held: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let mut files = files(folder, ending);
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
    let mut gone = Vec::new();
    for (used, path, size) in files {
        if bytes <= most_bytes {
            break;
        }
        let is_young = used.elapsed().map_or(true, |age| age < least_age);
        if is_young || is_held(&path) {
            continue;
        }
        if std::fs::remove_file(&path).is_ok() {
            bytes -= size;
            gone.push(path);
        }
    }
    gone
}

/// The file counts as used now.
pub(crate) fn touch(path: &Path) {
    let touched = std::fs::File::options().append(true).open(path);
    let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!("{}: {error}", path.display());
    }
}
