//! The bytes of a file: mapped from the disk, or held in memory.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::CheckpointError;

/// One file's bytes.
pub(crate) enum Source {
    Mapped(Mmap),
    Held(Cow<'static, [u8]>),
}

impl Source {
    /// Maps a file; none of it is read now.
    pub(crate) fn map(path: &Path) -> Result<Self, CheckpointError> {
        let open_error = |source| CheckpointError::Open {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe would wait for its other end.
        if !fs::metadata(path).map_err(open_error)?.is_file() {
            return Err(open_error(io::Error::other("it is not a file")));
        }
        let file = File::open(path).map_err(open_error)?;
        if file.metadata().map_err(open_error)?.len() == 0 {
            return Err(CheckpointError::Empty {
                origin: path.display().to_string(),
            });
        }
        #[expect(unsafe_code, reason = "there is no other way to map a file")]
        // SAFETY: the map is read-only and only read as bytes, for which every value is valid. That nobody
        // shortens or rewrites the file meanwhile is the contract of `TensorFile::open`.
        let map = unsafe { Mmap::map(&file) }.map_err(open_error)?;
        Ok(Self::Mapped(map))
    }

    /// Lets the system take the pages of a range back; reading them again reads the file again.
    pub(crate) fn discard(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            if range.is_empty() {
                return;
            }
            #[expect(
                unsafe_code,
                reason = "the advice that drops pages is unchecked in memmap2"
            )]
            // SAFETY: the map is of a file and read-only, so a dropped page comes back with the same bytes; only
            // for anonymous or written private pages would contents be lost.
            let outcome = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "pages could not be discarded");
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}

/// Bytes of one tensor that keep their file mapped for as long as they live.
#[derive(Clone)]
pub struct MappedBytes {
    source: Arc<Source>,
    range: Range<usize>,
}

impl MappedBytes {
    /// `range` must lie inside of the source.
    pub(crate) fn new(source: Arc<Source>, range: Range<usize>) -> Self {
        Self { source, range }
    }
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.source[self.range.clone()]
    }
}

impl AsRef<[u8]> for MappedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for MappedBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MappedBytes")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
