//! Replacing a file in one step.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PART_ENDING: &str = ".part";
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Writes `bytes` to `NAME.PROCESS-NUMBER.part` beside `path`, brings them to the disk, and renames.
///
/// Whoever reads `path` finds the old contents or the new, never half of either; when writing
/// fails the part is removed.
pub fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_aside_by(path, |part| fs::write(part, bytes))
}

/// The same for contents that `write` puts into a file of the name it is given.
pub fn write_aside_by(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    placed(path, write, |part| fs::rename(part, path))
}

/// The same for a name that must be free: what appeared there meanwhile, be it a link to nowhere,
/// is [`io::ErrorKind::AlreadyExists`] and stays as it is.
pub fn write_new_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = |part: &Path| fs::write(part, bytes);
    placed(path, write, |part| match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links: the name is taken first then.
        Err(_) => {
            File::create_new(path)?;
            fs::rename(part, path).inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
    })
}

/// Brings the name of `path` to the disk, where the system has a way: without it, the file may be
/// back under the old one after a power cut.
pub fn sync_folder(path: &Path) {
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        // The contents are safe already; some file systems cannot sync folders.
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}

fn placed(
    path: &Path,
    write: impl FnOnce(&Path) -> io::Result<()>,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut name: OsString = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    // Two programs, or two threads, may write the same file at once: the last rename holds, and each is whole.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}{PART_ENDING}", std::process::id()));
    let part = path.with_file_name(name);
    let outcome = write(&part)
        .and_then(|()| synced(&part))
        .and_then(|()| place(&part));
    match outcome {
        Ok(()) => sync_folder(path),
        Err(_) => {
            let _ = fs::remove_file(&part);
        }
    }
    outcome
}

/// Removes parts in a folder that programs left when they were killed: those that nobody has written to for `age`.
pub fn remove_stale_parts(folder: &Path, age: Duration) {
    let entries = fs::read_dir(folder);
    for entry in entries.into_iter().flatten().flatten() {
        let is_part = entry.file_name().to_string_lossy().ends_with(PART_ENDING);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed >= age));
        if is_part && is_old {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn synced(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_and_nothing_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_aside(&path, b"one").unwrap();
        write_aside(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_aside(&folder.path().join("missing/a"), b"x").is_err());
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_new_aside(&path, b"one").unwrap();
        let error = write_new_aside(&path, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            let link = folder.path().join("b.json");
            std::os::unix::fs::symlink("nowhere", &link).unwrap();
            assert!(write_new_aside(&link, b"two").is_err());
            assert!(!folder.path().join("nowhere").exists());
        }
    }

    #[test]
    fn many_writers_of_one_file_leave_one_of_their_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let contents = |number: u8| vec![number; 100_000];
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..10 {
                        write_aside(path, &contents(number)).unwrap();
                    }
                });
            }
        });
        let found = fs::read(&path).unwrap();
        assert_eq!(found, contents(found[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn parts_of_the_killed_are_removed_when_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.json.71-0.part", "b.wav"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let count = || fs::read_dir(folder.path()).unwrap().count();
        remove_stale_parts(folder.path(), Duration::from_secs(3600));
        assert_eq!(count(), 2);
        remove_stale_parts(folder.path(), Duration::ZERO);
        assert_eq!(count(), 1);
    }
}
