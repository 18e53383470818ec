//! An Ogg stream that was not cut short ends with a page flagged as its last.
//!
//! Source: RFC 3533, section 6.

use std::io::{self, Read, Seek, SeekFrom};

use super::Fault;

/// Longest possible page: 27 + 255 + 255 * 255 bytes.
const MAX_PAGE_BYTES: u64 = 65_307;
const END_OF_STREAM: u8 = 4;

/// Looks at the last page of a file of `len` bytes.
pub(crate) fn check<R: Read + Seek>(source: &mut R, len: u64) -> io::Result<Option<Fault>> {
    source.seek(SeekFrom::Start(len.saturating_sub(MAX_PAGE_BYTES)))?;
    let mut tail = Vec::new();
    source.read_to_end(&mut tail)?;
    let last = tail.windows(4).rposition(|window| window == b"OggS");
    let truncated = |found: &str| {
        Some(Fault::Truncated {
            promised: "an Ogg stream ends with a page marked as the last".to_owned(),
            found: found.to_owned(),
        })
    };
    let Some(page) = last.and_then(|at| tail.get(at..)) else {
        return Ok(truncated("there is no page near the end"));
    };
    let Some(segments) = page.get(26).map(|&count| usize::from(count)) else {
        return Ok(truncated("the last page's header is incomplete"));
    };
    let Some(table) = page.get(27..27 + segments) else {
        return Ok(truncated("the last page's header is incomplete"));
    };
    let body: usize = table.iter().map(|&length| usize::from(length)).sum();
    if page.len() < 27 + segments + body {
        return Ok(truncated("the last page is incomplete"));
    }
    if page[5] & END_OF_STREAM == 0 {
        return Ok(truncated("the last page is not so marked"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"OggS\0".to_vec();
        bytes.push(flags);
        bytes.extend([0; 20]);
        bytes.extend([1, u8::try_from(body.len()).unwrap()]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_last_page_must_be_marked_and_whole() {
        let whole = [page(2, b"head"), page(4, b"tail")].concat();
        let verdict =
            |bytes: &[u8]| check(&mut io::Cursor::new(bytes), bytes.len() as u64).unwrap();
        assert_eq!(verdict(&whole), None);
        assert!(verdict(&whole[..whole.len() - 1]).is_some());
        assert!(verdict(&whole[..32]).is_some());
        assert!(verdict(&whole[..40]).is_some());
    }
}
