//! Files up to a size, whatever they say of themselves: a device has none and never ends.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::EmbedError;

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read or has more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, EmbedError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|source| EmbedError::Read {
        path: path.to_owned(),
        source,
    })?;
    match bytes.len() as u64 > limit {
        true => Err(EmbedError::TooLarge {
            path: path.to_owned(),
            limit,
        }),
        false => Ok(bytes),
    }
}
