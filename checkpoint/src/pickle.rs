//! A pickle machine that calls nothing.
//!
//! A pickle is a program for a stack machine (Python's `pickletools.py` describes it). This one knows what torch
//! writes into checkpoints, turns it into a tree of plain values and claims of tensors, and refuses every other
//! global by name. Each operation costs time and memory in proportion to its own bytes: values live in an arena and
//! are shared by number, so that neither deep nesting nor reuse of the memo can blow anything up. What is copied all the same (shapes
//! and strides, the pairs of an ordered dict, bytes that were written as text) is charged for, at most as many parts as the pickle has
//! bytes; values, marks, stack and memo have bounds of their own, which keep a machine near a gigabyte at the worst.

mod calls;
mod global;
mod machine;
mod numpy;
mod value;

pub(crate) use global::Global;
pub(crate) use machine::{Dialect, Pickle, run};
pub(crate) use value::{Id, Node, StorageClaim, StorageType, TensorClaim};
