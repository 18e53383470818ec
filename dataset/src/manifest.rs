//! `manifest.jsonl`: one JSON object a line, one line a piece.
//!
//! Fields that this version does not know are kept out of the way, not refused: later versions
//! add analyses (beats, key) that older readers can do without.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Split, write_aside};

/// The manifest's file name in a prepared folder.
pub const MANIFEST_NAME: &str = "manifest.jsonl";
/// The format that this crate writes, and the newest that it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// One piece of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Format of the line.
    pub version: u32,
    /// The piece's WAV file, relative to the manifest, with `/` between folders.
    pub path: String,
    /// The recording it was cut from.
    pub source: String,
    /// Hash of the recording's bytes.
    pub source_hash: String,
    /// Where it starts in the recording, in seconds.
    pub start_secs: f64,
    /// Where it ends.
    pub end_secs: f64,
    /// Where it starts, in frames at `sample_rate_hz`.
    pub start_frame: u64,
    /// Where it ends (the first frame behind it).
    pub end_frame: u64,
    /// Sample rate of the piece in Hz.
    pub sample_rate_hz: u32,
    /// Channels of the piece.
    pub channels: u16,
    /// Integrated loudness of the piece as written, in LUFS; `null` when it is too short (below
    /// 400 ms) or too quiet to have one.
    pub loudness_lufs: Option<f64>,
    /// Gain that was applied, in dB.
    pub gain_db: f64,
    /// Largest absolute sample of the piece as written, 1.0 being full scale.
    pub peak: f64,
    /// Its song's side.
    pub split: Split,
    /// Hash of the piece's file, as [`hash_file`](crate::hash_file) writes it; empty in a manifest made by hand.
    pub content_hash: String,
    /// Tags from the recording's sidecar.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl Piece {
    /// Length in frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.end_frame.saturating_sub(self.start_frame)
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration_secs(&self) -> f64 {
        self.frames() as f64 / f64::from(self.sample_rate_hz.max(1))
    }

    /// What is wrong with the values, if anything.
    fn fault(&self) -> Option<String> {
        let is_span = |start: f64, end: f64| {
            start.is_finite() && end.is_finite() && 0.0 <= start && start < end
        };
        if self.version > MANIFEST_VERSION {
            return Some(format!(
                "version {} is newer than {MANIFEST_VERSION}, the newest that is known here; update",
                self.version
            ));
        }
        if !is_inside(&self.path) {
            return Some(format!(
                "path {:?} does not lead to a file inside the folder",
                self.path
            ));
        }
        if self.start_frame >= self.end_frame || !is_span(self.start_secs, self.end_secs) {
            return Some(format!(
                "start and end ({} to {} s, frames {} to {}) span no sound",
                self.start_secs, self.end_secs, self.start_frame, self.end_frame
            ));
        }
        if self.sample_rate_hz == 0 || self.channels == 0 {
            return Some("sample_rate_hz and channels must be above zero".to_owned());
        }
        let numbers = [self.gain_db, self.peak, self.loudness_lufs.unwrap_or(0.0)];
        if numbers.iter().any(|number| !number.is_finite()) || self.peak < 0.0 {
            return Some("gain_db, peak and loudness_lufs must be finite numbers".to_owned());
        }
        if !self.content_hash.is_empty() && !is_content_hash(&self.content_hash) {
            return Some(format!(
                "content_hash {:?} is not `sha256:` and 64 hexadecimal digits; cut again, or leave it empty",
                self.content_hash
            ));
        }
        None
    }
}

/// Whether this is what [`crate::hash_file`] gives. The hash names files of caches, so nothing else may
/// pass for one.
fn is_content_hash(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:");
    digits.is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a relative path stays below its folder.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Why a manifest could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error(
        "{}: there is no manifest; make one with `cut-music INPUT {}`",
        path.display(), folder.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The folder asked for.
        folder: PathBuf,
    },
    /// The system would not read it.
    #[error("{}: cannot be read; check its permissions", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system would not write it.
    #[error("{}: cannot be written; check the folder's permissions and the space left", path.display())]
    Write {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no piece.
    #[error("{}: line {line}: {detail}", path.display())]
    Line {
        /// The manifest.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reads and checks the manifest of a folder.
///
/// Blank lines are passed over. A path that occurs twice, or leads out of the folder, and a song
/// that is on both sides of the split are errors.
pub fn read_manifest(folder: &Path) -> Result<Vec<Piece>, ManifestError> {
    let path = folder.join(MANIFEST_NAME);
    let file = File::open(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ManifestError::Missing {
            path: path.clone(),
            folder: folder.to_owned(),
        },
        _ => ManifestError::Read {
            path: path.clone(),
            source,
        },
    })?;
    parse_manifest(BufReader::new(file), &path)
}

/// The same for a manifest that is no file of a folder; `path` is what errors call it.
pub fn parse_manifest(text: impl BufRead, path: &Path) -> Result<Vec<Piece>, ManifestError> {
    let mut checker = Checker::default();
    let mut pieces = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at_line = |detail: String| ManifestError::Line {
            path: path.to_owned(),
            line: index + 1,
            detail,
        };
        let line = line.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => at_line("it is not UTF-8 text".to_owned()),
            _ => ManifestError::Read {
                path: path.to_owned(),
                source,
            },
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let piece: Piece =
            serde_json::from_str(&line).map_err(|error| at_line(error.to_string()))?;
        if let Some(detail) = checker.fault(&piece, index + 1) {
            return Err(at_line(detail));
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// What must hold between lines.
#[derive(Default)]
struct Checker {
    paths: std::collections::HashMap<String, usize>,
    sides: std::collections::HashMap<String, (Split, usize)>,
}

impl Checker {
    fn fault(&mut self, piece: &Piece, line: usize) -> Option<String> {
        if let Some(detail) = piece.fault() {
            return Some(detail);
        }
        if let Some(before) = self.paths.insert(piece.path.clone(), line) {
            return Some(format!("path {:?} is already on line {before}", piece.path));
        }
        let (side, before) = *self
            .sides
            .entry(piece.source_hash.clone())
            .or_insert((piece.split, line));
        (side != piece.split).then(|| {
            format!(
                "song {:?} is in both splits: line {before} says the other one",
                piece.source
            )
        })
    }
}

/// Writes the manifest of a folder in one step.
pub fn write_manifest(folder: &Path, pieces: &[Piece]) -> Result<(), ManifestError> {
    let path = folder.join(MANIFEST_NAME);
    let write_error = |source| ManifestError::Write {
        path: path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    for piece in pieces {
        serde_json::to_writer(&mut bytes, piece).map_err(|error| write_error(error.into()))?;
        bytes.push(b'\n');
    }
    write_aside(&path, &bytes).map_err(write_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(path: &str) -> Piece {
        Piece {
            version: MANIFEST_VERSION,
            path: path.to_owned(),
            source: "in/Gesänge 歌.flac".to_owned(),
            source_hash: "sha256:aa".to_owned(),
            start_secs: 0.1,
            end_secs: 8.2,
            start_frame: 4_410,
            end_frame: 361_620,
            sample_rate_hz: 44_100,
            channels: 2,
            loudness_lufs: None,
            gain_db: -0.1,
            peak: 1.0 / 3.0,
            split: Split::Validation,
            content_hash: format!("sha256:{:064x}", 0xbb),
            tags: vec!["harp".to_owned()],
        }
    }

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_NAME), text).unwrap();
        read_manifest(folder.path()).unwrap_err().to_string()
    }

    fn line(change: impl FnOnce(&mut Piece)) -> String {
        let mut piece = piece("a.wav");
        change(&mut piece);
        serde_json::to_string(&piece).unwrap()
    }

    #[test]
    fn round_trip_is_exact() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = vec![piece("a.wav"), piece("deep/ü.wav")];
        write_manifest(folder.path(), &pieces).unwrap();
        assert_eq!(read_manifest(folder.path()).unwrap(), pieces);
    }

    #[test]
    fn a_manifest_made_by_hand_needs_no_hash() {
        let folder = tempfile::tempdir().unwrap();
        let text = line(|piece| piece.content_hash = String::new());
        std::fs::write(folder.path().join(MANIFEST_NAME), text).unwrap();
        assert_eq!(read_manifest(folder.path()).unwrap()[0].content_hash, "");
    }

    #[test]
    fn unknown_fields_and_blank_lines_are_tolerated() {
        let folder = tempfile::tempdir().unwrap();
        let text = line(|_| ()).replacen('{', r#"{"beats":[1,2],"#, 1);
        std::fs::write(folder.path().join(MANIFEST_NAME), format!("\n{text}\n\n")).unwrap();
        assert_eq!(read_manifest(folder.path()).unwrap(), [piece("a.wav")]);
    }

    #[test]
    fn errors_name_file_line_and_fault() {
        let good = line(|_| ());
        for (text, expected) in [
            (format!("{good}\n{{\"version\":1"), "line 2"),
            (format!("{good}\n{good}\n"), "already on line 1"),
            (
                line(|p| p.path = "../a.wav".to_owned()),
                "inside the folder",
            ),
            (line(|p| p.path = "/a.wav".to_owned()), "inside the folder"),
            (line(|p| p.path = String::new()), "inside the folder"),
            (line(|p| p.version = 2), "newer"),
            (line(|p| p.end_frame = 0), "span no sound"),
            (line(|p| p.sample_rate_hz = 0), "above zero"),
            (
                line(|p| p.content_hash = "sha256:../../x".to_owned()),
                "content_hash",
            ),
            (
                line(|p| p.content_hash = format!("sha256:{}", "0B".repeat(32))),
                "content_hash",
            ),
            (line(|p| p.peak = -1.0), "finite"),
            (
                line(|p| p.content_hash = "sha256:bb".to_owned()),
                "content_hash",
            ),
            (
                line(|p| p.content_hash = format!("sha256:{:é>64}", 0)),
                "content_hash",
            ),
            (
                line(|p| p.content_hash = "0".repeat(64)),
                "64 hexadecimal digits",
            ),
            (
                format!(
                    "{good}\n{}",
                    line(|p| (p.path, p.split) = ("b.wav".to_owned(), Split::Train))
                ),
                "both splits",
            ),
        ] {
            let error = error_of(&text);
            assert!(
                error.contains(expected) && error.contains(MANIFEST_NAME),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_manifest_says_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_manifest(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cut-music"), "{error}");
    }
}
