//! What a file is by its first bytes, whatever its name says.

use std::io::{self, Read, Seek, SeekFrom};

use crate::integrity::mpeg;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Wav,
    Flac {
        start: u64,
    },
    Ogg,
    Mp4,
    Adts {
        start: u64,
    },
    Mpeg {
        start: u64,
    },
    /// Known by name, not decodable here.
    Unsupported(&'static str),
    /// Nothing known; the text says what it looks like.
    Unknown(&'static str),
}

/// Signatures of formats that are named, not decoded: offset, bytes, name.
const REFUSED: &[(usize, &[u8], &str)] = &[
    (0, b"RF64", "RF64 (WAV beyond 4 GiB)"),
    (0, b"BW64", "BW64 (WAV beyond 4 GiB)"),
    (0, b"RIFX", "RIFX (big-endian WAV)"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "Core Audio Format (CAF)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska/WebM"),
    (
        0,
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "Windows Media Audio",
    ),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC in ADIF"),
    (0, b"MThd", "MIDI (notes, not sound)"),
];

/// Codecs inside Ogg by the first packet of the first page.
const OGG_CODECS: &[(&[u8], &str)] = &[
    (b"OpusHead", "Opus"),
    (b"Speex   ", "Speex"),
    (b"\x80theora", "Theora video"),
    (b"BBCD", "Dirac video"),
    (b"fishead", "an Ogg skeleton stream"),
];

/// Leading bytes of junk that are tolerated before the first MPEG frame.
const MAX_LEADING_JUNK: usize = 64 * 1024;

/// Looks at the start of `source` (`len` bytes long) and leaves its position anywhere.
pub(crate) fn sniff<R: Read + Seek>(source: &mut R, len: u64) -> io::Result<Kind> {
    let start = mpeg::skip_id3v2(source, len)?;
    source.seek(SeekFrom::Start(start))?;
    let mut head = Vec::new();
    source
        .by_ref()
        .take(MAX_LEADING_JUNK as u64)
        .read_to_end(&mut head)?;
    Ok(classify(&head, start, start + head.len() as u64 == len))
}

fn classify(head: &[u8], start: u64, is_all: bool) -> Kind {
    if let Some((_, _, name)) = REFUSED.iter().find(|(offset, bytes, _)| {
        head.get(*offset..)
            .is_some_and(|rest| rest.starts_with(bytes))
    }) {
        return Kind::Unsupported(name);
    }
    if head.starts_with(b"RIFF") {
        return match head.get(8..12) {
            Some(b"WAVE") => Kind::Wav,
            Some(b"AVI ") => Kind::Unsupported("AVI video"),
            _ => Kind::Unknown("a RIFF file that is not WAVE"),
        };
    }
    if head.starts_with(b"fLaC") {
        return Kind::Flac { start };
    }
    if head.starts_with(b"OggS") {
        return ogg_kind(head);
    }
    if head.get(4..8) == Some(b"ftyp") {
        return Kind::Mp4;
    }
    if is_adts(head) {
        return Kind::Adts { start };
    }
    if let Some(offset) = mpeg::find_first_frame(head, is_all) {
        return Kind::Mpeg {
            start: start + offset as u64,
        };
    }
    Kind::Unknown(appearance(head))
}

fn ogg_kind(head: &[u8]) -> Kind {
    let segments = usize::from(head.get(26).copied().unwrap_or(0));
    let packet = head.get(27 + segments..).unwrap_or(&[]);
    OGG_CODECS
        .iter()
        .find(|(magic, _)| packet.starts_with(magic))
        .map_or(Kind::Ogg, |(_, name)| Kind::Unsupported(name))
}

/// An ADTS header (ISO/IEC 13818-7, 6.2) followed by another where its length says.
fn is_adts(head: &[u8]) -> bool {
    let is_sync = |at: usize| {
        head.get(at..at + 7)
            .is_some_and(|b| b[0] == 0xff && b[1] & 0xf6 == 0xf0)
    };
    if !is_sync(0) {
        return false;
    }
    let length =
        (usize::from(head[3] & 3) << 11) | (usize::from(head[4]) << 3) | usize::from(head[5] >> 5);
    length >= 7 && (is_sync(length) || length >= head.len())
}

fn appearance(head: &[u8]) -> &'static str {
    let sample = &head[..head.len().min(4096)];
    if sample.iter().all(|&byte| byte == 0) {
        "only zero bytes"
    } else if is_text(sample) {
        "it looks like text"
    } else {
        "unknown contents"
    }
}

fn is_text(sample: &[u8]) -> bool {
    let valid = match std::str::from_utf8(sample) {
        Ok(_) => true,
        // The sample may end inside a character.
        Err(error) => error.error_len().is_none(),
    };
    valid
        && sample
            .iter()
            .all(|&b| b >= 0x20 || matches!(b, b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Kind {
        sniff(&mut io::Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn names_come_from_the_bytes() {
        assert_eq!(kind(b"RIFF\0\0\0\0WAVEfmt "), Kind::Wav);
        assert_eq!(
            kind(b"hello, this is a text"),
            Kind::Unknown("it looks like text")
        );
        assert_eq!(kind(&[0; 64]), Kind::Unknown("only zero bytes"));
        assert_eq!(kind(b"FORM\0\0\0\0AIFF"), Kind::Unsupported("AIFF"));
        let mut opus = b"OggS".to_vec();
        opus.extend([0; 22]);
        opus.extend([1, 19]);
        opus.extend(b"OpusHead");
        assert_eq!(kind(&opus), Kind::Unsupported("Opus"));
    }

    #[test]
    fn a_tag_before_the_sound_is_passed_over() {
        let mut bytes = b"ID3\x04\0\0\0\0\0\x05.....".to_vec();
        bytes.extend(b"fLaC");
        assert_eq!(kind(&bytes), Kind::Flac { start: 15 });
    }
}
