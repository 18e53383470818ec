//! What the tags of a recording become when it is played faster or slower, higher or lower.

use super::{TEMPO_RANGE_BPM, TagVocabulary, normalise};

/// Pitch class of a key's letter, and what may follow it.
const LETTERS: [(&str, i32); 7] = [
    ("c", 0),
    ("d", 2),
    ("e", 4),
    ("f", 5),
    ("g", 7),
    ("a", 9),
    ("b", 11),
];

/// How a recording is changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    /// Tempo after by tempo before.
    pub(crate) tempo: f64,
    /// Shift of pitch.
    pub(crate) semitones: i32,
}

impl TagVocabulary {
    /// Rows of the tags that a recording with these ones has after a change: the nearest tempo, the key moved. A tempo or a key that the
    /// vocabulary lacks is left out, as are words that it does not know.
    pub(crate) fn known_after<'a>(
        &self,
        tags: impl IntoIterator<Item = &'a str>,
        change: Change,
    ) -> Vec<usize> {
        let changed: Vec<String> = tags
            .into_iter()
            .filter_map(|tag| self.changed(normalise(tag), change))
            .collect();
        self.known(changed.iter().map(String::as_str)).0
    }

    fn changed(&self, word: String, change: Change) -> Option<String> {
        match word.split_once(':') {
            Some(("tempo", tempo)) => {
                let tempo = tempo.trim_end_matches("bpm").trim().parse::<f64>().ok()?;
                let tempo = tempo * change.tempo;
                TEMPO_RANGE_BPM
                    .contains(&tempo)
                    .then(|| format!("tempo:{tempo}"))
            }
            Some(("key", key)) if change.semitones != 0 => {
                let (pitch_class, mode) = read_key(key)?;
                let moved = ((pitch_class + change.semitones).rem_euclid(12), mode);
                // By whichever of its names the vocabulary has the key.
                let is_moved =
                    |name: &&String| name.strip_prefix("key:").and_then(read_key) == Some(moved);
                self.names().iter().find(is_moved).cloned()
            }
            _ => Some(word),
        }
    }
}

/// Pitch class, 0 to 11, and mode of a key such as `a-flat-major`.
fn read_key(key: &str) -> Option<(i32, &str)> {
    let (tonic, mode) = key.rsplit_once('-')?;
    let (letter, raised) = match tonic.split_once('-') {
        None => (tonic, 0),
        Some((letter, "sharp")) => (letter, 1),
        Some((letter, "flat")) => (letter, -1),
        Some(_) => return None,
    };
    let (_, pitch_class) = LETTERS.into_iter().find(|(name, _)| *name == letter)?;
    Some(((pitch_class + raised).rem_euclid(12), mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tempo_and_key_follow_and_the_rest_stays() {
        let names = [
            "lofi",
            "tempo:90",
            "tempo:100",
            "key:a-minor",
            "key:b-flat-minor",
            "key:g-sharp-minor",
            "metre:3",
        ];
        let vocabulary = TagVocabulary::new(names.map(str::to_owned).to_vec());
        let after = |tempo, semitones| {
            let tags = ["LoFi", "tempo:92bpm", "key:A minor", "metre:3", "nobody"];
            vocabulary.known_after(tags, Change { tempo, semitones })
        };
        assert_eq!(after(1.0, 0), [0, 1, 3, 6]);
        assert_eq!(after(1.08, 0), [0, 2, 3, 6]);
        assert_eq!(after(1.0, 1), [0, 1, 4, 6]);
        assert_eq!(after(1.0, -1), [0, 1, 5, 6]);
        // A key that the base does not know, and a tempo that nothing has.
        assert_eq!(after(1.0, 2), [0, 1, 6]);
        assert_eq!(after(0.3, 0), [0, 3, 6]);
    }

    #[test]
    fn keys_are_read_by_all_their_names() {
        assert_eq!(read_key("c-flat-major"), Some((11, "major")));
        assert_eq!(read_key("b-sharp-minor"), Some((0, "minor")));
        assert_eq!(read_key("a-sharp-minor"), read_key("b-flat-minor"));
        for bad in ["a", "h-minor", "a-double-flat-minor"] {
            assert_eq!(read_key(bad), None, "{bad}");
        }
    }
}
