//! Names for contents: SHA-256, written `sha256:` and 64 hexadecimal digits.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Hashes bytes as they come.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    inner: Sha256,
}

impl ContentHasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// The hash as text.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = String::from("sha256:");
        for byte in self.inner.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl io::Write for ContentHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hash of a file's bytes.
pub fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            got => hasher.update(&buffer[..got]),
        }
    }
}

/// The hash of planar samples, `[channels][frames]`: little-endian `f32`, channel after channel,
/// after the two counts (so that shape is part of the content).
#[must_use]
pub fn hash_samples(channels: &[Vec<f32>]) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(&(channels.len() as u64).to_le_bytes());
    for channel in channels {
        hasher.update(&(channel.len() as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(4 * 4096);
        for block in channel.chunks(4096) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
            hasher.update(&bytes);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-2, appendix B.1, and the empty message.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(hash_file(&path).unwrap(), abc);
        assert_eq!(ContentHasher::default().finish(), empty);
        assert!(hash_file(folder.path()).is_err());
    }

    #[test]
    fn shape_is_content() {
        let flat = hash_samples(&[vec![1.0, 2.0, 3.0, 4.0]]);
        let stereo = hash_samples(&[vec![1.0, 2.0], vec![3.0, 4.0]]);
        assert_ne!(flat, stereo);
        assert_eq!(stereo, hash_samples(&[vec![1.0, 2.0], vec![3.0, 4.0]]));
    }
}
