//! A byte range of a larger source, so that a decoder never meets tags around the sound.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// Bytes `start..end` of `inner`, seen as a source of their own.
pub(crate) struct Section<R> {
    inner: R,
    start: u64,
    end: u64,
    position: u64,
}

impl<R: Read + Seek> Section<R> {
    /// Bytes `start..end`; the caller makes sure that they exist.
    pub(crate) fn new(mut inner: R, start: u64, end: u64) -> io::Result<Self> {
        inner.seek(SeekFrom::Start(start))?;
        Ok(Self {
            inner,
            start,
            end: end.max(start),
            position: 0,
        })
    }

    fn len(&self) -> u64 {
        self.end - self.start
    }
}

impl<R: Read> Read for Section<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.end - self.start).saturating_sub(self.position);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..wanted])?;
        self.position += got as u64;
        Ok(got)
    }
}

impl<R: Read + Seek> Seek for Section<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
        };
        let absolute = target.and_then(|offset| self.start.checked_add(offset));
        let (Some(target), Some(absolute)) = (target, absolute) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.inner.seek(SeekFrom::Start(absolute))?;
        self.position = target;
        Ok(target)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Section<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_is_seen() {
        let mut section = Section::new(io::Cursor::new(b"0123456789".to_vec()), 2, 6).unwrap();
        let mut text = String::new();
        section.read_to_string(&mut text).unwrap();
        assert_eq!(text, "2345");
        assert_eq!(section.seek(SeekFrom::End(-1)).unwrap(), 3);
        text.clear();
        section.read_to_string(&mut text).unwrap();
        assert_eq!(text, "5");
        assert!(section.seek(SeekFrom::Current(-9)).is_err());
    }
}
