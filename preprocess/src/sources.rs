//! Which files of the input are recordings.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::{CutError, SkipReason, Skipped};

/// Extensions of what is decoded, and of what is known well enough to be refused by name. Files
/// with other extensions are not recordings (covers, notes, playlists).
const EXTENSIONS: &[&str] = &[
    "wav", "wave", "flac", "mp3", "ogg", "oga", "m4a", "m4b", "mp4", "aac", // decoded
    "opus", "wma", "aif", "aiff", "aifc", "ape", "wv", "tta", "mpc", "caf", "dsf", "dff", "mka",
    "webm", "amr", "ac3", "dts", "mp1", "mp2", "spx", "rf64", "w64", "alac",
];

const NO_REGULAR_FILE: &str = "is no regular file, but a pipe, socket or device";

/// A file that should be a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path from the input's own name on, with `/`: what the manifest calls it.
    pub(crate) label: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) sources: Vec<Source>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Walks the input, in the order of names.
///
/// Links are followed; a link back to a folder above or into the output, and a second way to the
/// same file, are passed over. Hidden files and folders are not looked at. What is no regular
/// file (a pipe, for one) is never opened: reading it might never end.
pub(crate) fn find(input: &Path, output: &Path) -> Result<Found, CutError> {
    let input_error = |source| CutError::Input {
        path: input.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(input).map_err(input_error)?;
    let root = std::fs::canonicalize(input).map_err(input_error)?;
    let root_name = root.file_name().map(as_text);
    let root_name = root_name.unwrap_or_else(|| "input".to_owned());
    if !metadata.is_dir() {
        if !metadata.is_file() {
            return Err(input_error(io::Error::other(NO_REGULAR_FILE)));
        }
        let source = Source {
            path: input.to_owned(),
            label: root_name,
        };
        return Ok(Found {
            sources: vec![source],
            skipped: Vec::new(),
        });
    }
    let mut found = Found::default();
    let mut other_files = 0;
    let mut seen = HashSet::new();
    let real_output = resolved(output).map_err(input_error)?;
    let is_output = |entry: &DirEntry| {
        entry.file_type().is_dir() && real_path(entry.path()).starts_with(&real_output)
    };
    let walk = WalkDir::new(input).follow_links(true).sort_by_file_name();
    let walk = walk.into_iter();
    for entry in walk.filter_entry(|entry| !is_hidden(entry) && !is_output(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if !is_recording(entry.path()) => other_files += 1,
            Ok(entry) if !entry.file_type().is_file() => {
                let path = entry.into_path();
                let reason = format!("{}: {NO_REGULAR_FILE}", path.display());
                let reason = SkipReason::Walk(reason);
                found.skipped.push(Skipped { path, reason });
            }
            Ok(entry) => {
                let real = real_path(entry.path());
                if !real.starts_with(&real_output) && seen.insert(real) {
                    let label = label(input, entry.path(), &root_name);
                    let path = entry.into_path();
                    found.sources.push(Source { path, label });
                }
            }
            Err(error) => other_files += usize::from(!note_error(error, &mut found.skipped)),
        }
    }
    if found.sources.is_empty() && found.skipped.is_empty() {
        let path = input.to_owned();
        return Err(match other_files {
            0 => CutError::EmptyInput { path },
            other_files => CutError::NoAudio { path, other_files },
        });
    }
    Ok(found)
}

/// Notes what could not be visited, unless it is a link back to a folder above or a dangling link
/// to something that is no recording; `true` when it was noted.
fn note_error(error: walkdir::Error, skipped: &mut Vec<Skipped>) -> bool {
    if error.loop_ancestor().is_some() {
        tracing::debug!("passed over: {error}");
        return false;
    }
    let path = error.path().unwrap_or(Path::new("")).to_owned();
    let is_dangling = error
        .io_error()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_dangling && !is_recording(&path) {
        return false;
    }
    let reason = error
        .io_error()
        .map_or_else(|| error.to_string(), ToString::to_string);
    skipped.push(Skipped {
        reason: SkipReason::Walk(format!("{}: cannot be opened: {reason}", path.display())),
        path,
    });
    true
}

fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_recording(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_lowercase().as_str()))
}

fn label(input: &Path, path: &Path, root_name: &str) -> String {
    let inside = path.strip_prefix(input).unwrap_or(path);
    let parts = inside.components().map(|part| as_text(part.as_os_str()));
    std::iter::once(root_name.to_owned())
        .chain(parts)
        .collect::<Vec<_>>()
        .join("/")
}

/// A file's name as text, different for different names.
///
/// Bytes that are not Unicode become `%XX`; a percent sign that would look like one of these
/// becomes `%25`. All other names stay as they are.
fn as_text(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find('%') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            text.push_str(before);
            let mut digits = after.bytes();
            let looks_escaped =
                (0..2).all(|_| digits.next().is_some_and(|b| b.is_ascii_hexdigit()));
            text.push_str(if looks_escaped { "%25" } else { "%" });
            rest = after;
        }
        text.push_str(rest);
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Refuses an output that lies in the input, or the other way round.
pub(crate) fn check_apart(input: &Path, output: &Path) -> Result<(), CutError> {
    let resolve = |path: &Path| {
        resolved(path).map_err(|source| CutError::Input {
            path: path.to_owned(),
            source,
        })
    };
    let (real_input, real_output) = (resolve(input)?, resolve(output)?);
    if real_output.starts_with(&real_input) || real_input.starts_with(&real_output) {
        return Err(CutError::Nested {
            input: input.to_owned(),
            output: output.to_owned(),
        });
    }
    Ok(())
}

/// The real path of something that may not exist yet.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut rest = Vec::new();
    let mut ancestor = absolute.as_path();
    loop {
        if let Ok(mut real) = std::fs::canonicalize(ancestor) {
            real.extend(rest.iter().rev());
            return Ok(real);
        }
        match (ancestor.parent(), ancestor.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_owned());
                ancestor = parent;
            }
            _ => return Ok(absolute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_found_in_order_and_the_rest_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("músíc");
        std::fs::create_dir_all(input.join("b/.hidden")).unwrap();
        for name in [
            "b/歌.FLAC",
            "a.wav",
            ".secret.wav",
            "b/.hidden/x.wav",
            "notes.txt",
            "z.opus",
        ] {
            std::fs::write(input.join(name), "x").unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&input, input.join("b/loop")).unwrap();
            std::os::unix::fs::symlink(input.join("a.wav"), input.join("b/again.wav")).unwrap();
        }
        let found = find(&input, &folder.path().join("pieces")).unwrap();
        let labels: Vec<_> = found
            .sources
            .iter()
            .map(|source| source.label.as_str())
            .collect();
        assert_eq!(labels, ["músíc/a.wav", "músíc/b/歌.FLAC", "músíc/z.opus"]);
        assert!(found.skipped.is_empty(), "{:?}", found.skipped);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| as_text(OsStr::from_bytes(bytes));
        assert_eq!(text(b"M\xe4r.mp3"), "M%E4r.mp3");
        assert_eq!(text(b"M\xf6r.mp3"), "M%F6r.mp3");
        assert_eq!(text(b"M%E4r.mp3"), "M%25E4r.mp3");
        assert_eq!(text("100 %, Mär%.mp3".as_bytes()), "100 %, Mär%.mp3");
    }

    #[test]
    fn nested_folders_are_refused_even_before_they_exist() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir(&input).unwrap();
        assert!(check_apart(&input, &input).is_err());
        assert!(check_apart(&input, &input.join("new/out")).is_err());
        assert!(check_apart(&input, folder.path()).is_err());
        assert!(check_apart(&input, &folder.path().join("in-pieces")).is_ok());
    }
}
