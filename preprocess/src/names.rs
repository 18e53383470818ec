//! Names of pieces: the recording's own, made unique.

use std::collections::{BTreeMap, BTreeSet};
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

/// A stem for each source, given as its label (its path inside the input) and the stems of its
/// own earlier pieces, which it may take again.
///
/// `taken` holds the stems of all earlier runs. A stem that occurs twice, compared without case
/// because some file systems do, gets eight digits of the label's hash: `song-1f2e3d4c`.
pub(crate) fn stems(songs: &[(&str, BTreeSet<String>)], taken: &BTreeSet<String>) -> Vec<String> {
    let plain: Vec<String> = songs.iter().map(|(label, _)| plain_stem(label)).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for stem in &plain {
        *counts.entry(stem.to_lowercase()).or_default() += 1;
    }
    let mut given: BTreeSet<String> = taken.iter().map(|stem| stem.to_lowercase()).collect();
    let mut stems = Vec::with_capacity(songs.len());
    for ((label, own), plain) in songs.iter().zip(&plain) {
        let own: BTreeSet<String> = own.iter().map(|stem| stem.to_lowercase()).collect();
        let is_alone = counts.get(&plain.to_lowercase()) == Some(&1);
        let first = is_alone.then(|| plain.clone());
        // A stem may look like another one with a hash: then more of them are tried.
        let hashed = (0..).map(|attempt| format!("{plain}-{}", short_hash(label, attempt)));
        let mut candidates = first.into_iter().chain(hashed);
        let stem = candidates.find(|stem| {
            let lower = stem.to_lowercase();
            own.contains(&lower) || !given.contains(&lower)
        });
        let stem = stem.unwrap_or_else(|| plain.clone());
        given.insert(stem.to_lowercase());
        stems.push(stem);
    }
    stems
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

fn short_hash(label: &str, attempt: u32) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(label.as_bytes());
    if attempt > 0 {
        // No label holds a zero byte.
        hasher.update(&[0]);
        hasher.update(&attempt.to_le_bytes());
    }
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

    fn unique_stems(labels: &[&str], taken: &[&str]) -> Vec<String> {
        let songs: Vec<_> = labels
            .iter()
            .map(|label| (*label, BTreeSet::new()))
            .collect();
        stems(
            &songs,
            &taken.iter().map(|stem| (*stem).to_owned()).collect(),
        )
    }

    #[test]
    fn unique_stems_stay_plain_and_doubles_are_told_apart() {
        let labels = ["in/a/song.wav", "in/b/Song.flac", "in/歌.mp3", "in/old.wav"];
        let stems = unique_stems(&labels, &["old"]);
        assert_eq!(stems[2], "歌");
        for index in [0, 1, 3] {
            assert!(stems[index].contains('-'), "{}", stems[index]);
        }
        let all: BTreeSet<String> = stems.iter().map(|s| s.to_lowercase()).collect();
        assert_eq!(all.len(), labels.len());
    }

    #[test]
    fn a_stem_that_looks_like_one_with_a_hash_is_told_apart() {
        let hashed = unique_stems(&["in/song.wav"], &["song"]).remove(0);
        assert!(hashed.starts_with("song-"));
        let again = unique_stems(&["in/song.wav"], &["song", &hashed]).remove(0);
        assert!(again.starts_with("song-") && again != hashed, "{again}");
        let named_so = format!("in/{hashed}.wav");
        let stems = unique_stems(&["in/song.wav", "in/b/song.wav", &named_so], &[]);
        assert_eq!(stems.iter().collect::<BTreeSet<_>>().len(), 3, "{stems:?}");
    }

    #[test]
    fn a_song_takes_its_own_earlier_stem_again() {
        let own = BTreeSet::from(["a".to_owned()]);
        let taken = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let songs = [("in/a.wav", own), ("in/b.wav", BTreeSet::new())];
        let stems = stems(&songs, &taken);
        assert_eq!(stems[0], "a");
        assert!(stems[1].starts_with("b-"));
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
