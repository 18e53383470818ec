//! Names of pieces: the recording's own, made unique.

use std::collections::BTreeMap;
use std::path::Path;

use dataset::ContentHasher;

/// The name of a piece's file; pieces are numbered from 1.
pub(crate) fn piece_name(stem: &str, number: usize) -> String {
    format!("{stem}-{number:04}.wav")
}

/// Whether `name` could be a piece of `stem`.
pub(crate) fn is_piece_name(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".wav"))
        .is_some_and(|digits| digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The stem of a piece's file name.
pub(crate) fn stem_of(name: &str) -> Option<&str> {
    let (stem, _) = name.strip_suffix(".wav")?.rsplit_once('-')?;
    is_piece_name(name, stem).then_some(stem)
}

/// A stem for each source, by its label (its path inside the input).
///
/// `taken` holds the stems of earlier runs. A stem that occurs twice, compared without case
/// because some file systems do, gets eight digits of the label's hash: `song-1f2e3d4c`.
pub(crate) fn stems<'a>(
    labels: impl IntoIterator<Item = &'a str>,
    taken: &[String],
) -> BTreeMap<String, String> {
    let plain: Vec<(&str, String)> = labels
        .into_iter()
        .map(|label| (label, plain_stem(label)))
        .collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for stem in taken.iter().chain(plain.iter().map(|(_, stem)| stem)) {
        *counts.entry(stem.to_lowercase()).or_default() += 1;
    }
    plain
        .into_iter()
        .map(|(label, stem)| {
            let is_unique = counts.get(&stem.to_lowercase()) == Some(&1);
            let stem = if is_unique {
                stem
            } else {
                format!("{stem}-{}", short_hash(label))
            };
            (label.to_owned(), stem)
        })
        .collect()
}

/// The file's name without extension, without what some file system refuses, at a length that
/// leaves room for number and hash below 255 bytes.
fn plain_stem(label: &str) -> String {
    const MAX_BYTES: usize = 200;
    let stem = Path::new(label)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let mut clean: String = stem
        .chars()
        .map(|c| {
            if c.is_control() || r#"<>:"/\|?*"#.contains(c) {
                '_'
            } else {
                c
            }
        })
        .collect();
    let end = (0..=clean.len().min(MAX_BYTES))
        .rev()
        .find(|&end| clean.is_char_boundary(end))
        .unwrap_or(0);
    clean.truncate(end);
    // A leading dot would hide the pieces; trailing dots and blanks are lost on some systems.
    let clean = clean.trim_matches(['.', ' ']);
    if clean.is_empty() {
        "song".to_owned()
    } else {
        clean.to_owned()
    }
}

fn short_hash(label: &str) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(label.as_bytes());
    hasher
        .finish()
        .trim_start_matches("sha256:")
        .chars()
        .take(8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_stems_stay_plain_and_doubles_are_told_apart() {
        let labels = ["in/a/song.wav", "in/b/Song.flac", "in/歌.mp3", "in/old.wav"];
        let stems = stems(labels, &["old".to_owned()]);
        assert_eq!(stems["in/歌.mp3"], "歌");
        for label in ["in/a/song.wav", "in/b/Song.flac", "in/old.wav"] {
            assert!(stems[label].contains('-'), "{}", stems[label]);
        }
        let all: std::collections::BTreeSet<String> =
            stems.values().map(|s| s.to_lowercase()).collect();
        assert_eq!(all.len(), labels.len());
    }

    #[test]
    fn names_are_legal_everywhere() {
        assert_eq!(plain_stem("in/..what?.wav"), "what_");
        assert_eq!(plain_stem("in/ .wav"), "song");
        let long = format!("in/{}.wav", "é".repeat(150));
        assert!(plain_stem(&long).len() <= 200);
    }

    #[test]
    fn pieces_are_recognised() {
        assert!(is_piece_name(&piece_name("a-b", 7), "a-b"));
        assert!(is_piece_name(&piece_name("a", 12_345), "a"));
        assert!(!is_piece_name("a-0001-0001.wav", "a"));
        assert_eq!(stem_of("a-0001-0002.wav"), Some("a-0001"));
        assert_eq!(stem_of("manifest.jsonl"), None);
    }
}
