//! Which language each part of a line is in (`get_segment` in the reference's `g2p/g2p_generation.py`).

/// A language whose phonemes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// ASCII letters.
    English,
    /// Characters from U+4E00 to U+9FA5.
    Chinese,
}

impl Language {
    fn of(character: char) -> Option<Self> {
        match character {
            'A'..='Z' | 'a'..='z' => Some(Self::English),
            '\u{4e00}'..='\u{9fa5}' => Some(Self::Chinese),
            _ => None,
        }
    }
}

/// A part of a line, with everything of no language up to the next letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The text as it stands in the line.
    pub text: String,
    /// What it is to be read as; `None` if no character tells, which happens to a whole line only.
    pub language: Option<Language>,
}

/// Cuts a line where its language changes; digits, spaces and marks stay with the letters before them, or after them at
/// the line's start.
#[must_use]
pub fn split_languages(line: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut current = Segment {
        text: String::new(),
        language: None,
    };
    for character in line.chars() {
        let language = Language::of(character);
        if language.is_some() && current.language.is_some() && language != current.language {
            let next = Segment {
                text: String::new(),
                language,
            };
            segments.push(std::mem::replace(&mut current, next));
        }
        current.language = current.language.or(language);
        current.text.push(character);
    }
    segments.push(current);
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_with_the_letters_before_them() {
        let parts = |line| -> Vec<_> {
            split_languages(line)
                .into_iter()
                .map(|segment| (segment.text, segment.language))
                .collect()
        };
        let (english, chinese) = (Some(Language::English), Some(Language::Chinese));
        assert_eq!(
            parts("3 hé, 你好 x!"),
            [
                ("3 hé, ".to_owned(), english),
                ("你好 ".to_owned(), chinese),
                ("x!".to_owned(), english)
            ]
        );
        assert_eq!(parts("...うた"), [("...うた".to_owned(), None)]);
        assert_eq!(parts(""), [(String::new(), None)]);
    }
}
