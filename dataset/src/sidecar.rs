//! Tags in a text file beside a sound: `song.txt` for `song.wav`.

use std::io;
use std::path::Path;

/// Tags from comma- or line-separated text: trimmed, empty ones dropped, the first of doubles kept.
#[must_use]
pub fn parse_tags(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split([',', '\n', '\r']).map(str::trim) {
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// The tags of the sound at `path`; none when there is no sidecar.
pub fn read_tags(path: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_to_string(path.with_extension("txt")) {
        Ok(text) => Ok(parse_tags(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_lines_separate() {
        assert_eq!(
            parse_tags(" piano, slow ,,piano\n\nminor key\r\n"),
            ["piano", "slow", "minor key"]
        );
        assert!(parse_tags("\u{feff} , ").is_empty());
    }

    #[test]
    fn beside_the_sound_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let sound = folder.path().join("a.b.wav");
        assert!(read_tags(&sound).unwrap().is_empty());
        std::fs::write(folder.path().join("a.b.txt"), "harp").unwrap();
        assert_eq!(read_tags(&sound).unwrap(), ["harp"]);
    }
}
