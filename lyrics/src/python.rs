//! What Python's `str` calls a space, a word character and a number; the reference's rules are written in them.

/// `str.isspace`: White_Space and the four separators of ASCII.
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The members of the class `\s` of Python's `re`, for use inside of brackets.
pub(crate) const SPACE_CLASS: &str = r"\s\x1c-\x1f";
/// The members of the class `\w` of Python's `re`, for use inside of brackets: combining marks are not in it.
pub(crate) const WORD_CLASS: &str = r"\p{L}\p{N}_";

/// Digits of one script as ASCII, and `_` between digits gone; `None` where Python would refuse the underscores.
fn plain_digits(text: &str) -> Option<String> {
    let characters: Vec<char> = strip(text).chars().map(ascii_digit).collect();
    let is_digit = |index: Option<usize>| {
        index
            .and_then(|index| characters.get(index))
            .is_some_and(char::is_ascii_digit)
    };
    let mut plain = String::with_capacity(characters.len());
    for (index, &character) in characters.iter().enumerate() {
        if character != '_' {
            plain.push(character);
        } else if !is_digit(index.checked_sub(1)) || !is_digit(Some(index + 1)) {
            return None;
        }
    }
    Some(plain)
}

/// Decimal digits of the scripts that lyrics are typed in (full-width ones, above all) as ASCII.
fn ascii_digit(character: char) -> char {
    /// The zeros of Arabic, Persian, Devanagari, Bengali, Thai and full-width digits.
    const ZEROS: [char; 6] = [
        '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ff10}',
    ];
    ZEROS
        .iter()
        .find_map(|&zero| {
            let value = u32::from(character).checked_sub(u32::from(zero))?;
            char::from_digit(value, 10)
        })
        .unwrap_or(character)
}

/// `int(text)`, of at most nine digits.
pub(crate) fn int(text: &str) -> Option<i64> {
    let plain = plain_digits(text)?;
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    plain.parse().ok()
}

/// `float(text)`, of finite numbers only: the reference cannot place others.
pub(crate) fn float(text: &str) -> Option<f64> {
    let plain = plain_digits(text)?;
    let number = plain
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = plain.parse().ok().filter(|_| number)?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, value) in [
            ("05", Some(5)),
            (" +7 ", Some(7)),
            ("-1", Some(-1)),
            ("1_0", Some(10)),
            ("１２", Some(12)),
        ] {
            assert_eq!(int(text), value, "{text:?}");
        }
        for text in ["", "+", "0x", "1__0", "_1", "1.0", "٣x"] {
            assert_eq!(int(text), None, "{text:?}");
        }
        for (text, value) in [
            ("01.00", Some(1.0)),
            (".5", Some(0.5)),
            ("7.", Some(7.0)),
            ("1e2", Some(100.0)),
            ("6.12", Some(6.12)),
        ] {
            assert_eq!(float(text), value, "{text:?}");
        }
        for text in ["", ".", "nan", "inf", "-infinity", "1e999", "0x.00"] {
            assert_eq!(float(text), None, "{text:?}");
        }
    }
}
