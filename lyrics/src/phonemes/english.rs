//! English to phonemes (the reference's `g2p/g2p/english.py` and `text_tokenizers.py`, and phonemizer 3.3.0 below it).
//!
//! Text is normalised, cut at its marks into chunks, spoken by espeak-ng, and put together again around the marks.

mod espeak;
mod normalize;
mod number_words;
mod punctuation;

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

pub use espeak::{ESPEAK_VERSION, EspeakNg};

use crate::LyricsError;
use normalize::normalize;
use punctuation::Punctuated;

/// Whoever says in IPA how English is spoken: espeak-ng, or a record of it.
pub trait Voice {
    /// The phonemes of each of `chunks`, as `espeak-ng -v en-us --ipa --sep=_` writes them: `_` between phonemes, a space
    /// between words. Chunks hold words without punctuation, and no line breaks.
    ///
    /// # Errors
    /// When the voice cannot be had.
    fn speak(&mut self, chunks: &[String]) -> Result<Vec<String>, LyricsError>;
}

/// English phonemes from a voice; what was spoken once is remembered.
pub(crate) struct English {
    voice: Box<dyn Voice>,
    spoken: HashMap<String, String>,
}

impl English {
    pub(crate) fn new(voice: Box<dyn Voice>) -> Self {
        Self {
            voice,
            spoken: HashMap::new(),
        }
    }

    /// Has all of `texts` spoken at once, since every call of the voice may start a program.
    pub(crate) fn prepare<'a>(
        &mut self,
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<(), LyricsError> {
        let mut chunks: Vec<String> = texts.flat_map(|text| punctuated(text).chunks).collect();
        chunks.retain(|chunk| !self.spoken.contains_key(chunk));
        chunks.sort_unstable();
        chunks.dedup();
        if chunks.is_empty() {
            return Ok(());
        }
        let spoken = self.voice.speak(&chunks)?;
        self.spoken.extend(chunks.into_iter().zip(spoken));
        Ok(())
    }

    /// The phonemes of a text with at least one letter, separated by `|`.
    pub(crate) fn phonemes(&mut self, text: &str) -> Result<String, LyricsError> {
        self.prepare(std::iter::once(text))?;
        let punctuated = punctuated(text);
        let spoken = punctuated.chunks.iter().map(|chunk| {
            let line = self
                .spoken
                .get(chunk)
                .map(String::as_str)
                .unwrap_or_default();
            words(line)
        });
        let mut phonemes = around_marks(&punctuated.restore(spoken));
        if phonemes.ends_with(|last| ENDS_OF_WORDS.contains(last)) {
            phonemes.push_str("|_");
        }
        Ok(respell(&phonemes))
    }
}

/// A line that ends in one of these ends a word (`english_to_ipa`).
const ENDS_OF_WORDS: &str = "p⁼ʰmftnlkxʃs`ɹaoəɛɪeɑʊŋiuɥwæjː";
const MARKS: &str = ",.?!;:'…";

fn punctuated(text: &str) -> Punctuated {
    Punctuated::split(&tidy(&normalize(text)))
}

/// ASCII marks for Chinese ones, nothing but words and marks, no space around marks (`TextTokenizer.__call__`).
fn tidy(text: &str) -> String {
    static NEITHER_WORD_NOR_MARK: LazyLock<Regex> = LazyLock::new(|| {
        regex(&format!(
            r"[^{}{},.?!;:'…]",
            crate::python::WORD_CLASS,
            crate::python::SPACE_CLASS
        ))
    });
    static AROUND_MARK: LazyLock<Regex> = LazyLock::new(|| {
        regex(&format!(
            r"[{0}]*([,.?!;:'…])[{0}]*",
            crate::python::SPACE_CLASS
        ))
    });
    static SPACES: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!("[{}]+", crate::python::SPACE_CLASS)));
    let text = ascii_marks(crate::python::strip(text));
    let text = NEITHER_WORD_NOR_MARK.replace_all(&text, "");
    let text = AROUND_MARK.replace_all(&text, "$1");
    SPACES.replace_all(&text, " ").into_owned()
}

/// Full-width and typographic marks as the ones that have tokens (`convert_chinese_punctuation`).
pub(super) fn ascii_marks(text: &str) -> String {
    const MARKS: [(&str, &str); 13] = [
        ("，", ","),
        ("。", "."),
        ("！", "!"),
        ("？", "?"),
        ("；", ";"),
        ("：", ":"),
        ("、", ","),
        ("‘", "'"),
        ("’", "'"),
        ("⋯", "…"),
        ("···", "…"),
        ("・・・", "…"),
        ("...", "…"),
    ];
    MARKS
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// One chunk as espeak-ng wrote it, stress and flags of foreign languages removed, `|` between phonemes and `|_|` between
/// words (`EspeakBackend._postprocess_line` of phonemizer).
fn words(spoken: &str) -> String {
    static SEPARATORS: LazyLock<Regex> = LazyLock::new(|| regex("_+"));
    static LANGUAGE_FLAGS: LazyLock<Regex> = LazyLock::new(|| regex(r"\(.+?\)"));
    let line = crate::python::strip(spoken)
        .replace('\n', " ")
        .replace("  ", " ");
    let line = SEPARATORS.replace_all(&line, "_").replace("_ ", " ");
    let line = LANGUAGE_FLAGS.replace_all(&line, "");
    let words: Vec<String> = line
        .split(' ')
        .map(|word| {
            crate::python::strip(word)
                .replace(['ˈ', 'ˌ', '\'', '-'], "")
                .replace('_', "|")
        })
        .collect();
    words.join("|_|")
}

/// `|` around marks, and no two of it.
pub(super) fn around_marks(phonemes: &str) -> String {
    static SEPARATORS: LazyLock<Regex> = LazyLock::new(|| regex(r"\|+"));
    let mut separated = String::with_capacity(phonemes.len() + 8);
    for character in phonemes.chars() {
        if MARKS.contains(character) {
            separated.extend(['|', character, '|']);
        } else {
            separated.push(character);
        }
    }
    SEPARATORS
        .replace_all(&separated, "|")
        .trim_end_matches('|')
        .to_owned()
}

/// Phonemes that espeak-ng writes otherwise than the vocabulary does (`_special_map`).
fn respell(phonemes: &str) -> String {
    const SPELLINGS: [(&str, &str); 13] = [
        (r"t\|ɹ", "tɹ"),
        (r"d\|ɹ", "dɹ"),
        (r"t\|s", "ts"),
        (r"d\|z", "dz"),
        (r"ɪ\|ɹ", "ɪɹ"),
        ("ɐ", "ɚ"),
        ("ᵻ", "ɪ"),
        ("əl", "l"),
        ("x", "k"),
        ("ɬ", "l"),
        ("ʔ", "t"),
        ("n̩", "n"),
        (r"oː\|ɹ", "oːɹ"),
    ];
    static RULES: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
        SPELLINGS
            .iter()
            .map(|(from, to)| {
                (
                    regex(&format!("(^|[_|]){from}([_|]|$)")),
                    format!("${{1}}{to}${{2}}"),
                )
            })
            .collect()
    });
    let mut respelled = phonemes.to_owned();
    for (rule, replacement) in RULES.iter() {
        // A match takes the separator that the next one would begin with, hence again.
        while rule.is_match(&respelled) {
            respelled = rule.replace_all(&respelled, replacement).into_owned();
        }
    }
    respelled
}

/// A regular expression that is known to be one.
#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and each is compiled in the tests"
)]
pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_espeak_writes_becomes_phonemes() {
        assert_eq!(words("h_ə_l_ˈoʊ w_ˈɜː_l_d\n"), "h|ə|l|oʊ|_|w|ɜː|l|d");
        assert_eq!(words("a__p_ (ko)_d_ˈo_(en-us) x"), "a|p|_||d|o||_|x");
        assert_eq!(words(""), "");
        assert_eq!(around_marks("|a|,||b!|"), "a|,|b|!".replacen("a", "|a", 1));
        assert_eq!(respell("t|ɹ|t|ɹ|_|x|ɐ|oː|ɹ"), "tɹ|tɹ|_|k|ɚ|oːɹ");
    }

    #[test]
    fn only_words_and_marks_are_spoken() {
        assert_eq!(
            tidy(" “Hey” ,  you（x）——naïve…  ok ... "),
            "Hey,youxnaïve…ok…"
        );
        assert_eq!(tidy("a\u{301}b c_d\u{1c}e"), "ab c_d e");
    }
}
