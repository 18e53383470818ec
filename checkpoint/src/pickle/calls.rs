//! What the allowed globals make of their arguments.

use std::borrow::Cow;

use super::global::RebuildTensor;
use super::machine::Machine;
use super::numpy::NumpyType;
use super::value::StorageClaim;
use super::{Global, Id, Node, StorageType, TensorClaim};
use crate::entry::DIMENSIONS_MAX;
use crate::error::{Fault, Parsed, damaged};

/// No function here takes more arguments.
const ARGUMENTS_MAX: usize = 16;
/// What a tensor's claim costs besides its shape and strides, as a number of copied parts. With its storage, shape and flags a tensor
/// that torch wrote takes 35 bytes of the pickle or more; one whose arguments come from the memo takes 5.
const PARTS_OF_A_CLAIM: usize = 16;

impl<'a> Machine<'a> {
    /// The value of `global(*arguments)`; `is_new` when a bare instance is asked for.
    pub(super) fn result_of(
        &mut self,
        global: Global<'a>,
        arguments: Id,
        is_new: bool,
    ) -> Parsed<Id> {
        let arguments = self.items(arguments, ARGUMENTS_MAX)?;
        if is_new && !matches!(global, Global::Scripted | Global::OrderedDict) {
            return Err(wrong(global));
        }
        let node = match (global, arguments.as_slice()) {
            (Global::RebuildTensor(version), arguments) => {
                self.rebuild_tensor(version, arguments)?
            }
            (Global::RebuildParameter, &[tensor, ..]) => return self.expect_tensor(tensor),
            (Global::RebuildFromType, &[function, class, arguments, ..]) => {
                return self.rebuild_from_type(function, class, arguments);
            }
            (Global::Identity, &[value]) => return Ok(value),
            (Global::Identity, []) => Node::Tuple(Vec::new()),
            (Global::RestoreTypeTag, &[value, _]) => return Ok(value),
            (Global::Set, &[list]) => return Ok(list),
            (Global::Set, []) => Node::List(Vec::new()),
            (Global::Device, arguments) => self.device(arguments)?,
            (Global::OrderedDict | Global::DefaultDict, []) => Node::Dict(Vec::new()),
            (Global::DefaultDict, &[_factory]) => Node::Dict(Vec::new()),
            (Global::OrderedDict, &[pairs]) => self.dict_of_pairs(pairs)?,
            (Global::Scripted, []) if is_new => Node::Object(None),
            (Global::Encode, &[text, _coding]) => self.encoded(text)?,
            (Global::NumpyType, &[code, ..]) => self.numpy_type(code)?,
            (Global::NumpyScalar, &[kind, bytes]) => self.numpy_scalar(kind, bytes)?,
            _ => return Err(wrong(global)),
        };
        self.keep(node)
    }

    /// `BUILD`: sets what is left of an instance's state.
    pub(super) fn build(&mut self, target: Id, state: Id) -> Parsed<()> {
        match self.node(target) {
            Node::Object(None) => {
                *self.node_mut(target) = Node::Object(Some(state));
                Ok(())
            }
            // A state dict carries the versions of its modules as an attribute.
            Node::Dict(_) if self.is_only_versions(state) => Ok(()),
            Node::NumpyType(_) if self.is_native_order(state) => Ok(()),
            _ => Err(Fault::save_again("an object with a state of its own")),
        }
    }

    /// A persistent id: `("storage", class, key, location, length)`, in old files with a view behind.
    pub(super) fn persistent(&self, id: Id) -> Parsed<Node<'a>> {
        let items = self.items(id, ARGUMENTS_MAX)?;
        let (&[tag, class, key, _location, length], view) = items
            .split_first_chunk()
            .ok_or_else(|| damaged("a persistent id is no storage"))?;
        let is_view = !view.iter().all(|&id| matches!(self.node(id), Node::None));
        if is_view {
            return Err(Fault::save_again("a storage that is a view of another"));
        }
        let nodes = (
            self.node(tag),
            self.node(class),
            self.node(key),
            self.node(length),
        );
        let (
            Node::Text(tag),
            Node::Global(Global::Storage(kind)),
            Node::Text(key),
            Node::Int(length),
        ) = nodes
        else {
            return Err(damaged("a persistent id is no storage"));
        };
        let length =
            u64::try_from(*length).map_err(|_| damaged("a storage has a negative length"))?;
        if tag != "storage" {
            return Err(damaged("a persistent id is no storage"));
        }
        Ok(Node::Storage(Box::new(StorageClaim {
            kind: *kind,
            key: self.cheap(key)?,
            length,
        })))
    }

    fn rebuild_tensor(&mut self, version: RebuildTensor, arguments: &[Id]) -> Parsed<Node<'a>> {
        let malformed =
            || damaged("a tensor is rebuilt from other things than a storage, numbers and shapes");
        let Some((&[storage, offset, shape, strides], rest)) = arguments.split_first_chunk() else {
            return Err(malformed());
        };
        let (Node::Storage(storage), Node::Int(offset)) = (self.node(storage), self.node(offset))
        else {
            return Err(malformed());
        };
        let (dtype, flags) = match (version, storage.kind, rest) {
            (RebuildTensor::V3, _, &[_, _, dtype, ref flags @ ..]) => match *self.node(dtype) {
                Node::Global(Global::Dtype(dtype)) => (dtype, flags),
                _ => return Err(malformed()),
            },
            (RebuildTensor::V1, StorageType::Typed(dtype), _) => (dtype, &[][..]),
            (RebuildTensor::V2, StorageType::Typed(dtype), rest) => {
                (dtype, rest.get(2..).unwrap_or_default())
            }
            _ => return Err(malformed()),
        };
        if flags.iter().any(|&flags| !self.is_empty(flags)) {
            return Err(Fault::save_again("a conjugated or negated view"));
        }
        let (storage, offset) = (storage.as_ref(), *offset);
        let claimed = StorageClaim {
            kind: storage.kind,
            key: self.cheap(&storage.key)?,
            length: storage.length,
        };
        let (shape, strides) = (self.integers(shape)?, self.integers(strides)?);
        self.charge(PARTS_OF_A_CLAIM + shape.len() + strides.len())?;
        Ok(Node::Tensor(Box::new(TensorClaim {
            storage: claimed,
            dtype,
            offset,
            shape,
            strides,
        })))
    }

    /// `_rebuild_from_type_v2(function, class, arguments, state)`: a tensor of a subclass.
    fn rebuild_from_type(&mut self, function: Id, class: Id, arguments: Id) -> Parsed<Id> {
        let is_plain = matches!(self.node(class), Node::Global(Global::TensorClass));
        match *self.node(function) {
            Node::Global(global @ (Global::RebuildTensor(_) | Global::RebuildParameter))
                if is_plain =>
            {
                self.result_of(global, arguments, false)
            }
            _ => Err(Fault::save_again("a tensor of another class")),
        }
    }

    fn expect_tensor(&self, id: Id) -> Parsed<Id> {
        match self.node(id) {
            Node::Tensor(_) => Ok(id),
            _ => Err(damaged(
                "a parameter is made of something that is no tensor",
            )),
        }
    }

    fn device(&self, arguments: &[Id]) -> Parsed<Node<'a>> {
        match arguments.first().map(|&name| self.node(name)) {
            Some(Node::Text(name)) => Ok(Node::Text(self.cheap(name)?)),
            _ => Err(wrong(Global::Device)),
        }
    }

    fn dict_of_pairs(&mut self, pairs: Id) -> Parsed<Node<'a>> {
        let count = match self.node(pairs) {
            Node::List(items) | Node::Tuple(items) => items.len(),
            _ => return Err(wrong(Global::OrderedDict)),
        };
        self.charge(count)?;
        let dict: Parsed<Vec<(Id, Id)>> = self
            .items(pairs, count)?
            .into_iter()
            .map(|pair| match self.items(pair, 2)?[..] {
                [key, value] => Ok((key, value)),
                _ => Err(wrong(Global::OrderedDict)),
            })
            .collect();
        dict.map(Node::Dict)
    }

    /// `_codecs.encode(text, "latin1")`: a character is a byte.
    fn encoded(&mut self, text: Id) -> Parsed<Node<'a>> {
        let Node::Text(text) = self.node(text) else {
            return Err(wrong(Global::Encode));
        };
        let bytes: Option<Vec<u8>> = text
            .chars()
            .map(|character| u8::try_from(character).ok())
            .collect();
        let bytes = bytes.ok_or_else(|| wrong(Global::Encode))?;
        self.charge(bytes.len())?;
        Ok(Node::Bytes(Cow::Owned(bytes)))
    }

    fn numpy_type(&self, code: Id) -> Parsed<Node<'a>> {
        let Node::Text(code) = self.node(code) else {
            return Err(wrong(Global::NumpyType));
        };
        NumpyType::from_code(code)
            .map(Node::NumpyType)
            .ok_or_else(|| {
                Fault::save_again(format!("the NumPy type `{}`", crate::error::shorten(code)))
            })
    }

    fn numpy_scalar(&self, kind: Id, bytes: Id) -> Parsed<Node<'a>> {
        let (Node::NumpyType(kind), Node::Bytes(bytes)) = (self.node(kind), self.node(bytes))
        else {
            return Err(wrong(Global::NumpyScalar));
        };
        kind.value(bytes).ok_or_else(|| wrong(Global::NumpyScalar))
    }

    /// The items of a tuple or list that has at most `limit`.
    fn items(&self, id: Id, limit: usize) -> Parsed<Vec<Id>> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) if items.len() <= limit => Ok(items.clone()),
            Node::Tuple(_) | Node::List(_) => Err(damaged("a tuple is longer than it can be here")),
            _ => Err(damaged("a tuple is expected here")),
        }
    }

    fn integers(&self, id: Id) -> Parsed<Vec<i64>> {
        let items = self.items(id, DIMENSIONS_MAX)?;
        items
            .into_iter()
            .map(|item| match self.node(item) {
                Node::Int(number) => Ok(*number),
                _ => Err(damaged("a shape holds something that is no number")),
            })
            .collect()
    }

    /// Texts from the file are borrowed from it; this copies one without copying its characters.
    fn cheap(&self, text: &Cow<'a, str>) -> Parsed<Cow<'a, str>> {
        match text {
            Cow::Borrowed(text) => Ok(Cow::Borrowed(text)),
            Cow::Owned(_) => Err(damaged("a name was computed")),
        }
    }

    fn is_empty(&self, id: Id) -> bool {
        match self.node(id) {
            Node::None => true,
            Node::Dict(dict) => dict.is_empty(),
            _ => false,
        }
    }

    fn is_only_versions(&self, state: Id) -> bool {
        let Node::Dict(attributes) = self.node(state) else {
            return false;
        };
        attributes.len() <= 1
            && attributes
                .iter()
                .all(|&(key, _)| matches!(self.node(key), Node::Text(key) if key == "_metadata"))
    }

    /// The state of a NumPy type: version, byte order, and nothing of interest.
    fn is_native_order(&self, state: Id) -> bool {
        let Ok(items) = self.items(state, ARGUMENTS_MAX) else {
            return false;
        };
        matches!(items.get(1).map(|&order| self.node(order)), Some(Node::Text(order)) if matches!(&**order, "<" | "|" | "="))
    }
}

fn wrong(global: Global<'_>) -> Fault {
    damaged(format!(
        "{global:?} is called with arguments it does not take"
    ))
}
