//! Chinese to phonemes (the reference's `g2p/g2p/mandarin.py`): numbers as characters, words by jieba, readings by lexicon
//! and polyphone model, tone changes between neighbours, and Bopomofo as IPA.

#[cfg(feature = "polyphones-onnx")]
mod bert;
mod bopomofo;
mod lexicon;
mod numbers;
mod polyphones;
mod readings;
mod sandhi;
mod words;

use std::path::Path;
use std::sync::LazyLock;

use jieba_rs::Jieba;
use regex::Regex;

#[cfg(feature = "polyphones-onnx")]
pub use bert::BertPolyphones;
pub use lexicon::Lexicon;
pub use polyphones::Polyphones;

use crate::phonemes::english::{around_marks, ascii_marks, regex};
use crate::{LyricsError, python};

/// The files of the reference that Chinese lyrics need.
pub const WHAT_IS_NEEDED: &str = "the folder g2p/sources of https://github.com/ASLP-lab/DiffRhythm, with \
    chinese_lexicon.txt (14.8 MB) and, in g2p_chinese_model/, poly_bert_model.onnx (76.6 MB), polychar.txt, polydict.json \
    and vocab.txt";
/// The lexicon's name in that folder.
pub const LEXICON_FILE: &str = "chinese_lexicon.txt";
/// The folder of the polyphone model in that folder.
pub const MODEL_FOLDER: &str = "g2p_chinese_model";

/// Chinese phonemes: a segmenter, a lexicon, and someone who knows polyphones.
pub struct Chinese {
    jieba: Jieba,
    lexicon: Lexicon,
    polyphones: Box<dyn Polyphones>,
}

impl Chinese {
    /// Of parts that are at hand.
    #[must_use]
    pub fn new(lexicon: Lexicon, polyphones: Box<dyn Polyphones>) -> Self {
        Self {
            jieba: Jieba::new(),
            lexicon,
            polyphones,
        }
    }

    /// Of the reference's folder `g2p/sources` ([`WHAT_IS_NEEDED`]).
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    #[cfg(feature = "polyphones-onnx")]
    pub fn open(folder: &Path) -> Result<Self, LyricsError> {
        let lexicon = Lexicon::open(&folder.join(LEXICON_FILE))?;
        let polyphones = BertPolyphones::open(&folder.join(MODEL_FOLDER))?;
        Ok(Self::new(lexicon, Box::new(polyphones)))
    }

    /// The phonemes of a text with Chinese characters, separated by `|`.
    ///
    /// # Errors
    /// When the polyphone model gives no usable answer.
    pub fn phonemes(&mut self, text: &str) -> Result<String, LyricsError> {
        let text = tidy(&numbers::as_characters(python::strip(text)));
        let words = words::cut(&self.jieba, &text);
        let bopomofo = readings::bopomofo(&text, &words, &self.lexicon, self.polyphones.as_mut())?;
        Ok(finish(&bopomofo::to_ipa(&bopomofo)))
    }

    /// The words that a text is read in, after the reference's own joining of 不, 一 and 儿.
    #[must_use]
    pub fn words(&self, text: &str) -> Vec<String> {
        words::cut(
            &self.jieba,
            &tidy(&numbers::as_characters(python::strip(text))),
        )
    }
}

/// Nothing but characters and ASCII marks (`normalization`).
fn tidy(text: &str) -> String {
    let kept = |&character: &char| {
        matches!(
            character,
            '\u{4e00}'..='\u{9fff}' | '_' | ',' | '.' | '?' | '!' | ';' | ':' | '\'' | '…'
        )
    };
    ascii_marks(text).chars().filter(kept).collect()
}

/// The last steps of `_chinese_to_ipa`: retroflex and sibilant syllables without a vowel, and marks.
fn finish(ipa: &str) -> String {
    static RETROFLEX: LazyLock<Regex> = LazyLock::new(|| regex("([sɹ]`[⁼ʰ]?)([→↓↑ ]+|$)"));
    static SIBILANT: LazyLock<Regex> = LazyLock::new(|| regex("(s[⁼ʰ]?)([→↓↑ ]+|$)"));
    static FOREIGN: LazyLock<Regex> = LazyLock::new(|| {
        regex(&format!(
            r"^\||[^{}{},.?!;:'…|→↓↑⁼ʰ`]",
            python::WORD_CLASS,
            python::SPACE_CLASS
        ))
    });
    let ipa = RETROFLEX.replace_all(ipa, "${1}ɹ${2}");
    let ipa = SIBILANT.replace_all(&ipa, "${1}ɹ${2}");
    around_marks(&FOREIGN.replace_all(&ipa, ""))
}

/// Three times the largest file of the Chinese data, the polyphone model.
const MAX_DATA_BYTES: u64 = 256 << 20;

/// Reads a file of the Chinese data, or says which one is missing.
fn read_data(path: &Path) -> Result<String, LyricsError> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| LyricsError::ChineseData {
        path: path.to_owned(),
        detail: format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to()),
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, LyricsError> {
    if !path.is_file() {
        return Err(LyricsError::ChineseDataMissing {
            path: path.to_owned(),
        });
    }
    let bytes =
        crate::lrc::read_at_most(path, MAX_DATA_BYTES).map_err(|source| LyricsError::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > MAX_DATA_BYTES {
        let detail = format!("has more than {MAX_DATA_BYTES} bytes");
        return Err(LyricsError::ChineseData {
            path: path.to_owned(),
            detail,
        });
    }
    if bytes.starts_with(b"version https://git-lfs") {
        let detail = "is a pointer of Git LFS and not the file itself".to_owned();
        return Err(LyricsError::ChineseData {
            path: path.to_owned(),
            detail,
        });
    }
    Ok(bytes)
}
