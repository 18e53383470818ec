//! The chunk sizes of a RIFF/WAVE file against the file's length.
//!
//! Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991).

use std::io::{self, Read, Seek, SeekFrom};

use super::Fault;

/// Size that streaming writers put where the length is not yet known.
const UNKNOWN_SIZE: u32 = u32::MAX;
/// Trailing bytes that form no chunk are only a lie when they are longer than this (some taggers
/// append a 128-byte ID3v1 tag or padding).
const MAX_TRAILING_JUNK: u64 = 4096;

/// What a faultless header says of the samples' length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// The size of the data chunk.
    Known,
    /// Nothing, as where the file was streamed: they go on to its end.
    Open,
}

/// Walks the chunks of a file of `len` bytes.
pub(crate) fn check<R: Read + Seek>(source: &mut R, len: u64) -> io::Result<Result<Length, Fault>> {
    source.seek(SeekFrom::Start(4))?;
    let Some(riff_size) = read_u32(source)? else {
        return Ok(Err(damaged("the file ends inside its header")));
    };
    let mut position = 12;
    let mut block_align = None;
    loop {
        source.seek(SeekFrom::Start(position))?;
        let Some((tag, size)) = read_chunk_header(source)? else {
            return Ok(Err(damaged("there is no data chunk")));
        };
        let body = position + 8;
        match &tag {
            b"fmt " => block_align = Some(read_block_align(source, body)?),
            b"data" => {
                let align = block_align.unwrap_or(None);
                return check_data(source, len, riff_size, body, size, align);
            }
            _ => {}
        }
        if u64::from(size) > len.saturating_sub(body) {
            if tag == *b"fmt " {
                return Ok(Err(damaged("the file ends inside its header")));
            }
            return Ok(Err(Fault::Lie {
                promised: format!("chunk '{}' claims {size} bytes", tag.escape_ascii()),
                found: format!("only {} follow", len.saturating_sub(body)),
            }));
        }
        position = body + u64::from(size) + u64::from(size & 1);
    }
}

fn check_data<R: Read + Seek>(
    source: &mut R,
    len: u64,
    riff_size: u32,
    body: u64,
    size: u32,
    block_align: Option<u16>,
) -> io::Result<Result<Length, Fault>> {
    let present = len.saturating_sub(body);
    if size == UNKNOWN_SIZE && riff_size == UNKNOWN_SIZE {
        return Ok(check_streamed(present, block_align));
    }
    let size = u64::from(size);
    let promised = format!("it promises {size} bytes of samples");
    if size > present {
        let found = format!("only {present} follow");
        // A size that a full copy could have had is a broken copy; the streaming marker is a lie.
        let fault = if size >= u64::from(UNKNOWN_SIZE) - 64 {
            Fault::Lie { promised, found }
        } else {
            Fault::Truncated { promised, found }
        };
        return Ok(Err(fault));
    }
    let end = body + size;
    if u64::from(riff_size) + 8 < end {
        return Ok(Err(Fault::Lie {
            promised: format!("the RIFF header claims {riff_size} bytes in all"),
            found: format!("the samples alone end at byte {end}"),
        }));
    }
    if let Some(align) =
        block_align.filter(|&align| align > 0 && !size.is_multiple_of(u64::from(align)))
    {
        return Ok(Err(Fault::Lie {
            promised,
            found: format!("that is no whole number of {align}-byte frames"),
        }));
    }
    let junk = trailing_junk(source, end + (size & 1), len)?;
    if junk > MAX_TRAILING_JUNK {
        return Ok(Err(Fault::Lie {
            promised,
            found: format!("{junk} more bytes follow that belong to no chunk"),
        }));
    }
    Ok(Ok(Length::Known))
}

/// Samples of unknown length have to end with a whole frame.
fn check_streamed(present: u64, block_align: Option<u16>) -> Result<Length, Fault> {
    let align = u64::from(block_align.unwrap_or(0).max(1));
    let rest = present % align;
    // Chunks of odd size are followed by a byte of padding.
    let is_padding = rest == 1 && present.is_multiple_of(2);
    if rest == 0 || is_padding {
        return Ok(Length::Open);
    }
    Err(Fault::Truncated {
        promised: format!("its frames have {align} bytes each"),
        found: format!("only {rest} of the last one's are there"),
    })
}

/// Bytes after the last thing that parses as a chunk.
fn trailing_junk<R: Read + Seek>(source: &mut R, from: u64, len: u64) -> io::Result<u64> {
    let mut position = from;
    while position + 8 <= len {
        source.seek(SeekFrom::Start(position))?;
        let Some((tag, size)) = read_chunk_header(source)? else {
            break;
        };
        let next = position + 8 + u64::from(size);
        if !tag.iter().all(|b| b.is_ascii_graphic() || *b == b' ') || next > len {
            break;
        }
        position = next + u64::from(size & 1);
    }
    Ok(len.saturating_sub(position))
}

fn read_block_align<R: Read + Seek>(source: &mut R, body: u64) -> io::Result<Option<u16>> {
    source.seek(SeekFrom::Start(body + 12))?;
    let mut bytes = [0; 2];
    Ok(fill(source, &mut bytes)?.then(|| u16::from_le_bytes(bytes)))
}

fn read_chunk_header<R: Read>(source: &mut R) -> io::Result<Option<([u8; 4], u32)>> {
    let mut tag = [0; 4];
    if !fill(source, &mut tag)? {
        return Ok(None);
    }
    Ok(read_u32(source)?.map(|size| (tag, size)))
}

fn read_u32<R: Read>(source: &mut R) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    Ok(fill(source, &mut bytes)?.then(|| u32::from_le_bytes(bytes)))
}

/// Fills `buffer`; `false` at the end of the file.
fn fill<R: Read>(source: &mut R, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn damaged(detail: &str) -> Fault {
    Fault::Damaged(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 16-bit stereo file of 100 frames with the two sizes overridden.
    fn wav(riff_size: u32, data_size: u32, body: usize, tail: &[u8]) -> Vec<u8> {
        let mut bytes = b"RIFF".to_vec();
        bytes.extend(riff_size.to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data");
        bytes.extend(data_size.to_le_bytes());
        bytes.extend(vec![1; body]);
        bytes.extend(tail);
        bytes
    }

    fn verdict(bytes: &[u8]) -> Result<Length, Fault> {
        check(&mut io::Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn honest_headers_pass() {
        assert_eq!(verdict(&wav(436, 400, 400, b"")), Ok(Length::Known));
        assert_eq!(
            verdict(&wav(454, 400, 400, b"LIST\x0a\0\0\0INFOabcdef")),
            Ok(Length::Known)
        );
        assert_eq!(
            verdict(&wav(436, 400, 400, &[0; 128])),
            Ok(Length::Known),
            "a small tail is harmless"
        );
        assert_eq!(
            verdict(&wav(u32::MAX, u32::MAX, 400, b"")),
            Ok(Length::Open),
            "streamed"
        );
    }

    #[test]
    fn streamed_samples_end_with_a_whole_frame() {
        assert!(matches!(
            verdict(&wav(u32::MAX, u32::MAX, 402, b"")),
            Err(Fault::Truncated { .. })
        ));
        assert_eq!(check_streamed(3 * 7 + 1, Some(3)), Ok(Length::Open));
        assert!(check_streamed(3 * 8 + 1, Some(3)).is_err());
    }

    #[test]
    fn lies_are_told_apart_from_short_copies() {
        assert!(matches!(
            verdict(&wav(436, 400, 300, b"")),
            Err(Fault::Truncated { .. })
        ));
        assert!(matches!(
            verdict(&wav(436, u32::MAX, 400, b"")),
            Err(Fault::Lie { .. })
        ));
        assert!(matches!(
            verdict(&wav(0, 400, 400, b"")),
            Err(Fault::Lie { .. })
        ));
        assert!(matches!(
            verdict(&wav(436, 399, 400, b"")),
            Err(Fault::Lie { .. })
        ));
        assert!(matches!(
            verdict(&wav(436, 0, 40_000, b"")),
            Err(Fault::Lie { .. })
        ));
        assert!(matches!(
            verdict(&wav(436, 400, 400, b"")[..30]),
            Err(Fault::Damaged(_))
        ));
    }
}
