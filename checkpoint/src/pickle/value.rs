//! What a pickle can hold here.

use std::borrow::Cow;

use super::Global;
use super::numpy::NumpyType;
use crate::ElementType;

/// The number of a value in its pickle's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(super) u32);

/// A value; those inside of others are numbers.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Too large for 64 bits: little-endian two's complement.
    LongInt,
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global<'a>),
    /// An instance of a TorchScript class: its attributes, once they are set.
    Object(Option<Id>),
    Storage(Box<StorageClaim<'a>>),
    Tensor(Box<TensorClaim<'a>>),
    NumpyType(NumpyType),
}

/// Elements of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageType {
    Typed(ElementType),
    /// Bytes; each tensor says what they are.
    Untyped,
}

impl StorageType {
    pub(crate) fn size_bytes(self) -> usize {
        match self {
            Self::Typed(dtype) => dtype.size_bytes(),
            Self::Untyped => 1,
        }
    }
}

/// A persistent id: a stretch of bytes outside of the pickle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StorageClaim<'a> {
    pub(crate) kind: StorageType,
    pub(crate) key: Cow<'a, str>,
    /// In elements; bytes of an untyped one.
    pub(crate) length: u64,
}

/// A tensor as the pickle says it.
#[derive(Debug, Clone)]
pub(crate) struct TensorClaim<'a> {
    pub(crate) storage: StorageClaim<'a>,
    pub(crate) dtype: ElementType,
    pub(crate) offset: i64,
    pub(crate) shape: Vec<i64>,
    pub(crate) strides: Vec<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte of a pickle makes a node: what it takes is what the machine's bound on values is worth.
    #[test]
    fn nodes_are_small() {
        assert!(size_of::<Node<'_>>() <= 32, "{}", size_of::<Node<'_>>());
    }
}
