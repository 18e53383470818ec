//! What the fuzz target `pickle` does with an input.

#[path = "archive.rs"]
mod archive;
use super::tensors;
use archive::{Entry, LEGACY_START, archive};

/// Opens the input as its first byte says: as it is, as the pickle of an archive, of a TorchScript archive, or of a file
/// in the old layout.
pub(crate) fn read(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let bytes = match choice % 4 {
        0 => rest.to_vec(),
        1 => wrapped(rest, &[]),
        2 => wrapped(rest, &[("a/constants.pkl", b")")]),
        _ => [LEGACY_START, rest].concat(),
    };
    tensors::look_at(checkpoint::TensorFile::from_bytes(bytes, "input"));
}

/// An archive around a pickle, with two storages.
fn wrapped(pickle: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![
        Entry::stored("a/data.pkl", pickle),
        Entry::stored("a/data/0", &[7; 96]),
        Entry::stored("a/data/1", &[9; 8]),
    ];
    entries.extend(more.iter().map(|(name, bytes)| Entry::stored(name, bytes)));
    archive(&entries)
}
