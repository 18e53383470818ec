//! Files of torch made by hand, right or wrong in every field.

#![allow(dead_code, reason = "no test uses all of it")]

/// Magic number, protocol and system of the layout before torch 1.6.
pub(crate) const LEGACY_START: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\
    \x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

/// One entry, as both directories say it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc32: u32,
    /// Size in the central directory, where it is not that of the bytes.
    pub(crate) claimed_size: Option<u32>,
    /// Place of the local header in the central directory, where it is not the true one.
    pub(crate) claimed_start: Option<u32>,
}

impl Entry {
    pub(crate) fn stored(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_string(),
            bytes: bytes.to_vec(),
            method: 0,
            flags: 0,
            crc32: 0,
            claimed_size: None,
            claimed_start: None,
        }
    }
}

/// The bytes of an archive of these entries.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut central = Vec::new();
    for entry in entries {
        let start = entry.claimed_start.unwrap_or(bytes.len() as u32);
        let size = entry.claimed_size.unwrap_or(entry.bytes.len() as u32);
        let mut common = Vec::new();
        for number in [20, entry.flags, entry.method, 0, 0] {
            common.extend(number.to_le_bytes());
        }
        for number in [entry.crc32, size, size] {
            common.extend(number.to_le_bytes());
        }
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&entry.bytes);
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        central.extend([0; 2 + 2 + 2 + 4]);
        central.extend(start.to_le_bytes());
        central.extend(entry.name.as_bytes());
    }
    let (start, count) = (bytes.len() as u32, entries.len() as u16);
    bytes.extend(&central);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend((central.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
