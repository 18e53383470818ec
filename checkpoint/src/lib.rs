//! Weight files as people have them, read without running anything.
//!
//! | what | where |
//! |---|---|
//! | safetensors, shards, `torch.save`, `torch.jit.save`, old and new, told apart by their contents | [`TensorFile`] |
//! | one tensor: type, shape, bytes | [`TensorEntry`], [`ElementType`], [`MappedBytes`] |
//! | numbers and texts that a pickle holds besides | [`OtherValue`] |
//! | to safetensors, in the same or another precision | [`convert`]; with other values for some tensors, [`convert_changed`] |
//! | SHA-256 of what a file was read from | [`sha256_of`], [`check_sha256`] |
//! | which of several state dicts DiffRhythm's model is | [`diffrhythm`] |
//! | what went wrong, and what to do | [`CheckpointError`] |
//!
//! A pickle is a program that may call anything. The machine here (`pickle.rs`) interprets what tensors need and
//! refuses the rest by name; it calls nothing. Files are mapped, and a tensor's bytes are a range of the map.
//!
//! ```
//! let header = br#"{"scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
//! let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
//! bytes.extend_from_slice(header);
//! bytes.extend_from_slice(&1.5f32.to_le_bytes());
//! let file = checkpoint::TensorFile::from_bytes(bytes, "example")?;
//! assert_eq!(file.names().collect::<Vec<_>>(), ["scale"]);
//! assert_eq!(*file.bytes("scale")?, 1.5f32.to_le_bytes());
//! # Ok::<(), checkpoint::CheckpointError>(())
//! ```

mod convert;
mod cursor;
pub mod diffrhythm;
mod element_type;
mod entry;
mod error;
mod pickle;
mod progress;
mod safetensors;
mod source;
mod strided;
mod table;
mod tensor_file;
mod torch;
mod zip;

pub use convert::{
    Change, ConvertOptions, Converted, NotFinite, Precision, Values, check_sha256, convert,
    convert_changed, sha256_digits, sha256_of,
};
pub use element_type::ElementType;
pub use entry::TensorEntry;
pub use error::{CheckpointError, shorten};
pub use progress::{Progress, Silent};
pub use source::MappedBytes;
pub use tensor_file::{Format, TensorFile};
pub use torch::OtherValue;
