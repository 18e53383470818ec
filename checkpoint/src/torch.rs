//! Files of `torch.save` and `torch.jit.save`.

mod archive;
mod leaves;
mod legacy;

pub(crate) use archive::read_archive;
pub use leaves::OtherValue;
pub(crate) use legacy::{is_legacy, is_pickle, read_legacy};

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Format;
use crate::table::Table;

/// What a torch file holds.
pub(crate) struct TorchFile {
    pub(crate) format: Format,
    pub(crate) table: Table,
    pub(crate) other_values: BTreeMap<String, OtherValue>,
    pub(crate) checks: Vec<EntryCheck>,
}

/// The CRC-32 that an archive promises for one of its entries.
#[derive(Debug, Clone)]
pub(crate) struct EntryCheck {
    pub(crate) name: String,
    pub(crate) range: Range<usize>,
    pub(crate) crc32: u32,
}
