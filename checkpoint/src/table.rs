//! The tensors of a file by name, with a bound on what they claim in all.

use std::collections::BTreeMap;

use crate::TensorEntry;
use crate::error::{Fault, Parsed};

/// Tied weights claim the same bytes under several names, and expanded ones claim more than they have; a model does
/// neither often.
const CLAIMED_PER_BYTE_MAX: u64 = 16;
/// Free of the bound above, for small files.
const CLAIMED_FREE_BYTES: u64 = 64 << 20;

/// Names and entries, each name once.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: BTreeMap<String, TensorEntry>,
    file_bytes: u64,
    claimed_bytes: u64,
}

impl Table {
    /// The table of a file of so many bytes.
    pub(crate) fn of_bytes(file_bytes: usize) -> Self {
        Self {
            file_bytes: file_bytes as u64,
            ..Self::default()
        }
    }

    pub(crate) fn insert(&mut self, name: String, entry: TensorEntry) -> Parsed<()> {
        self.claimed_bytes = self
            .claimed_bytes
            .saturating_add(entry.byte_length() as u64);
        let limit = self
            .file_bytes
            .saturating_mul(CLAIMED_PER_BYTE_MAX)
            .saturating_add(CLAIMED_FREE_BYTES);
        if self.claimed_bytes > limit {
            return Err(Fault::Excess {
                what: "bytes claimed by all tensors together",
                limit,
            });
        }
        if self.entries.contains_key(&name) {
            return Err(Fault::Duplicate(crate::error::shorten(&name)));
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    /// Takes the tensors of another file in.
    pub(crate) fn join(&mut self, other: Self) -> Parsed<()> {
        self.file_bytes = self.file_bytes.saturating_add(other.file_bytes);
        other
            .entries
            .into_iter()
            .try_for_each(|(name, entry)| self.insert(name, entry))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    pub(crate) fn into_entries(self) -> BTreeMap<String, TensorEntry> {
        self.entries
    }
}
