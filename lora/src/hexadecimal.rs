//! Hashes as text.

/// Two digits a byte.
pub(crate) fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hexadecimal(Sha256::digest(bytes))
}
