//! From a tree of values to tensors and other leaves with dotted names.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::TensorEntry;
use crate::entry::Claim;
use crate::error::{Fault, Parsed, damaged, shorten};
use crate::pickle::{Id, Node, Pickle, StorageClaim, TensorClaim};
use crate::table::Table;

/// Levels of values inside of values. A value may contain itself, so without a bound the walk might not end.
const DEPTH_MAX: usize = 128;
/// Values met on the walk, for each byte of the pickle. A place in a list or dict takes a byte or more, so who has more
/// places than this shares values that share values, and may have 2^N of them in N bytes.
const VISITS_PER_BYTE: u64 = 4;
const NAME_MAX_BYTES: usize = 1_024;
/// Names, texts and shapes together: a text that many places share is copied to each.
const COPIED_MAX_BYTES: usize = 64 << 20;
/// Tensors and other values, each an entry of a map; ten times those of a large model with its optimizer.
const LEAVES_MAX: u64 = 1_000_000;
/// What a file is called that is one tensor.
const ROOT_NAME: &str = "tensor";

/// A value of a pickle that is no tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum OtherValue {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text; also a type or a device, by its name.
    Text(String),
    /// Raw bytes, or a number beyond 64 bits: only that they are there.
    Opaque,
}

impl fmt::Display for OtherValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Bool(value) => value.fmt(formatter),
            Self::Int(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
            Self::Text(value) => formatter.write_str(value),
            Self::Opaque => formatter.write_str("(bytes)"),
        }
    }
}

/// Where the bytes of a storage lie.
pub(crate) trait Storages {
    /// The storage's bytes in the file, checked against what is there.
    fn range(&self, claim: &StorageClaim<'_>) -> Parsed<Range<usize>>;
}

/// All leaves of a pickle.
pub(crate) struct Leaves {
    pub(crate) table: Table,
    pub(crate) other_values: BTreeMap<String, OtherValue>,
}

/// Walks the whole pickle. Keys are joined by dots, items of lists are counted from 0.
pub(crate) fn collect(
    pickle: &Pickle<'_>,
    storages: &dyn Storages,
    file_bytes: usize,
) -> Parsed<Leaves> {
    let mut walk = Walk {
        pickle,
        storages,
        leaves: Leaves {
            table: Table::of_bytes(file_bytes),
            other_values: BTreeMap::new(),
        },
        visits_left: pickle.consumed as u64 * VISITS_PER_BYTE,
        leaves_left: LEAVES_MAX,
        copied_bytes: 0,
        path: String::new(),
        depth: 0,
    };
    walk.visit(pickle.root)?;
    Ok(walk.leaves)
}

struct Walk<'a> {
    pickle: &'a Pickle<'a>,
    storages: &'a dyn Storages,
    leaves: Leaves,
    visits_left: u64,
    leaves_left: u64,
    copied_bytes: usize,
    path: String,
    depth: usize,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id) -> Parsed<()> {
        self.visits_left = self.visits_left.checked_sub(1).ok_or(Fault::Excess {
            what: "values, those in several places counted at each",
            limit: self.pickle.consumed as u64 * VISITS_PER_BYTE,
        })?;
        let pickle = self.pickle;
        let other = match pickle.node(id) {
            Node::Tensor(claim) => return self.tensor(claim),
            Node::Tuple(items) | Node::List(items) => {
                return self.below(|walk| {
                    let mut numbered = items.iter().enumerate();
                    numbered.try_for_each(|(index, &item)| walk.named(&index.to_string(), item))
                });
            }
            Node::Dict(pairs) => return self.dict(pairs),
            Node::Object(Some(state)) => {
                let state = *state;
                return self.below(|walk| walk.visit(state));
            }
            Node::Object(None) | Node::None => OtherValue::None,
            Node::Bool(value) => OtherValue::Bool(*value),
            Node::Int(value) => OtherValue::Int(*value),
            Node::Float(value) => OtherValue::Float(*value),
            Node::Text(text) => {
                self.charge(text.len())?;
                OtherValue::Text(text.to_string())
            }
            Node::Global(global) => OtherValue::Text(global.to_string()),
            Node::Bytes(_) | Node::LongInt | Node::NumpyType(_) => OtherValue::Opaque,
            Node::Storage(_) => return Err(Fault::save_again("a storage without a tensor")),
        };
        let name = self.name()?;
        match self.leaves.other_values.insert(name.clone(), other) {
            None => Ok(()),
            Some(_) => Err(damaged(format!(
                "two values are named `{}`",
                shorten(&name)
            ))),
        }
    }

    fn dict(&mut self, pairs: &[(Id, Id)]) -> Parsed<()> {
        self.below(|walk| {
            pairs
                .iter()
                .try_for_each(|&(key, value)| match walk.pickle.node(key) {
                    Node::Text(key) => walk.named(key, value),
                    Node::Int(key) => walk.named(&key.to_string(), value),
                    Node::Bool(key) => walk.named(&key.to_string(), value),
                    Node::Float(key) => walk.named(&key.to_string(), value),
                    Node::None => walk.named("None", value),
                    _ => Err(Fault::save_again(
                        "a dict whose keys are neither texts nor numbers",
                    )),
                })
        })
    }

    fn tensor(&mut self, claim: &TensorClaim<'_>) -> Parsed<()> {
        let name = self.name()?;
        self.charge(claim.storage.key.len())?;
        self.charge(size_of_val(&*claim.shape) + size_of_val(&*claim.strides))?;
        let entry = TensorEntry::check(
            &name,
            &Claim {
                dtype: claim.dtype,
                shape: &claim.shape,
                strides: Some(&claim.strides),
                offset: claim.offset,
                storage: self.storages.range(&claim.storage)?,
                source: 0,
            },
        )?;
        self.leaves.table.insert(name, entry)
    }

    /// The name of the value where the walk is.
    fn name(&mut self) -> Parsed<String> {
        self.charge(self.path.len())?;
        self.leaves_left = self.leaves_left.checked_sub(1).ok_or(Fault::Excess {
            what: "tensors and other values",
            limit: LEAVES_MAX,
        })?;
        Ok(if self.depth == 0 {
            ROOT_NAME.to_string()
        } else {
            self.path.clone()
        })
    }

    /// Accounts for a copy of so many bytes.
    fn charge(&mut self, bytes: usize) -> Parsed<()> {
        self.copied_bytes += bytes;
        if self.copied_bytes > COPIED_MAX_BYTES {
            return Err(Fault::Excess {
                what: "bytes in names, texts and shapes",
                limit: COPIED_MAX_BYTES as u64,
            });
        }
        Ok(())
    }

    /// Visits a value whose name is the path so far and `key`.
    fn named(&mut self, key: &str, value: Id) -> Parsed<()> {
        let length = self.path.len();
        if length + 1 + key.len() > NAME_MAX_BYTES {
            return Err(Fault::Excess {
                what: "bytes in a name",
                limit: NAME_MAX_BYTES as u64,
            });
        }
        if self.depth > 1 && length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let outcome = self.visit(value);
        self.path.truncate(length);
        outcome
    }

    fn below(&mut self, visit: impl FnOnce(&mut Self) -> Parsed<()>) -> Parsed<()> {
        if self.depth >= DEPTH_MAX {
            return Err(Fault::Excess {
                what: "levels of values inside of values",
                limit: DEPTH_MAX as u64,
            });
        }
        self.depth += 1;
        let outcome = visit(self);
        self.depth -= 1;
        outcome
    }
}
