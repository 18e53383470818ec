//! The header of a safetensors file, and files in several shards.
//!
//! Source: the format's description in the safetensors project's README: a little-endian u64, so many bytes of JSON,
//! then the tensors' bytes without a hole.

mod header;
mod shards;

pub(crate) use header::{METADATA_KEY, looks_like, read};
pub(crate) use shards::open_shards;
