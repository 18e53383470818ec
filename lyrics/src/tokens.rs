//! Lines of lyrics to tokens (`chn_eng_g2p` in the reference's `g2p/g2p_generation.py`, `CNENTokenizer` in its `infer_utils.py`).

use std::path::PathBuf;

use crate::phonemes::chinese::Chinese;
use crate::phonemes::english::{English, EspeakNg, Voice};
use crate::segments::{Language, Segment, split_languages};
use crate::{LyricsError, TimedLine, TimedTokens, Vocabulary};

/// Whoever turns a line into tokens: [`Tokenizer`], or a stand-in.
pub trait LineTokenizer {
    /// The tokens of a line, from 1 to [`Vocabulary::SIZE`], without the period at its end.
    ///
    /// # Errors
    /// When the line has no letters, or something that it needs is missing.
    fn tokens(&mut self, text: &str) -> Result<Vec<u16>, LyricsError>;
}

/// Where programs and data for lyrics are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerSettings {
    /// The program espeak-ng; `None` looks at the variable `ESPEAK_NG` and on PATH.
    pub espeak: Option<PathBuf>,
    /// DiffRhythm's folder `g2p/sources`, for Chinese.
    pub chinese_folder: Option<PathBuf>,
}

/// The reference's tokenizer for English and Chinese. Programs and data are looked for when a text needs them.
pub struct Tokenizer {
    settings: TokenizerSettings,
    english: Option<English>,
    chinese: Option<Chinese>,
}

/// Lines as tokens, and those of them that are not sung.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizedLines {
    /// A line each, in the order they came.
    pub lines: Vec<TimedTokens>,
    /// Lines with text but without letters, such as `...` or `123`; the reference stops at these.
    pub without_letters: Vec<TimedLine>,
}

impl Tokenizer {
    /// A tokenizer that has not looked for anything yet.
    #[must_use]
    pub fn new(settings: TokenizerSettings) -> Self {
        Self {
            settings,
            english: None,
            chinese: None,
        }
    }

    /// The same with another voice for English.
    #[must_use]
    pub fn with_voice(mut self, voice: Box<dyn Voice>) -> Self {
        self.english = Some(English::new(voice));
        self
    }

    /// The same with Chinese of parts that are at hand.
    #[must_use]
    pub fn with_chinese(mut self, chinese: Chinese) -> Self {
        self.chinese = Some(chinese);
        self
    }

    /// The tokens of a line, from 1 to [`Vocabulary::SIZE`].
    ///
    /// # Errors
    /// When the line has no letters, espeak-ng or the Chinese data is missing and needed, or either fails.
    pub fn tokens(&mut self, text: &str) -> Result<Vec<u16>, LyricsError> {
        Ok(Vocabulary::reference().tokens(&self.phonemes(text)?))
    }

    /// The phonemes of a line, each with `|` behind it, as the reference writes them.
    ///
    /// # Errors
    /// As [`Self::tokens`].
    pub fn phonemes(&mut self, text: &str) -> Result<String, LyricsError> {
        let segments = split_languages(text);
        let mut phonemes = String::new();
        for segment in &segments {
            let spoken = match segment.language {
                Some(Language::English) => self.english()?.phonemes(&segment.text)?,
                Some(Language::Chinese) => self.chinese(&segment.text)?.phonemes(&segment.text)?,
                None => {
                    return Err(LyricsError::NoLetters {
                        text: text.to_owned(),
                    });
                }
            };
            phonemes.push_str(&spoken);
            phonemes.push('|');
        }
        // A line that ends in English does not end in a space between words.
        if let (
            Some(Segment {
                language: Some(Language::English),
                ..
            }),
            Some(stem),
        ) = (segments.last(), phonemes.strip_suffix("_|"))
        {
            phonemes.truncate(stem.len());
        }
        Ok(phonemes)
    }

    /// The tokens of all lines of a song, English spoken in one go. Lines without letters become marks that are not sung.
    ///
    /// # Errors
    /// As [`Self::tokens`], but for lines without letters.
    pub fn tokenize(&mut self, lines: &[TimedLine]) -> Result<TokenizedLines, LyricsError> {
        let english: Vec<String> = lines
            .iter()
            .flat_map(|line| split_languages(&line.text))
            .filter(|segment| segment.language == Some(Language::English))
            .map(|segment| segment.text)
            .collect();
        if !english.is_empty() {
            self.english()?
                .prepare(english.iter().map(String::as_str))?;
        }
        tokenize(lines, self)
    }

    fn english(&mut self) -> Result<&mut English, LyricsError> {
        let english = match self.english.take() {
            Some(english) => english,
            None => English::new(Box::new(EspeakNg::find(self.settings.espeak.as_deref())?)),
        };
        Ok(self.english.insert(english))
    }

    fn chinese(&mut self, text: &str) -> Result<&mut Chinese, LyricsError> {
        let chinese = match (self.chinese.take(), &self.settings.chinese_folder) {
            (Some(chinese), _) => chinese,
            #[cfg(feature = "polyphones-onnx")]
            (None, Some(folder)) => Chinese::open(folder)?,
            _ => {
                return Err(LyricsError::ChineseDataUnset {
                    text: text.to_owned(),
                });
            }
        };
        Ok(self.chinese.insert(chinese))
    }
}

impl LineTokenizer for Tokenizer {
    fn tokens(&mut self, text: &str) -> Result<Vec<u16>, LyricsError> {
        Self::tokens(self, text)
    }
}

fn tokenize(
    lines: &[TimedLine],
    tokenizer: &mut dyn LineTokenizer,
) -> Result<TokenizedLines, LyricsError> {
    let mut tokenized = TokenizedLines {
        lines: Vec::with_capacity(lines.len()),
        without_letters: Vec::new(),
    };
    for line in lines {
        let tokens = match tokenizer.tokens(&line.text) {
            Ok(tokens) => Some(tokens),
            Err(LyricsError::NoLetters { .. }) => None,
            Err(error) => return Err(error),
        };
        if tokens.is_none() && !line.text.is_empty() {
            tokenized.without_letters.push(line.clone());
        }
        tokenized.lines.push(TimedTokens {
            time_secs: line.time_secs,
            tokens,
        });
    }
    Ok(tokenized)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Says one vowel for every word, and counts how often it is asked.
    struct Vowels(Rc<Cell<usize>>);

    impl Voice for Vowels {
        fn speak(&mut self, chunks: &[String]) -> Result<Vec<String>, LyricsError> {
            self.0.set(self.0.get() + 1);
            Ok(chunks
                .iter()
                .map(|chunk| vec!["ˈæ"; chunk.split(' ').count()].join(" "))
                .collect())
        }
    }

    #[test]
    fn a_song_is_spoken_in_one_go_and_lines_without_letters_are_marks() {
        let asked = Rc::new(Cell::new(0));
        let mut tokenizer = Tokenizer::new(TokenizerSettings::default())
            .with_voice(Box::new(Vowels(asked.clone())));
        let lines: Vec<TimedLine> = ["Oh yeah.", "", "...", "no, no", "Oh yeah."]
            .iter()
            .zip(0u8..)
            .map(|(text, time)| TimedLine {
                time_secs: f64::from(time),
                text: (*text).to_owned(),
            })
            .collect();
        let tokenized = tokenizer.tokenize(&lines).unwrap();
        assert_eq!(asked.get(), 1);
        assert_eq!(tokenized.without_letters, lines[2..3]);
        let tokens: Vec<_> = tokenized
            .lines
            .iter()
            .map(|line| line.tokens.clone())
            .collect();
        let (yeah, no) = (Some(vec![19, 5, 19, 2]), Some(vec![19, 1, 19]));
        assert_eq!(tokens, [yeah.clone(), None, None, no, yeah]);
    }

    #[test]
    fn nothing_is_looked_for_before_it_is_needed() {
        let settings = TokenizerSettings {
            espeak: Some("no-such-espeak".into()),
            chinese_folder: Some("no-such-folder".into()),
        };
        let mut tokenizer = Tokenizer::new(settings);
        assert!(matches!(
            tokenizer.tokens("..."),
            Err(LyricsError::NoLetters { .. })
        ));
        assert!(
            tokenizer
                .tokens("hey")
                .unwrap_err()
                .to_string()
                .contains("no-such-espeak")
        );
        assert!(
            tokenizer
                .tokens("你")
                .unwrap_err()
                .to_string()
                .contains("no-such-folder")
        );
        let empty = [TimedLine {
            time_secs: 0.0,
            text: String::new(),
        }];
        assert_eq!(tokenizer.tokenize(&empty).unwrap().lines[0].tokens, None);
    }
}
