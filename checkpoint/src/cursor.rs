//! Little-endian numbers from bytes that may end at any place.

use crate::error::{Fault, Parsed};

/// A place in bytes; reading past their end is a [`Fault::Truncated`].
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            return Err(Fault::Truncated(format!(
                "{count} bytes are needed at byte {}, {} are there",
                self.position,
                rest.len()
            )));
        };
        self.position += count;
        Ok(taken)
    }

    /// The bytes before the next line feed, which is passed over.
    pub(crate) fn line(&mut self) -> Parsed<&'a [u8]> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| {
            Fault::Truncated(format!(
                "a line that starts at byte {} has no end",
                self.position
            ))
        })?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    pub(crate) fn array<const COUNT: usize>(&mut self) -> Parsed<[u8; COUNT]> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
