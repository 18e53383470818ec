//! The sound files below a folder.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::clip_set::Skipped;
use crate::error::EvalError;

/// Extensions taken for sound. The last row cannot be decoded: such files are named as skipped, not passed over.
const EXTENSIONS: [&str; 20] = [
    "wav", "wave", "flac", "mp3", "ogg", "oga", "m4a", "mp4", "aac", //
    "opus", "webm", "wma", "aif", "aiff", "aifc", "ape", "wv", "mpc", "mka", "caf",
];

/// A sound file and its name within the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path relative to the folder, without extension: what pairs a clip with that of another folder.
    pub name: String,
}

/// What is below a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoundFiles {
    /// Sound files, in the order of their names.
    pub files: Vec<SoundFile>,
    /// Folders that cannot be listed, and sound files that cannot be visited or are no regular files.
    pub skipped: Vec<Skipped>,
}

/// All sound files below `folder`; a single file is a folder of one.
///
/// Links are followed, once each: a link to a folder above itself is passed over.
///
/// # Errors
/// When the folder cannot be listed or holds no sound file.
pub fn sound_files(folder: &Path) -> Result<SoundFiles, EvalError> {
    let listing = |source| EvalError::Folder {
        path: folder.to_owned(),
        source,
    };
    std::fs::metadata(folder).map_err(listing)?;
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    let mut others = 0;
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => return Err(listing(error.into())),
            Err(error) => {
                skipped.extend(unvisited(&error));
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let is_sound = has_sound_extension(entry.path());
        if is_sound && !entry.file_type().is_file() {
            // A pipe, for one: reading it might never end.
            let reason = format!("{}: is no regular file", entry.path().display());
            let path = entry.into_path();
            skipped.push(Skipped { path, reason });
        } else if is_sound {
            found.push(SoundFile {
                path: entry.path().to_owned(),
                name: name_within(folder, entry.path()),
            });
        } else {
            others += 1;
        }
    }
    if found.is_empty() {
        let path = folder.to_owned();
        return Err(match skipped.first() {
            Some(first) => EvalError::NothingMeasured {
                path,
                files: skipped.len(),
                reason: first.reason.clone(),
            },
            None => EvalError::NoAudio {
                path,
                files: others,
            },
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
    Ok(SoundFiles {
        files: found,
        skipped,
    })
}

/// What could not be visited, unless it is a link to a folder above or leads to something that is no sound.
fn unvisited(error: &walkdir::Error) -> Option<Skipped> {
    let path = error.path()?.to_owned();
    // A link whose target is gone may have been anything; its name tells.
    let is_dangling = error
        .io_error()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if error.loop_ancestor().is_some() || (is_dangling && !has_sound_extension(&path)) {
        tracing::debug!("passed over: {error}");
        return None;
    }
    let cause = error
        .io_error()
        .map_or_else(|| error.to_string(), ToString::to_string);
    let reason = format!("{}: cannot be read: {cause}", path.display());
    Some(Skipped { path, reason })
}

fn has_sound_extension(path: &Path) -> bool {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

/// The name of a file within a folder; see [`SoundFile::name`].
pub(crate) fn name_within(folder: &Path, path: &Path) -> String {
    let relative = path
        .strip_prefix(folder)
        .ok()
        .filter(|relative| !relative.as_os_str().is_empty());
    let relative = relative.unwrap_or_else(|| Path::new(path.file_name().unwrap_or_default()));
    relative
        .with_extension("")
        .to_string_lossy()
        .replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursive_sorted_and_by_extension() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/ü")).unwrap();
        for name in ["b/ü/z.WAV", "a.mp3", "notes.txt", "a.wav.part", "old.opus"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<String> = sound_files(folder.path())
            .unwrap()
            .files
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["a", "b/ü/z", "old"]);
        let single = sound_files(&folder.path().join("a.mp3")).unwrap();
        assert_eq!(single.files[0].name, "a");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_folder_above_ends() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/a.wav"), b"").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("inner/again")).unwrap();
        let found = sound_files(folder.path()).unwrap();
        assert_eq!((found.files.len(), found.skipped.len()), (1, 0));
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_visited_is_skipped_by_name() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let locked = folder.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::write(folder.path().join("a.wav"), b"").unwrap();
        symlink("nowhere", folder.path().join("gone.wav")).unwrap();
        symlink("nowhere", folder.path().join("gone.txt")).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
        let is_locked = std::fs::read_dir(&locked).is_err();
        let found = sound_files(folder.path()).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(found.files.len(), 1);
        let skipped: Vec<&Path> = found.skipped.iter().map(|s| s.path.as_path()).collect();
        let gone = folder.path().join("gone.wav");
        // Some users may read everything.
        let expected = [gone.as_path(), locked.as_path()];
        assert_eq!(skipped, expected[..1 + usize::from(is_locked)]);
        assert!(found.skipped[0].reason.contains("gone.wav"));

        std::fs::remove_file(folder.path().join("a.wav")).unwrap();
        let error = sound_files(folder.path()).unwrap_err().to_string();
        assert!(error.contains("gone.wav: cannot be read"), "{error}");
    }

    #[test]
    fn missing_and_silent_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), b"").unwrap();
        let message = sound_files(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("no sound files (1 other files)"),
            "{message}"
        );
        assert!(matches!(
            sound_files(Path::new("/nowhere-at-all")),
            Err(EvalError::Folder { .. })
        ));
    }
}
