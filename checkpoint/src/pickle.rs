//! A pickle machine that calls nothing.
//!
//! A pickle is a program for a stack machine (Python's `pickletools.py` describes it). This one knows what torch
//! writes into checkpoints, turns it into a tree of plain values and claims of tensors, and refuses every other
//! global by name. Each operation costs time and memory in proportion to its own bytes: values live in an arena and
//! are shared by number, never copied, so that neither deep nesting nor reuse of the memo can blow anything up.

mod calls;
mod global;
mod machine;
mod numpy;
mod value;

pub(crate) use global::Global;
pub(crate) use machine::{Dialect, Pickle, run};
pub(crate) use value::{Id, Node, StorageClaim, StorageType, TensorClaim};
