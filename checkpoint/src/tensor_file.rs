//! A file of tensors, whatever its format.

mod open;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Fault, shorten};
use crate::source::{MappedBytes, Source};
use crate::torch::{EntryCheck, OtherValue};
use crate::{CheckpointError, TensorEntry, strided};

/// Strided tensors are gathered in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// Names that an error shows.
const NAMES_SHOWN: usize = 3;

/// The layout of a weight file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// An index and its safetensors files.
    ShardedSafetensors,
    /// `torch.save`.
    TorchPickle,
    /// `torch.jit.save`.
    TorchScript,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::ShardedSafetensors => "safetensors in shards",
            Self::TorchPickle => "torch pickle",
            Self::TorchScript => "TorchScript",
        })
    }
}

/// The tensors of a file, mapped and not copied. Clones share the map.
///
/// Sources: the safetensors format; `torch/serialization.py` for pickles and TorchScript.
#[derive(Clone)]
pub struct TensorFile {
    contents: Arc<Contents>,
    tensors: Arc<BTreeMap<String, TensorEntry>>,
}

/// What renaming does not change.
struct Contents {
    origin: String,
    /// The files that were opened; none for bytes.
    paths: Vec<PathBuf>,
    format: Format,
    metadata: BTreeMap<String, String>,
    other_values: BTreeMap<String, OtherValue>,
    sources: Vec<Arc<Source>>,
    checks: Vec<EntryCheck>,
}

impl TensorFile {
    /// The file's name, or what the bytes were called.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.contents.origin
    }

    /// The layout that was found.
    #[must_use]
    pub fn format(&self) -> Format {
        self.contents.format
    }

    /// The free texts of a safetensors file or index; empty for other formats.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What is known of a tensor.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// A tensor's bytes, row by row and little-endian: borrowed from the map where they lie so, gathered otherwise.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`].
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, CheckpointError> {
        let entry = self.require(name)?;
        let source = self.source(entry);
        if entry.is_contiguous() {
            return Ok(Cow::Borrowed(&source[entry.span()]));
        }
        let mut gathered = Vec::with_capacity(entry.byte_length());
        let Ok(()) = strided::for_each_piece(source, entry, PIECE_BYTES, |piece| {
            gathered.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        Ok(Cow::Owned(gathered))
    }

    /// A tensor's bytes as a part of the map that outlives this file; `None` for a tensor that is not there or not
    /// contiguous. Nothing is promised of their alignment.
    #[must_use]
    pub fn mapped(&self, name: &str) -> Option<MappedBytes> {
        let entry = self.entry(name).filter(|entry| entry.is_contiguous())?;
        let source = Arc::clone(self.contents.sources.get(entry.source())?);
        Some(MappedBytes::new(source, entry.span()))
    }

    /// Gives the memory of a tensor's mapped pages back, or of the whole file; reading them again reads the disk again.
    /// So whoever takes one tensor after another needs the memory of one. Does nothing for bytes in memory.
    pub fn discard_pages(&self, name: Option<&str>) {
        match name {
            None => self
                .sources()
                .iter()
                .for_each(|source| source.discard(0..source.len())),
            Some(name) => {
                if let Some(entry) = self.entry(name) {
                    self.source(entry).discard(entry.span());
                }
            }
        }
    }

    /// What a pickle holds besides tensors (steps, rates, settings), by the same kind of name. Those of the whole file,
    /// also in a renamed view.
    #[must_use]
    pub fn other_values(&self) -> &BTreeMap<String, OtherValue> {
        &self.contents.other_values
    }

    /// The same tensors under other names; `None` leaves one out.
    ///
    /// # Errors
    /// [`CheckpointError::Duplicate`] when two tensors get one name.
    pub fn renamed(
        &self,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CheckpointError> {
        let mut tensors = BTreeMap::new();
        for (name, entry) in &*self.tensors {
            let Some(name) = rename(name) else { continue };
            if tensors.contains_key(&name) {
                return Err(Fault::Duplicate(shorten(&name)).in_file(self.origin()));
            }
            tensors.insert(name, entry.clone());
        }
        Ok(Self {
            contents: Arc::clone(&self.contents),
            tensors: Arc::new(tensors),
        })
    }

    /// Calls `take` with a tensor's bytes in bounded pieces, giving the pages of each back.
    pub(crate) fn for_each_piece(
        &self,
        entry: &TensorEntry,
        piece_bytes: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let source = self.source(entry);
        let span = entry.span();
        let mut done = span.start;
        strided::for_each_piece(source, entry, piece_bytes, |piece| {
            take(piece)?;
            if entry.is_contiguous() {
                source.discard(done..done + piece.len());
                done += piece.len();
            }
            Ok(())
        })?;
        source.discard(span);
        Ok(())
    }

    /// Bytes of all files that it was read from.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        let lengths = self.sources().iter().map(|source| source.len() as u64);
        lengths.sum()
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&String, &TensorEntry)> {
        self.tensors.iter()
    }

    pub(crate) fn sources(&self) -> &[Arc<Source>] {
        &self.contents.sources
    }

    pub(crate) fn checks(&self) -> &[EntryCheck] {
        &self.contents.checks
    }

    /// The files that were opened; none for bytes in memory.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.contents.paths.iter().map(PathBuf::as_path)
    }

    fn source(&self, entry: &TensorEntry) -> &Source {
        &self.contents.sources[entry.source()]
    }

    pub(crate) fn require(&self, name: &str) -> Result<&TensorEntry, CheckpointError> {
        self.entry(name).ok_or_else(|| CheckpointError::Missing {
            origin: self.origin().to_string(),
            name: name.to_string(),
            hint: self.hint(name),
        })
    }

    fn hint(&self, name: &str) -> String {
        let last = name.rsplit('.').next().unwrap_or(name);
        let alike = self
            .names()
            .filter(|other| other.ends_with(last) || other.ends_with(name));
        let alike: Vec<String> = alike.take(NAMES_SHOWN).map(shorten).collect();
        if alike.is_empty() {
            String::new()
        } else {
            format!(" (it has {})", alike.join(", "))
        }
    }
}

impl fmt::Debug for TensorFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TensorFile")
            .field("origin", &self.origin())
            .field("format", &self.format())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
