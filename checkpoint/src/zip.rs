//! The directory of a zip archive: where the bytes of each entry lie in the file. Nothing is extracted.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16
//! (end records) and 4.5.3 (64-bit sizes). torch stores its entries uncompressed and needs no more of the format.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::cursor::Cursor;
use crate::error::{Fault, Parsed, damaged, shorten};

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const CENTRAL_HEADER: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LOCATOR_64_BYTES: usize = 20;
const COMMENT_MAX_BYTES: usize = 0xFFFF;
/// Stands for "see the 64-bit field".
const IN_EXTRA: u64 = 0xFFFF_FFFF;
const EXTRA_64: u16 = 1;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const ENTRIES_MAX: usize = 1_000_000;

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZipEntry {
    /// Its bytes in the archive, compressed or not.
    pub(crate) range: Range<usize>,
    pub(crate) is_stored: bool,
    /// Of the uncompressed bytes.
    pub(crate) crc32: u32,
    /// Where its local header starts.
    header: usize,
}

/// Whether these bytes begin as an archive does.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL_HEADER) || bytes.starts_with(END)
}

/// Reads the directory: every entry is inside of the file, none overlaps another, all names are plain.
pub(crate) fn read(bytes: &[u8]) -> Parsed<BTreeMap<String, ZipEntry>> {
    let (count, directory) = directory(bytes)?;
    if count > ENTRIES_MAX {
        return Err(Fault::Excess {
            what: "entries in the archive",
            limit: ENTRIES_MAX as u64,
        });
    }
    let mut cursor = Cursor::new(&bytes[..directory.end], directory.start);
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (name, entry) = central_entry(&mut cursor, bytes, directory.start)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(damaged(format!(
                "two entries of the archive are named `{}`",
                shorten(&name)
            )));
        }
    }
    if cursor.position() != directory.end {
        return Err(damaged(
            "the archive's directory is longer than its entries",
        ));
    }
    refuse_overlaps(&entries)?;
    Ok(entries)
}

/// The number of entries and the bytes of the central directory.
fn directory(bytes: &[u8]) -> Parsed<(usize, Range<usize>)> {
    let end = find_end(bytes)?;
    let mut record = Cursor::new(bytes, end + END.len());
    let disks = (record.u16()?, record.u16()?);
    let counts = (u64::from(record.u16()?), u64::from(record.u16()?));
    let (size, start) = (u64::from(record.u32()?), u64::from(record.u32()?));
    let (count, size, start, behind) = match locator_64(bytes, end) {
        Some(at) => end_64(bytes, at, end)?,
        None if disks != (0, 0) || counts.0 != counts.1 => {
            return Err(damaged("the archive is one part of several"));
        }
        None => (counts.1, size, start, end),
    };
    let range = (|| {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        (end <= behind).then_some(start..end)
    })();
    let range = range.ok_or_else(|| {
        damaged(format!(
            "the archive's directory should be {size} bytes at {start}, the file has {} bytes",
            bytes.len()
        ))
    })?;
    Ok((usize::try_from(count).unwrap_or(usize::MAX), range))
}

/// The end record: the last one whose comment reaches exactly to the end of the file.
fn find_end(bytes: &[u8]) -> Parsed<usize> {
    let last = bytes.len().checked_sub(END_BYTES);
    let first = bytes.len().saturating_sub(END_BYTES + COMMENT_MAX_BYTES);
    last.and_then(|last| {
        (first..=last).rev().find(|&at| {
            let comment = usize::from(u16::from_le_bytes([bytes[at + 20], bytes[at + 21]]));
            bytes[at..].starts_with(END) && at + END_BYTES + comment == bytes.len()
        })
    })
    .ok_or_else(|| {
        Fault::Truncated(format!(
            "the archive's directory, which stands at its end, is missing after {} bytes",
            bytes.len()
        ))
    })
}

/// Where the 64-bit end record is said to be, if there is a locator before the end record.
fn locator_64(bytes: &[u8], end: usize) -> Option<u64> {
    let at = end.checked_sub(LOCATOR_64_BYTES)?;
    let locator = bytes[at..end].strip_prefix(LOCATOR_64)?;
    Cursor::new(locator, 4).u64().ok()
}

/// Count, size and start of the directory, and where the record itself starts.
fn end_64(bytes: &[u8], at: u64, end: usize) -> Parsed<(u64, u64, u64, usize)> {
    let at = usize::try_from(at)
        .ok()
        .filter(|&at| at < end && bytes[at..].starts_with(END_64))
        .ok_or_else(|| damaged("the archive's 64-bit end record is not where it should be"))?;
    let mut record = Cursor::new(&bytes[..end], at + END_64.len());
    record.take(8 + 2 + 2)?;
    let disks = (record.u32()?, record.u32()?);
    let counts = (record.u64()?, record.u64()?);
    if disks != (0, 0) || counts.0 != counts.1 {
        return Err(damaged("the archive is one part of several"));
    }
    Ok((counts.1, record.u64()?, record.u64()?, at))
}

/// One entry of the central directory, with the place of its bytes from its local header.
fn central_entry(
    cursor: &mut Cursor<'_>,
    bytes: &[u8],
    directory_start: usize,
) -> Parsed<(String, ZipEntry)> {
    if cursor.take(CENTRAL_HEADER.len())? != CENTRAL_HEADER {
        return Err(damaged(
            "the archive's directory holds something else than entries",
        ));
    }
    cursor.take(2 + 2)?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    cursor.take(2 + 2)?;
    let crc32 = cursor.u32()?;
    let mut sizes = [u64::from(cursor.u32()?), u64::from(cursor.u32()?), 0];
    let lengths = [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(usize::from);
    cursor.take(2 + 2 + 4)?;
    sizes[2] = u64::from(cursor.u32()?);
    let raw_name = cursor.take(lengths[0])?;
    let name = plain_name(raw_name)?;
    // Uncompressed comes before compressed in the 64-bit field.
    sizes.swap(0, 1);
    widen(&mut sizes, cursor.take(lengths[1])?);
    cursor.take(lengths[2])?;
    let [full, compressed, header] = sizes;
    if flags & ENCRYPTED != 0 {
        return Err(Fault::Unsupported {
            what: format!("encryption (entry `{}`)", shorten(&name)),
            remedy: "decrypt the archive first".to_string(),
        });
    }
    if method == STORED && full != compressed {
        return Err(damaged(format!("entry `{}` has two sizes", shorten(&name))));
    }
    let outside = || {
        Fault::Damaged(format!(
            "entry `{}` of {compressed} bytes at {header} does not lie before the directory at {directory_start}",
            shorten(&name)
        ))
    };
    let header = usize::try_from(header)
        .ok()
        .filter(|&header| header < directory_start)
        .ok_or_else(outside)?;
    let start = local_data_start(&bytes[..directory_start], header, raw_name, method)?;
    let end = usize::try_from(compressed)
        .ok()
        .and_then(|length| start.checked_add(length))
        .filter(|&end| end <= directory_start)
        .ok_or_else(outside)?;
    let entry = ZipEntry {
        range: start..end,
        is_stored: method == STORED,
        crc32,
        header,
    };
    Ok((name, entry))
}

/// Replaces the numbers that did not fit into 32 bits, in their order, by those of the extra field.
fn widen(numbers: &mut [u64; 3], extra: &[u8]) {
    let mut extra = Cursor::new(extra, 0);
    while let (Ok(id), Ok(length)) = (extra.u16(), extra.u16()) {
        let Ok(field) = extra.take(usize::from(length)) else {
            return;
        };
        if id == EXTRA_64 {
            let mut field = Cursor::new(field, 0);
            for number in numbers.iter_mut().filter(|number| **number == IN_EXTRA) {
                if let Ok(wide) = field.u64() {
                    *number = wide;
                }
            }
            return;
        }
    }
}

/// The local header repeats name and method; a file whose two directories differ means different things to
/// different readers.
fn local_data_start(bytes: &[u8], header: usize, name: &[u8], method: u16) -> Parsed<usize> {
    let mut local = Cursor::new(bytes, header);
    let differs = || damaged(format!("the archive's directories differ at byte {header}"));
    if local.take(LOCAL_HEADER.len())? != LOCAL_HEADER {
        return Err(differs());
    }
    local.take(2 + 2)?;
    let local_method = local.u16()?;
    local.take(2 + 2 + 4 + 4 + 4)?;
    let lengths = (usize::from(local.u16()?), usize::from(local.u16()?));
    if local.take(lengths.0)? != name || local_method != method {
        return Err(differs());
    }
    local.take(lengths.1)?;
    Ok(local.position())
}

/// Names go nowhere but into error texts and look-ups; one that would lead out of a folder shows that somebody
/// hopes for an extractor.
fn plain_name(name: &[u8]) -> Parsed<String> {
    let text = std::str::from_utf8(name).ok().filter(|text| {
        let mut parts = text.strip_suffix('/').unwrap_or(text).split('/');
        !text.contains(['\\', '\0', ':']) && parts.all(|part| !matches!(part, "" | "." | ".."))
    });
    text.map(str::to_string).ok_or_else(|| {
        damaged(format!(
            "the archive's entry name `{}` is no plain path",
            shorten(&String::from_utf8_lossy(name))
        ))
    })
}

fn refuse_overlaps(entries: &BTreeMap<String, ZipEntry>) -> Parsed<()> {
    let mut sorted: Vec<(&String, &ZipEntry)> = entries.iter().collect();
    sorted.sort_unstable_by_key(|(_, entry)| entry.header);
    for pair in sorted.windows(2) {
        if pair[1].1.header < pair[0].1.range.end {
            return Err(damaged(format!(
                "entries `{}` and `{}` of the archive overlap",
                shorten(pair[0].0),
                shorten(pair[1].0)
            )));
        }
    }
    Ok(())
}
