//! From bytes to text: UTF-8, or UTF-16 that says so.

/// Why bytes are no text that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// What they look like instead.
    pub(super) found: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Damage {
    /// Text in another encoding, by the name that `iconv` has for it.
    fn encoding(found: impl Into<String>, name: &str, others: &str) -> Self {
        Self {
            found: found.into(),
            remedy: format!(
                "convert it, for instance with `iconv -f {name} -t UTF-8 INPUT.lrc > OUTPUT.lrc`{others}, or save it as UTF-8 \
                 in an editor"
            ),
        }
    }

    fn no_text(found: &str) -> Self {
        Self {
            found: found.to_owned(),
            remedy: "it is no text, or a damaged one: give the .lrc file itself".to_owned(),
        }
    }
}

/// The text of `bytes`, or what they look like instead.
pub(super) fn decode(bytes: &[u8]) -> Result<String, Damage> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Err(Damage::encoding("it is UTF-32", "UTF-32", ""))
        }
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Damage> {
    // No text holds zero bytes, and UTF-16 of Latin letters does in every second place.
    if bytes.contains(&0) {
        return Err(with_zeros(bytes));
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            let found = format!("byte {at} is {byte:#04x}");
            Err(match stands_alone(bytes) {
                true => Damage::encoding(found, "WINDOWS-1252", " (for a Western language)"),
                false => Damage::encoding(
                    found,
                    "GB18030",
                    " (for Chinese; SHIFT_JIS for Japanese, EUC-KR for Korean, WINDOWS-1252 for a Western language)",
                ),
            })
        }
    }
}

/// UTF-16 without its mark has its zeros in the odd places or in the even ones alone.
fn with_zeros(bytes: &[u8]) -> Damage {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let (first, second): (Vec<bool>, Vec<bool>) =
        pairs.iter().map(|[a, b]| (*a == 0, *b == 0)).unzip();
    let any = |zeros: &[bool]| zeros.contains(&true);
    match (any(&first), any(&second)) {
        (false, true) if rest.is_empty() => {
            Damage::encoding("it is UTF-16 without its mark", "UTF-16LE", "")
        }
        (true, false) if rest.is_empty() => {
            Damage::encoding("it is UTF-16 without its mark", "UTF-16BE", "")
        }
        _ => Damage::no_text("it holds zero bytes"),
    }
}

/// Whether each byte above ASCII is between two of ASCII, as Western letters are; Chinese, Japanese and Korean ones take two bytes.
fn stands_alone(bytes: &[u8]) -> bool {
    !bytes
        .windows(2)
        .any(|pair| !pair[0].is_ascii() && !pair[1].is_ascii())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Damage> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Damage::no_text(
            "it is UTF-16 with half a character at its end",
        ));
    }
    char::decode_utf16(pairs.iter().map(|&pair| unit(pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| Damage::no_text("it is UTF-16 with a half surrogate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_understood_and_damage_is_told() {
        assert_eq!(decode(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(decode(b"\xff\xfe\x60\x4f").unwrap(), "你");
        assert_eq!(decode(b"\xfe\xff\x4f\x60").unwrap(), "你");
        for (bytes, found) in [
            (&b"\xff\xfe\x60"[..], "half a character"),
            (b"\xff\xfe\x00\xd8", "surrogate"),
            (b"\xff\xfe\x00\x00a\x00\x00\x00", "UTF-32"),
            (b"[\x000\x00", "UTF-16"),
            (b"[\x000\x00a", "zero bytes"),
            (b"ab\xff", "byte 2 is 0xff"),
        ] {
            let damage = decode(bytes).unwrap_err();
            assert!(damage.found.contains(found), "{damage:?}");
        }
    }
}
