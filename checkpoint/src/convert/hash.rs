//! What a file's bytes hash to, and hashes as people write them.

use sha2::{Digest, Sha256};

use super::{PIECE_BYTES, output};
use crate::error::shorten;
use crate::progress::{Progress, advance};
use crate::{CheckpointError, TensorFile};

/// The SHA-256 of a file's bytes as 64 hexadecimal digits; of a sharded one, of its shards' bytes one after another in the order of
/// their names.
///
/// # Errors
/// [`CheckpointError::Stopped`].
pub fn sha256_of(source: &TensorFile, progress: &dyn Progress) -> Result<String, CheckpointError> {
    progress.begin("hashing the source", source.source_bytes());
    let mut hasher = Sha256::new();
    for bytes in source.sources() {
        for start in (0..bytes.len()).step_by(PIECE_BYTES) {
            let end = bytes.len().min(start + PIECE_BYTES);
            hasher.update(&bytes[start..end]);
            bytes.discard(start..end);
            advance(progress, end - start)?;
        }
    }
    progress.end();
    Ok(output::hexadecimal(&hasher.finalize()))
}

/// The 64 digits of a hash, in lower case, whether or not `sha256:` stands before them.
///
/// # Errors
/// [`CheckpointError::NoHash`].
pub fn sha256_digits(text: &str) -> Result<String, CheckpointError> {
    let digits = text.trim();
    let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
    match digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        true => Ok(digits.to_ascii_lowercase()),
        false => Err(CheckpointError::NoHash {
            text: shorten(text),
        }),
    }
}

/// The hash of the source's bytes, compared with the one that is expected.
///
/// # Errors
/// [`CheckpointError::Hash`] when it is another, [`CheckpointError::NoHash`] and [`CheckpointError::Stopped`].
pub fn check_sha256(
    source: &TensorFile,
    expected: Option<&str>,
    progress: &dyn Progress,
) -> Result<String, CheckpointError> {
    let expected = expected.map(sha256_digits).transpose()?;
    let actual = sha256_of(source, progress)?;
    match expected {
        Some(expected) if expected != actual => Err(CheckpointError::Hash {
            origin: source.origin().to_string(),
            expected,
            actual,
        }),
        _ => Ok(actual),
    }
}
