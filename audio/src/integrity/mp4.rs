//! The top-level boxes of an MP4 file against its length.
//!
//! Source: ISO/IEC 14496-12, section 4.2.

use std::io::{self, Read, Seek, SeekFrom};

use super::Fault;

/// Walks the boxes of a file of `len` bytes; all must be whole, and one must be the index.
pub(crate) fn check<R: Read + Seek>(source: &mut R, len: u64) -> io::Result<Option<Fault>> {
    let mut position = 0;
    let mut has_index = false;
    while position + 8 <= len {
        source.seek(SeekFrom::Start(position))?;
        let mut head = Vec::new();
        source.by_ref().take(16).read_to_end(&mut head)?;
        let Some((kind, size)) = parse_header(&head, len - position) else {
            break;
        };
        if !kind
            .iter()
            .all(|b| b.is_ascii_graphic() || *b == b' ' || *b == 0xa9)
        {
            break; // Junk behind the last box.
        }
        if size > len - position {
            return Ok(Some(Fault::Truncated {
                promised: format!("box '{}' has {size} bytes", kind.escape_ascii()),
                found: format!("only {} follow", len - position),
            }));
        }
        has_index |= &kind == b"moov";
        position += size;
    }
    Ok((!has_index).then(|| Fault::Truncated {
        promised: "an MP4 file has an index (moov)".to_owned(),
        found: "there is none".to_owned(),
    }))
}

/// Kind and size of a box; a size of 0 means the rest of the file.
fn parse_header(head: &[u8], rest: u64) -> Option<([u8; 4], u64)> {
    let short = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
    let kind = head.get(4..8)?.try_into().ok()?;
    let size = match short {
        0 => rest,
        1 => u64::from_be_bytes(head.get(8..16)?.try_into().ok()?),
        short => u64::from(short),
    };
    (size >= 8).then_some((kind, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(body + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(vec![0; body]);
        bytes
    }

    #[test]
    fn boxes_must_be_whole_and_indexed() {
        let verdict =
            |bytes: &[u8]| check(&mut io::Cursor::new(bytes), bytes.len() as u64).unwrap();
        let whole = [boxed(b"ftyp", 8), boxed(b"mdat", 100), boxed(b"moov", 50)].concat();
        assert_eq!(verdict(&whole), None);
        assert!(verdict(&whole[..60]).is_some(), "cut inside the data");
        assert!(verdict(&whole[..124]).is_some(), "cut before the index");
        assert!(verdict(&whole[..150]).is_some(), "cut inside the index");
        assert_eq!(
            verdict(&[whole.clone(), vec![0; 20]].concat()),
            None,
            "padding behind"
        );
    }
}
