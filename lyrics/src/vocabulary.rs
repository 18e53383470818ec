//! The reference's phonemes and their numbers.

use std::collections::HashMap;
use std::sync::LazyLock;

/// `g2p/g2p/vocab.json` of ASLP-lab/DiffRhythm (Apache-2.0), unchanged.
const JSON: &str = include_str!("../data/vocabulary.json");

/// Phonemes by name; a token is a phoneme's number plus one.
#[derive(Debug)]
pub struct Vocabulary {
    numbers: HashMap<String, u16>,
}

impl Vocabulary {
    /// How many numbers there are; tokens reach from 0 (no lyrics) to this.
    pub const SIZE: u16 = 363;
    /// The token of a comma.
    pub const COMMA: u16 = 1;
    /// The token of a period, which ends every line.
    pub const PERIOD: u16 = 2;

    /// The reference's vocabulary.
    #[must_use]
    pub fn reference() -> &'static Self {
        static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
            let mut file: HashMap<String, HashMap<String, u16>> =
                serde_json::from_str(JSON).unwrap_or_default();
            let numbers = file.remove("vocab").unwrap_or_default();
            Vocabulary { numbers }
        });
        &VOCABULARY
    }

    /// The tokens of phonemes that are separated by `|`; what the vocabulary lacks is dropped, as the reference drops it.
    #[must_use]
    pub fn tokens(&self, phonemes: &str) -> Vec<u16> {
        let phonemes = phonemes.split('\t').next().unwrap_or_default();
        phonemes
            .split('|')
            .filter_map(|phoneme| self.numbers.get(phoneme))
            .map(|number| number + 1)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_whole() {
        let vocabulary = Vocabulary::reference();
        assert_eq!(
            vocabulary.numbers.values().max(),
            Some(&(Vocabulary::SIZE - 1))
        );
        assert_eq!(vocabulary.numbers.len(), usize::from(Vocabulary::SIZE));
        // Two phonemes look the same: the letter with its cedilla, and the letter and a cedilla.
        assert_eq!(vocabulary.tokens("\u{e7}|c\u{327}"), [69, 324]);
        assert_eq!(vocabulary.tokens(",|.|?|nonsense|…"), [1, 2, 3, 363]);
        assert_eq!(vocabulary.tokens("h|ə\tl"), [42, 58]);
    }
}
