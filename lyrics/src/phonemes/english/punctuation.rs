//! Marks are hidden from the voice and put back afterwards (`Punctuation` of phonemizer 3.3.0).

use super::MARKS;

/// A line cut at its marks.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Punctuated {
    /// What is between the marks, empty pieces left out.
    pub(super) chunks: Vec<String>,
    marks: Vec<String>,
    begins_with_mark: bool,
}

impl Punctuated {
    pub(super) fn split(line: &str) -> Self {
        let mut parts = Self {
            begins_with_mark: line.starts_with(is_mark),
            ..Self::default()
        };
        let mut rest = line;
        while !rest.is_empty() {
            let chunk_end = rest.find(is_mark).unwrap_or(rest.len());
            let (chunk, behind) = rest.split_at(chunk_end);
            let mark_end = behind
                .find(|character| !is_mark(character))
                .unwrap_or(behind.len());
            let (mark, behind) = behind.split_at(mark_end);
            parts
                .chunks
                .extend((!chunk.is_empty()).then(|| chunk.to_owned()));
            parts
                .marks
                .extend((!mark.is_empty()).then(|| mark.to_owned()));
            rest = behind;
        }
        parts
    }

    /// The line with `spoken` for its chunks.
    pub(super) fn restore(&self, mut spoken: impl Iterator<Item = String>) -> String {
        let mut marks = self.marks.iter();
        let mut line = String::new();
        if self.begins_with_mark {
            let mark = marks.next().map(String::as_str).unwrap_or_default();
            let first = spoken.next().unwrap_or_default();
            line = format!("{mark}{}", without_word_end(&first));
        } else {
            line.push_str(&spoken.next().unwrap_or_default());
        }
        for mark in marks {
            line.truncate(without_word_end(&line).len());
            line.push_str(mark);
            line.push_str(&spoken.next().unwrap_or_default());
        }
        line
    }
}

fn is_mark(character: char) -> bool {
    MARKS.contains(character)
}

fn without_word_end(line: &str) -> &str {
    line.strip_suffix("|_|").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_return_to_their_places() {
        for line in ["", "a", ",", "'a b'", "a,b...c!", "…a'b"] {
            let parts = Punctuated::split(line);
            assert!(
                parts
                    .chunks
                    .iter()
                    .all(|chunk| !chunk.is_empty() && !chunk.contains(is_mark))
            );
            assert_eq!(parts.restore(parts.chunks.clone().into_iter()), line);
        }
        let parts = Punctuated::split("a,b");
        let spoken = ["x|_|".to_owned(), "y|_|".to_owned()];
        assert_eq!(parts.restore(spoken.into_iter()), "x,y|_|");
    }
}
