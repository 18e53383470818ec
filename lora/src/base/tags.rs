//! The prompt vocabulary: tags with learned vectors, and what a prompt made of them asks for.
//!
//! A prompt is tags separated by commas: `lofi, piano, tempo:92, key:a-minor`. The style vector is the mean of the tags' vectors.
//! Keys may be written as musicians do (`key:Am`).
//! `tempo:N`, `metre:N` and `bars:N` also set the pulse grid and the length, so any tempo is exact though the vocabulary knows
//! tempos only in steps.

mod changed;
mod keys;

use crate::error::LoraError;

pub(crate) use changed::Change;

/// Slowest and fastest tempo a prompt may ask for, in beats a minute.
pub(crate) const TEMPO_RANGE_BPM: std::ops::RangeInclusive<f64> = 30.0..=300.0;
/// Pulse tokens exist for bars of up to this many beats.
pub(crate) const MOST_BEATS_PER_BAR: usize = 6;
const MOST_BARS: usize = 64;

/// The base's tags in the order of their vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagVocabulary {
    names: Vec<String>,
}

/// What a prompt asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Rows of the tag table whose vectors are averaged.
    pub tags: Vec<usize>,
    /// Exact tempo in beats a minute, if asked for.
    pub tempo_bpm: Option<f64>,
    /// Beats in a bar, if asked for.
    pub beats_per_bar: Option<usize>,
    /// Length in bars, if asked for.
    pub bars: Option<usize>,
}

impl TagVocabulary {
    /// A vocabulary of these names, in the order of the base's tag vectors.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// The tags, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The first tag that no prompt can ask for, and why: prompts are lower-case words with dashes between commas, and numbers where a tempo, a metre
    /// or a length is said.
    pub fn unaskable(&self) -> Option<(&str, String)> {
        self.names.iter().enumerate().find_map(|(row, name)| {
            let read = self.parse(name);
            if read.as_ref().is_ok_and(|prompt| prompt.tags == [row]) {
                return None;
            }
            let twice = self.names[..row].contains(name);
            let (plain, is_one) = (normalise(name), !name.contains(','));
            let reason = match read {
                _ if twice => "it is there twice".to_owned(),
                _ if plain.is_empty() => "it is empty".to_owned(),
                _ if is_one && plain != *name => format!("write it as {plain:?}"),
                Err(LoraError::UnknownTag { advice, .. }) if is_one => advice,
                _ => "a prompt would be read as something else; call it otherwise".to_owned(),
            };
            Some((name.as_str(), reason))
        })
    }

    /// Position of a tag in the table.
    pub fn position(&self, tag: &str) -> Option<usize> {
        self.names.iter().position(|name| name == tag)
    }

    /// Reads a prompt; unknown words are an error that names the nearest tags.
    pub fn parse(&self, prompt: &str) -> Result<Prompt, LoraError> {
        let mut parsed = Prompt::default();
        for word in prompt
            .split(',')
            .map(normalise)
            .filter(|word| !word.is_empty())
        {
            self.parse_word(&word, &mut parsed)?;
        }
        Ok(parsed)
    }

    /// Rows of those tags which the vocabulary knows, and the words it does not know: for tags that come with recordings.
    pub fn known<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> (Vec<usize>, Vec<String>) {
        let (mut rows, mut unknown) = (Vec::new(), Vec::new());
        for tag in tags {
            let word = normalise(tag);
            let mut prompt = Prompt::default();
            match self.parse_word(&word, &mut prompt) {
                Ok(()) => rows.extend(prompt.tags),
                Err(_) => unknown.push(word),
            }
        }
        rows.sort_unstable();
        rows.dedup();
        (rows, unknown)
    }

    /// The prompt without those words that are trigger words of adapters and no tags: an adapter brings its style without being named.
    pub fn without_triggers<'a>(
        &self,
        prompt: &str,
        triggers: impl IntoIterator<Item = &'a str>,
    ) -> String {
        let triggers = triggers.into_iter().flat_map(|words| words.split(','));
        let triggers: Vec<String> = triggers.map(normalise).collect();
        let is_kept = |word: &&str| {
            let word = normalise(word);
            !triggers.contains(&word) || self.parse(&word).is_ok()
        };
        let words: Vec<&str> = prompt.split(',').filter(is_kept).collect();
        words.join(",")
    }

    fn parse_word(&self, word: &str, prompt: &mut Prompt) -> Result<(), LoraError> {
        let row = match word.split_once(':') {
            Some(("tempo", value)) => {
                let tempo = value.trim_end_matches("bpm").trim().parse::<f64>().ok();
                let Some(tempo) = tempo.filter(|tempo| TEMPO_RANGE_BPM.contains(tempo)) else {
                    return Err(
                        self.unknown(word, "a tempo is a number of beats a minute from 30 to 300")
                    );
                };
                once(&mut prompt.tempo_bpm, tempo).map_err(|()| Self::again(word, "tempo"))?;
                self.nearest_tempo(tempo)
            }
            Some(("metre" | "meter", value)) => {
                let beats = value
                    .parse::<usize>()
                    .ok()
                    .filter(|beats| (1..=MOST_BEATS_PER_BAR).contains(beats));
                let Some(beats) = beats else {
                    return Err(self.unknown(word, "a metre is 1 to 6 beats in a bar"));
                };
                once(&mut prompt.beats_per_bar, beats).map_err(|()| Self::again(word, "metre"))?;
                self.position(&format!("metre:{beats}"))
            }
            Some(("bars", value)) => {
                let bars = value
                    .parse::<usize>()
                    .ok()
                    .filter(|bars| (1..=MOST_BARS).contains(bars));
                let Some(bars) = bars else {
                    return Err(self.unknown(word, "a length is 1 to 64 bars"));
                };
                once(&mut prompt.bars, bars).map_err(|()| Self::again(word, "length"))?;
                self.position(word)
            }
            Some(("key", key)) => {
                let row = self.position(word).or_else(|| self.same_key(key));
                let row = row.ok_or_else(|| {
                    self.unknown(word, "a key is such as key:a-minor, key:F#m or key:Bb")
                })?;
                if self.has_other_key(prompt, row) {
                    return Err(Self::again(word, "key"));
                }
                Some(row)
            }
            _ => Some(
                self.position(word)
                    .ok_or_else(|| self.unknown(word, "see --list-tags"))?,
            ),
        };
        if let Some(row) = row.filter(|row| !prompt.tags.contains(row)) {
            prompt.tags.push(row);
        }
        Ok(())
    }

    fn nearest_tempo(&self, tempo_bpm: f64) -> Option<usize> {
        let distance = |name: &str| {
            let bucket = name.strip_prefix("tempo:")?.parse::<f64>().ok()?;
            Some((bucket - tempo_bpm).abs())
        };
        let buckets = self
            .names
            .iter()
            .enumerate()
            .filter_map(|(row, name)| Some((row, distance(name)?)));
        buckets
            .min_by(|left, right| left.1.total_cmp(&right.1))
            .map(|(row, _)| row)
    }

    /// The tag of that key, by whatever name it goes.
    fn same_key(&self, key: &str) -> Option<usize> {
        let asked = keys::read(key)?;
        let is_same = |name: &String| name.strip_prefix("key:").and_then(keys::read) == Some(asked);
        self.names.iter().position(is_same)
    }

    fn has_other_key(&self, prompt: &Prompt, key: usize) -> bool {
        let is_other = |&row: &usize| row != key && self.names[row].starts_with("key:");
        prompt.tags.iter().any(is_other)
    }

    fn again(word: &str, what: &str) -> LoraError {
        LoraError::Setting {
            setting: "prompt",
            value: format!("{word:?}"),
            expected: format!("another {what} stands before it, and a clip has one; take one out"),
        }
    }

    fn unknown(&self, word: &str, advice: &str) -> LoraError {
        let mut near: Vec<(usize, &str)> = self
            .names
            .iter()
            .map(|name| (strsim::levenshtein(word, name), name.as_str()))
            .collect();
        near.sort();
        let nearest = near
            .iter()
            .take(3)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", ");
        LoraError::UnknownTag {
            tag: word.to_owned(),
            nearest,
            advice: advice.to_owned(),
        }
    }
}

/// Takes a value that a prompt may give once, or twice alike.
fn once<T: PartialEq>(place: &mut Option<T>, value: T) -> Result<(), ()> {
    let is_other = place.as_ref().is_some_and(|before| *before != value);
    *place = Some(value);
    if is_other { Err(()) } else { Ok(()) }
}

fn normalise(word: &str) -> String {
    let word = word.trim();
    // A chord's capital M is major; small letters are all that is left below.
    let major = word
        .strip_suffix('M')
        .filter(|key| key.to_lowercase().starts_with("key:"));
    let word = major.map_or_else(|| word.to_owned(), |key| format!("{key} major"));
    word.trim()
        .to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("-")
        // As people write it: "tempo: 92".
        .replace(":-", ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> TagVocabulary {
        let names = [
            "lofi",
            "solo-piano",
            "tempo:90",
            "tempo:100",
            "metre:3",
            "bars:4",
            "key:a-minor",
        ];
        TagVocabulary::new(names.map(str::to_owned).to_vec())
    }

    #[test]
    fn prompt_reads_tags_and_exact_tempo() {
        let prompt = vocabulary()
            .parse(" LoFi, solo piano ,tempo: 96, metre:3,bars:4,")
            .unwrap();
        assert_eq!(prompt.tags, vec![0, 1, 3, 4, 5]);
        assert_eq!(
            (prompt.tempo_bpm, prompt.beats_per_bar, prompt.bars),
            (Some(96.0), Some(3), Some(4))
        );
    }

    #[test]
    fn keys_have_many_names_and_a_clip_has_one() {
        for prompt in ["key:Am", "key: A minor", "key:a-min, key:a-minor"] {
            assert_eq!(vocabulary().parse(prompt).unwrap().tags, [6], "{prompt}");
        }
        let error = |prompt: &str| vocabulary().parse(prompt).unwrap_err().to_string();
        assert!(error("key:h").contains("key:F#m"), "{}", error("key:h"));
        let names = ["key:a-minor", "key:e-minor", "key:c-major"].map(str::to_owned);
        let keys = TagVocabulary::new(names.to_vec());
        assert_eq!(keys.parse("key:CM").unwrap().tags, [2]);
        assert_eq!(keys.parse("key:Em").unwrap().tags, [1]);
        let two = keys.parse("key:em, key:am");
        assert!(two.unwrap_err().to_string().contains("another key"));
    }

    #[test]
    fn trigger_words_of_adapters_need_not_be_tags() {
        let without = |prompt| vocabulary().without_triggers(prompt, ["My Village", "lofi"]);
        assert_eq!(without("my village, lofi,tempo:90"), " lofi,tempo:90");
        assert_eq!(without("other, my-village"), "other");
        let two = vocabulary().without_triggers("drums, loud", ["Drums, loud"]);
        assert_eq!(two, "");
        assert_eq!(without(""), "");
    }

    #[test]
    fn unknown_tag_names_the_nearest() {
        let error = vocabulary().parse("lofy").unwrap_err().to_string();
        assert!(
            error.contains("\"lofy\"") && error.contains("lofi") && error.contains("--list-tags"),
            "{error}"
        );
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for prompt in [
            "tempo:0",
            "tempo:nan",
            "tempo:-3",
            "metre:9",
            "bars:0",
            "bars:x",
            "tempo:90, tempo:140",
            "metre:3, metre:4",
            "bars:2, bars:4",
        ] {
            assert!(vocabulary().parse(prompt).is_err(), "{prompt}");
        }
    }

    #[test]
    fn a_tag_that_no_prompt_can_ask_for_is_found() {
        assert_eq!(vocabulary().unaskable(), None);
        let reason = |tags: &[&str]| {
            let names = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let vocabulary = TagVocabulary::new(names);
            let found = vocabulary.unaskable();
            found.map(|(tag, reason)| (tag.to_owned(), reason))
        };
        let because = |tags: &[&str]| reason(tags).unwrap().1;
        assert!(because(&["lofi", "My Band"]).contains("\"my-band\""));
        assert!(because(&[""]).contains("empty"));
        assert!(because(&["lofi", "piano", "lofi"]).contains("twice"));
        assert!(because(&["tempo:fast"]).contains("30 to 300"));
        assert!(because(&["metre:7"]).contains("1 to 6"));
        assert!(because(&["lofi, piano"]).contains("otherwise"));
        assert_eq!(reason(&["a\u{4e00}", "key:a-minor", "tempo:92.5"]), None);
    }

    #[test]
    fn tags_of_recordings_are_sorted_into_known_and_unknown() {
        let (rows, unknown) = vocabulary().known(["grandma's song", "Lofi", "tempo:91"]);
        assert_eq!(
            (rows, unknown),
            (vec![0, 2], vec!["grandma's-song".to_owned()])
        );
    }
}
