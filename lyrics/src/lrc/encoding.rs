//! From bytes to text: UTF-8, or UTF-16 that says so.

/// The text of `bytes`, or what they look like instead.
pub(super) fn decode(bytes: &[u8]) -> Result<String, String> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err("it is UTF-32".to_owned()),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    // No text holds zero bytes, and UTF-16 of Latin letters does in every second place.
    if bytes.contains(&0) {
        return Err("it holds zero bytes, as UTF-16 without its mark does".to_owned());
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            Err(format!("byte {at} is {byte:#04x}"))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("it is UTF-16 with half a character at its end".to_owned());
    }
    char::decode_utf16(pairs.iter().map(|&pair| unit(pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| "it is UTF-16 with a half surrogate".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_understood_and_damage_is_told() {
        assert_eq!(decode(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(decode(b"\xff\xfe\x60\x4f").unwrap(), "你");
        assert_eq!(decode(b"\xfe\xff\x4f\x60").unwrap(), "你");
        assert!(
            decode(b"\xff\xfe\x60")
                .unwrap_err()
                .contains("half a character")
        );
        assert!(
            decode(b"\xff\xfe\x00\xd8")
                .unwrap_err()
                .contains("surrogate")
        );
        assert!(
            decode(b"\xff\xfe\x00\x00a\x00\x00\x00")
                .unwrap_err()
                .contains("UTF-32")
        );
        assert!(decode(b"[\x000\x00").unwrap_err().contains("UTF-16"));
        assert_eq!(decode(b"ab\xff").unwrap_err(), "byte 2 is 0xff");
    }
}
