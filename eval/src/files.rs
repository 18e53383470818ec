//! The sound files below a folder.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

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

/// All sound files below `folder`, in the order of their names; a single file is a folder of one.
///
/// Links are followed, once each: a link to a folder above itself is passed over.
///
/// # Errors
/// When the folder cannot be listed or holds no sound file.
pub fn sound_files(folder: &Path) -> Result<Vec<SoundFile>, EvalError> {
    let listing = |source| EvalError::Folder {
        path: folder.to_owned(),
        source,
    };
    std::fs::metadata(folder).map_err(listing)?;
    let mut found = Vec::new();
    let mut others = 0;
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => return Err(listing(error.into())),
            Err(error) => {
                tracing::warn!("passed over: {error}");
                continue;
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        if has_sound_extension(entry.path()) {
            found.push(SoundFile {
                path: entry.path().to_owned(),
                name: name_within(folder, entry.path()),
            });
        } else {
            others += 1;
        }
    }
    if found.is_empty() {
        return Err(EvalError::NoAudio {
            path: folder.to_owned(),
            files: others,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
    Ok(found)
}

fn has_sound_extension(path: &Path) -> bool {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn name_within(folder: &Path, path: &Path) -> String {
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
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["a", "b/ü/z", "old"]);
        let single = sound_files(&folder.path().join("a.mp3")).unwrap();
        assert_eq!(single[0].name, "a");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_folder_above_ends() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/a.wav"), b"").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("inner/again")).unwrap();
        assert_eq!(sound_files(folder.path()).unwrap().len(), 1);
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
