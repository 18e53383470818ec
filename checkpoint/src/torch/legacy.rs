//! The layout before torch 1.6: five pickles one after another, then the storages.
//!
//! Source: `torch/serialization.py` (`_legacy_save`): magic number, protocol, system, object, keys of the storages;
//! then for each key its number of elements as an i64 and its bytes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::TorchFile;
use super::leaves::{Storages, collect};
use crate::Format;
use crate::cursor::Cursor;
use crate::error::{Fault, Parsed, damaged, shorten};
use crate::pickle::{self, Dialect, Node, Pickle, StorageClaim};

/// 0x1950a86a20f9469cfc6c as a pickle of protocol 2 or later writes it, behind the protocol.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTO: u8 = 0x80;
const PROTOCOL_VERSION: i64 = 1001;

/// Whether these bytes are a pickle of any kind.
pub(crate) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [PROTO, 2..=5, ..])
}

/// Whether these bytes are a file of `torch.save` in the old layout.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    is_pickle(bytes) && bytes[2..].starts_with(MAGIC)
}

/// Reads the pickles and finds the storages.
pub(crate) fn read_legacy(bytes: &[u8]) -> Parsed<TorchFile> {
    let mut position = 2 + MAGIC.len();
    let version = next(bytes, &mut position)?;
    if !matches!(version.node(version.root), Node::Int(PROTOCOL_VERSION)) {
        return Err(Fault::save_again(
            "another version of the layout before torch 1.6",
        ));
    }
    let system = next(bytes, &mut position)?;
    check_byte_order(&system)?;
    let object = next(bytes, &mut position)?;
    let keys = next(bytes, &mut position)?;
    let sizes = element_sizes(&object)?;
    let storages = LegacyStorages {
        ranges: find_storages(bytes, position, &keys, &sizes)?,
    };
    let leaves = collect(&object, &storages, bytes.len())?;
    Ok(TorchFile {
        format: Format::TorchPickle,
        table: leaves.table,
        other_values: leaves.other_values,
        checks: Vec::new(),
    })
}

fn next<'a>(bytes: &'a [u8], position: &mut usize) -> Parsed<Pickle<'a>> {
    let rest = bytes.get(*position..).unwrap_or_default();
    let pickle = pickle::run(rest, Dialect::Python)?;
    *position += pickle.consumed;
    Ok(pickle)
}

fn check_byte_order(system: &Pickle<'_>) -> Parsed<()> {
    let Node::Dict(facts) = system.node(system.root) else {
        return Err(damaged(
            "the description of the system that wrote it is no dict",
        ));
    };
    let is_little =
        facts.iter().find_map(
            |&(key, value)| match (system.node(key), system.node(value)) {
                (Node::Text(key), &Node::Bool(is_little)) if key == "little_endian" => {
                    Some(is_little)
                }
                _ => None,
            },
        );
    match is_little {
        Some(true) | None => Ok(()),
        Some(false) => Err(Fault::Unsupported {
            what: "big-endian byte order".to_string(),
            remedy: "save the file again on a little-endian machine".to_string(),
        }),
    }
}

/// Bytes of an element of each storage: they stand with the tensors alone.
fn element_sizes(object: &Pickle<'_>) -> Parsed<HashMap<String, usize>> {
    let mut sizes = HashMap::new();
    for node in object.nodes() {
        if let Node::Storage(claim) = node {
            let size = claim.kind.size_bytes();
            if sizes
                .insert(claim.key.to_string(), size)
                .is_some_and(|before| before != size)
            {
                return Err(damaged(format!(
                    "storage `{}` has two types",
                    shorten(&claim.key)
                )));
            }
        }
    }
    Ok(sizes)
}

/// The bytes of each storage, in the order of the keys.
fn find_storages(
    bytes: &[u8],
    position: usize,
    keys: &Pickle<'_>,
    sizes: &HashMap<String, usize>,
) -> Parsed<BTreeMap<String, Range<usize>>> {
    let Node::List(list) = keys.node(keys.root) else {
        return Err(damaged("the storages' keys are no list"));
    };
    let mut cursor = Cursor::new(bytes, position);
    let mut ranges = BTreeMap::new();
    for &key in list {
        let Node::Text(key) = keys.node(key) else {
            return Err(damaged("a storage's key is no text"));
        };
        let size = sizes.get(&**key).copied();
        let size =
            size.ok_or_else(|| damaged(format!("no tensor is of storage `{}`", shorten(key))))?;
        let elements = cursor.u64()?;
        let length = usize::try_from(elements)
            .ok()
            .and_then(|elements| elements.checked_mul(size));
        cursor.take(length.unwrap_or(usize::MAX))?;
        let end = cursor.position();
        if ranges
            .insert(key.to_string(), end - length.unwrap_or(0)..end)
            .is_some()
        {
            return Err(damaged(format!(
                "storage `{}` is there twice",
                shorten(key)
            )));
        }
    }
    Ok(ranges)
}

struct LegacyStorages {
    ranges: BTreeMap<String, Range<usize>>,
}

impl Storages for LegacyStorages {
    fn range(&self, claim: &StorageClaim<'_>) -> Parsed<Range<usize>> {
        let range = self.ranges.get(&*claim.key);
        range
            .cloned()
            .ok_or_else(|| damaged(format!("storage `{}` is not there", shorten(&claim.key))))
    }
}
