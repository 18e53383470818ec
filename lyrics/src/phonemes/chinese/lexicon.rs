//! The reference's lexicon: words and their pinyin, `word<TAB>pinyin pinyin` a line.

use std::path::Path;

use super::read_data;
use crate::LyricsError;

/// Words and how they are read.
#[derive(Debug)]
pub struct Lexicon {
    text: String,
    /// Sorted by word; half a million entries are kept as places in the text.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    begin: u32,
    tab: u32,
    end: u32,
}

impl Lexicon {
    /// Reads `chinese_lexicon.txt`.
    ///
    /// # Errors
    /// When it is missing, or a line of it is not a word, a tab and its pinyin.
    pub fn open(path: &Path) -> Result<Self, LyricsError> {
        Self::parse(read_data(path)?, path)
    }

    /// Understands the lexicon's text; `path` is named in errors alone. Of a word that stands twice, the last line counts.
    ///
    /// # Errors
    /// When a line is not a word, a tab and its pinyin.
    pub fn parse(text: String, path: &Path) -> Result<Self, LyricsError> {
        let wrong = |detail| LyricsError::ChineseData {
            path: path.to_owned(),
            detail,
        };
        if u32::try_from(text.len()).is_err() {
            return Err(wrong("has more than 4 GiB".to_owned()));
        }
        let mut entries = Vec::new();
        let mut begin = 0;
        for (index, line) in text.split('\n').enumerate() {
            let plain = line.trim_end();
            if !plain.is_empty() {
                let tab = plain
                    .find('\t')
                    .filter(|&tab| !plain[tab + 1..].contains('\t'));
                let tab = tab.ok_or_else(|| {
                    wrong(format!(
                        "line {} is not a word, a tab and its pinyin",
                        index + 1
                    ))
                })?;
                let place = |offset: usize| (begin + offset) as u32;
                entries.push(Entry {
                    begin: place(0),
                    tab: place(tab),
                    end: place(plain.len()),
                });
            }
            begin += line.len() + 1;
        }
        if entries.is_empty() {
            return Err(wrong("holds no words".to_owned()));
        }
        let mut lexicon = Self {
            text,
            entries: Vec::new(),
        };
        // Stable, so that of equal words the last one in the file comes last.
        entries.sort_by(|a, b| lexicon.word(a).cmp(lexicon.word(b)));
        lexicon.entries = entries;
        Ok(lexicon)
    }

    /// The pinyin of a word, its syllables separated by spaces.
    #[must_use]
    pub fn pinyin(&self, word: &str) -> Option<&str> {
        let behind = self
            .entries
            .partition_point(|entry| self.word(entry) <= word);
        let entry = self.entries.get(behind.checked_sub(1)?)?;
        (self.word(entry) == word).then(|| &self.text[entry.tab as usize + 1..entry.end as usize])
    }

    fn word(&self, entry: &Entry) -> &str {
        &self.text[entry.begin as usize..entry.tab as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_the_last_line_counts() {
        let text = "日子\tri4 zi3\r\n一\tyi1\n日子\tri4 zi5\n日\tri4\n".to_owned();
        let lexicon = Lexicon::parse(text, Path::new("l.txt")).unwrap();
        assert_eq!(lexicon.pinyin("日子"), Some("ri4 zi5"));
        assert_eq!(lexicon.pinyin("日"), Some("ri4"));
        for absent in ["", "日子日", "无", "龥"] {
            assert_eq!(lexicon.pinyin(absent), None);
        }
    }

    #[test]
    fn damage_is_told_with_the_line() {
        for (text, said) in [
            ("一\tyi1\n二 er4", "line 2"),
            ("一\tyi1\tyi2", "line 1"),
            ("\n", "no words"),
        ] {
            let error = Lexicon::parse(text.to_owned(), Path::new("l.txt"))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("l.txt") && error.contains(said) && error.contains("fetch it again"),
                "{error}"
            );
        }
    }
}
