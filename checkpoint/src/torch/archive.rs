//! The zip layout: `PREFIX/data.pkl`, `PREFIX/data/KEY` for each storage, and for TorchScript `PREFIX/code/`.
//!
//! Source: `torch/serialization.py` (`_load`) and `caffe2/serialize/inline_container.cc` of PyTorch.

use std::collections::BTreeMap;
use std::ops::Range;

use super::leaves::{Storages, collect};
use super::{EntryCheck, TorchFile};
use crate::Format;
use crate::error::{Fault, Parsed, damaged, shorten};
use crate::pickle::{self, Dialect, StorageClaim};
use crate::zip::{self, ZipEntry};

const PICKLE_NAME: &str = "data.pkl";
/// A few kilobytes a layer; this is thousands of times the largest.
const PICKLE_MAX_BYTES: usize = 256 << 20;

/// Reads an archive's directory and its pickle.
pub(crate) fn read_archive(bytes: &[u8]) -> Parsed<TorchFile> {
    let entries = zip::read(bytes)?;
    let prefix = prefix(&entries)?;
    let archive = Archive {
        bytes,
        entries,
        prefix,
    };
    archive.check_byte_order()?;
    let is_script = archive.has("constants.pkl");
    let (format, dialect) = if is_script {
        (Format::TorchScript, Dialect::TorchScript)
    } else {
        (Format::TorchPickle, Dialect::Python)
    };
    let range = archive.stored(PICKLE_NAME)?;
    if range.len() > PICKLE_MAX_BYTES {
        return Err(Fault::Excess {
            what: "bytes in the pickle",
            limit: PICKLE_MAX_BYTES as u64,
        });
    }
    let pickle = pickle::run(&bytes[range], dialect)?;
    let leaves = collect(&pickle, &archive, bytes.len())?;
    Ok(TorchFile {
        format,
        table: leaves.table,
        other_values: leaves.other_values,
        checks: archive.checks(),
    })
}

struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<String, ZipEntry>,
    /// The folder of all entries, with its slash.
    prefix: String,
}

impl Archive<'_> {
    fn entry(&self, name: &str) -> Option<&ZipEntry> {
        self.entries.get(&format!("{}{name}", self.prefix))
    }

    fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The bytes of an entry that is not compressed.
    fn stored(&self, name: &str) -> Parsed<Range<usize>> {
        let entry = self
            .entry(name)
            .ok_or_else(|| damaged(format!("the archive has no entry `{}`", shorten(name))))?;
        if !entry.is_stored {
            return Err(Fault::Unsupported {
                what: format!(
                    "compression (entry `{}`), which torch never uses for weights",
                    shorten(name)
                ),
                remedy: "unpack the archive and pack it again with `zip -0 -r`".to_string(),
            });
        }
        Ok(entry.range.clone())
    }

    fn check_byte_order(&self) -> Parsed<()> {
        if !self.has("byteorder") {
            return Ok(());
        }
        match &self.bytes[self.stored("byteorder")?] {
            b"little" => Ok(()),
            b"big" => Err(Fault::Unsupported {
                what: "big-endian byte order".to_string(),
                remedy: "save the file again on a little-endian machine".to_string(),
            }),
            _ => Err(damaged(
                "the archive's byte order is neither `little` nor `big`",
            )),
        }
    }

    /// What weights are read from: the pickle and the storages.
    fn checks(&self) -> Vec<EntryCheck> {
        let pickle = format!("{}{PICKLE_NAME}", self.prefix);
        let data = format!("{}data/", self.prefix);
        let of_weights = self.entries.iter().filter(|(name, entry)| {
            entry.is_stored && (**name == pickle || name.starts_with(&data))
        });
        of_weights
            .map(|(name, entry)| EntryCheck {
                name: name.clone(),
                range: entry.range.clone(),
                crc32: entry.crc32,
            })
            .collect()
    }
}

impl Storages for Archive<'_> {
    fn range(&self, claim: &StorageClaim<'_>) -> Parsed<Range<usize>> {
        let range = self.stored(&format!("data/{}", claim.key))?;
        let bytes = usize::try_from(claim.length)
            .ok()
            .and_then(|length| length.checked_mul(claim.kind.size_bytes()))
            .filter(|&bytes| bytes <= range.len());
        let bytes = bytes.ok_or_else(|| {
            damaged(format!(
                "storage `{}` should have {} elements of {} bytes, its entry has {} bytes",
                shorten(&claim.key),
                claim.length,
                claim.kind.size_bytes(),
                range.len()
            ))
        })?;
        Ok(range.start..range.start + bytes)
    }
}

/// The folder that holds the pickle: the archive's name when it was saved, whatever the file is called now.
fn prefix(entries: &BTreeMap<String, ZipEntry>) -> Parsed<String> {
    let mut prefixes = entries
        .keys()
        .filter_map(|name| name.strip_suffix(PICKLE_NAME))
        .filter(|prefix| {
            prefix.is_empty() || prefix.ends_with('/') && prefix.matches('/').count() == 1
        });
    let prefix = prefixes.next().ok_or_else(|| {
        Fault::NotWeights("a zip archive without a data.pkl, so none of torch".to_string())
    })?;
    match prefixes.next() {
        None => Ok(prefix.to_string()),
        Some(_) => Err(damaged("the archive has two data.pkl")),
    }
}
