//! LRC files: lines of lyrics, each with the time at which it begins.

mod encoding;
mod reference;
mod tolerant;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::LyricsError;

/// The largest file that is read as lyrics; real ones have a few thousand bytes.
pub const MAX_LRC_BYTES: u64 = 1 << 20;

/// How the lines of a file are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// What files in the wild contain: any number of digits, several times on a line, tags, word times, an offset.
    /// Lines come out in the order of their times.
    #[default]
    Tolerant,
    /// The fixed columns of the reference (`parse_lyrics` in `infer/infer_utils.py`): the time is the second to the
    /// ninth character, the text begins at the eleventh, and lines stay in the file's order. For comparisons.
    Reference,
}

/// One line of lyrics.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedLine {
    /// When it begins, in seconds from the start of the song.
    pub time_secs: f64,
    /// What is sung; empty where the file only marks a moment, such as the end of the line before.
    pub text: String,
}

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number in the file, from 1.
    pub number: usize,
    /// The line, at most [`BadLine::MAX_CHARACTERS`] of it.
    pub text: String,
    /// Why nothing could be made of it.
    pub reason: &'static str,
}

impl BadLine {
    /// How much of a bad line is kept.
    pub const MAX_CHARACTERS: usize = 80;

    fn new(number: usize, line: &str, reason: &'static str) -> Self {
        let text = line.chars().take(Self::MAX_CHARACTERS).collect();
        Self {
            number,
            text,
            reason,
        }
    }
}

/// What an LRC file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lrc {
    /// The lines with a time.
    pub lines: Vec<TimedLine>,
    /// Tags of the head such as `ti` (title) and `ar` (artist), keys in lower case, in the file's order.
    pub tags: Vec<(String, String)>,
    /// Lines that were left out, and why.
    pub bad_lines: Vec<BadLine>,
    /// Lines that the file's offset would move before the start, and that begin there instead.
    pub moved_to_start: usize,
}

/// Reads the LRC file `path` tolerantly; bad lines are named in a warning and in [`Lrc::bad_lines`].
///
/// UTF-8 with or without its mark, and UTF-16 with its mark, are understood.
///
/// # Errors
/// When the file cannot be read, is larger than [`MAX_LRC_BYTES`], is in another encoding, or holds no line with a time.
pub fn read_lrc(path: impl AsRef<Path>) -> Result<Lrc, LyricsError> {
    let path = path.as_ref();
    let read = |source| LyricsError::Read {
        path: path.to_owned(),
        source,
    };
    let lrc = parse_lrc_bytes(&read_at_most(path, MAX_LRC_BYTES).map_err(read)?, path)?;
    for bad in &lrc.bad_lines {
        tracing::warn!(
            "{}: line {} is left out: {} ({:?})",
            path.display(),
            bad.number,
            bad.reason,
            bad.text
        );
    }
    if lrc.moved_to_start > 0 {
        tracing::warn!(
            "{}: its offset would move {} lines before the start; they begin there",
            path.display(),
            lrc.moved_to_start
        );
    }
    Ok(lrc)
}

/// A file's bytes, and of one that is larger than `limit` (a device, say, which has no size) one more than that.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads an LRC file's bytes tolerantly; `path` is named in errors alone.
///
/// # Errors
/// As [`read_lrc`].
pub fn parse_lrc_bytes(bytes: &[u8], path: &Path) -> Result<Lrc, LyricsError> {
    if bytes.len() as u64 > MAX_LRC_BYTES {
        return Err(LyricsError::TooLarge {
            path: path.to_owned(),
            limit: MAX_LRC_BYTES,
        });
    }
    let text = encoding::decode(bytes).map_err(|damage| LyricsError::Encoding {
        path: path.to_owned(),
        found: damage.found,
        remedy: damage.remedy,
    })?;
    let lrc = parse_lrc(&text, Reading::Tolerant);
    if lrc.lines.is_empty() {
        let detail = no_lines(&lrc, &text);
        return Err(LyricsError::NoLines {
            path: path.to_owned(),
            detail,
        });
    }
    Ok(lrc)
}

/// Understands the text of an LRC file; what cannot be understood is in [`Lrc::bad_lines`].
#[must_use]
pub fn parse_lrc(text: &str, reading: Reading) -> Lrc {
    match reading {
        Reading::Tolerant => tolerant::parse(text),
        Reading::Reference => reference::parse(text),
    }
}

fn no_lines(lrc: &Lrc, text: &str) -> String {
    match lrc.bad_lines.first() {
        _ if text.trim().is_empty() => "it is empty".to_owned(),
        None => format!("{} tags and nothing else", lrc.tags.len()),
        Some(first) => format!(
            "{} bad lines; the first is line {}: {}",
            lrc.bad_lines.len(),
            first.number,
            first.reason
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song.lrc");
        let error = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let text = read_lrc(&path).unwrap_err().to_string();
            assert!(text.contains("song.lrc"), "{text}");
            text
        };
        assert!(error(b"").contains("it is empty"));
        assert!(error(b"[ti:Song]\n[ar:Singer]").contains("2 tags and nothing else"));
        assert!(error(b"just words\nmore").contains("2 bad lines; the first is line 1"));
        assert!(error(&[b'x'; MAX_LRC_BYTES as usize + 1]).contains("more than 1048576 bytes"));
        // The same words in GB18030, Shift-JIS and Latin-1, and letters in UTF-16 without its mark.
        for (bytes, encoding) in [
            (&b"[00:01.00]\xc4\xe3\xba\xc3"[..], "GB18030"),
            (b"[00:01.00]\x82\xa0\x82\xa2", "GB18030"),
            (b"[00:01.00]caf\xe9", "WINDOWS-1252"),
            (b"[\x000\x000\x00:\x000\x001\x00]\x00a\x00", "UTF-16LE"),
            (b"\x00[\x000\x000\x00:\x000\x001\x00]\x00a", "UTF-16BE"),
        ] {
            let text = error(bytes);
            assert!(
                text.contains("not UTF-8") && text.contains(&format!("iconv -f {encoding} ")),
                "{encoding}: {text}"
            );
        }
        let binary = error(b"RIFF\x00\x01\x02\x00\x00\x00\x00");
        assert!(
            !binary.contains("iconv") && binary.contains("no text"),
            "{binary}"
        );
        #[cfg(unix)]
        assert!(
            read_lrc("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("more than")
        );
        let missing = read_lrc(folder.path().join("none.lrc"))
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("none.lrc") && missing.contains("cannot be read"),
            "{missing}"
        );
    }
}
