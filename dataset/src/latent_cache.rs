//! Latents on disk, encoded once per piece.
//!
//! One safetensors file an entry, named by a hash of the piece's content and the autoencoder, so
//! that another piece or another autoencoder can never find it. A damaged entry counts as
//! missing: it is reported, encoded again and replaced.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{ContentHasher, remove_stale_parts, write_aside};

/// Nobody takes as long to write an entry: what is older was left by a program that was killed.
const STALE: Duration = Duration::from_secs(3600);

/// An autoencoder's posterior for one piece, `[channels, frames]` row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedLatents {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations.
    pub std: Vec<f32>,
    /// Latent channels.
    pub channels: usize,
    /// Latent frames.
    pub frames: usize,
}

/// Why a cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LatentCacheError {
    /// The system refused.
    #[error("{}: the latent cache cannot be used; check the folder's permissions and the space left", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Latents whose numbers do not fill their shape.
    #[error(
        "latents of {channels} channels and {frames} frames need {} numbers, got {mean} means and {std} deviations",
        channels * frames
    )]
    Shape {
        /// Channels claimed.
        channels: usize,
        /// Frames claimed.
        frames: usize,
        /// Means given.
        mean: usize,
        /// Deviations given.
        std: usize,
    },
    /// The numbers could not be serialised.
    #[error("latents cannot be serialised: {0}")]
    Serialise(String),
}

/// A folder of cached latents.
#[derive(Debug, Clone)]
pub struct LatentCache {
    folder: PathBuf,
}

impl LatentCache {
    /// Opens a cache, making its folder where needed.
    pub fn open(folder: &Path) -> Result<Self, LatentCacheError> {
        fs::create_dir_all(folder).map_err(|source| LatentCacheError::Io {
            path: folder.to_owned(),
            source,
        })?;
        remove_stale_parts(folder, STALE);
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The key of a piece under an autoencoder.
    #[must_use]
    pub fn key(content_hash: &str, autoencoder_id: &str) -> String {
        let mut hasher = ContentHasher::default();
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hasher.update(&(content_hash.len() as u64).to_le_bytes());
        hasher.update(content_hash.as_bytes());
        hasher.update(autoencoder_id.as_bytes());
        hasher.finish().trim_start_matches("sha256:").to_owned()
    }

    /// The entry of a key; `None` when there is none, or when it is damaged (with a warning).
    #[must_use]
    pub fn get(&self, key: &str) -> Option<CachedLatents> {
        let path = self.path_of(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(
                    "{}: cannot be read ({error}); encoding again",
                    path.display()
                );
                return None;
            }
        };
        match parse(&bytes, key) {
            Ok(latents) => Some(latents),
            Err(detail) => {
                tracing::warn!(
                    "{}: damaged cache entry ({detail}); encoding again",
                    path.display()
                );
                None
            }
        }
    }

    /// Stores an entry, replacing one that is there.
    pub fn put(&self, key: &str, latents: &CachedLatents) -> Result<(), LatentCacheError> {
        let path = self.path_of(key);
        let bytes = serialise(latents, key)?;
        write_aside(&path, &bytes).map_err(|source| LatentCacheError::Io { path, source })
    }

    fn path_of(&self, key: &str) -> PathBuf {
        // Keys are hexadecimal; anything else must not become a path of its own.
        let name: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
        self.folder.join(format!("{name}.safetensors"))
    }
}

fn serialise(latents: &CachedLatents, key: &str) -> Result<Vec<u8>, LatentCacheError> {
    let CachedLatents {
        channels, frames, ..
    } = *latents;
    let numbers = channels.checked_mul(frames);
    if numbers != Some(latents.mean.len()) || numbers != Some(latents.std.len()) {
        return Err(LatentCacheError::Shape {
            channels,
            frames,
            mean: latents.mean.len(),
            std: latents.std.len(),
        });
    }
    let bytes_of =
        |numbers: &[f32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let (mean, std) = (bytes_of(&latents.mean), bytes_of(&latents.std));
    let failed =
        |error: safetensors::SafeTensorError| LatentCacheError::Serialise(error.to_string());
    let view = |bytes| TensorView::new(Dtype::F32, vec![channels, frames], bytes).map_err(failed);
    let metadata = HashMap::from([
        ("key".to_owned(), key.to_owned()),
        ("checksum".to_owned(), checksum(&mean, &std)),
    ]);
    safetensors::serialize(
        [("mean", view(&mean)?), ("std", view(&std)?)],
        Some(metadata),
    )
    .map_err(failed)
}

/// Hash of the numbers, because a flipped bit in them leaves the file well-formed.
fn checksum(mean: &[u8], std: &[u8]) -> String {
    let mut hasher = ContentHasher::default();
    hasher.update(mean);
    hasher.update(std);
    hasher.finish()
}

fn parse(bytes: &[u8], key: &str) -> Result<CachedLatents, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let stored = |name: &str| metadata.metadata().as_ref().and_then(|map| map.get(name));
    if stored("key").map(String::as_str) != Some(key) {
        return Err("it belongs to another key".to_owned());
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |name: &str| tensors.tensor(name).map_err(|error| error.to_string());
    let (mean, std) = (tensor("mean")?, tensor("std")?);
    let &[channels, frames] = mean.shape() else {
        return Err(format!(
            "shape {:?} instead of [channels, frames]",
            mean.shape()
        ));
    };
    if std.shape() != mean.shape() || mean.dtype() != Dtype::F32 || std.dtype() != Dtype::F32 {
        return Err("mean and deviation differ in shape or are not f32".to_owned());
    }
    if stored("checksum") != Some(&checksum(mean.data(), std.data())) {
        return Err("its numbers do not match their checksum".to_owned());
    }
    let numbers_of = |bytes: &[u8]| -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    Ok(CachedLatents {
        mean: numbers_of(mean.data()),
        std: numbers_of(std.data()),
        channels,
        frames,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents() -> CachedLatents {
        CachedLatents {
            mean: vec![0.5, -1.0, 2.0, 3.0, 4.0, 5.0],
            std: vec![0.1; 6],
            channels: 2,
            frames: 3,
        }
    }

    #[test]
    fn round_trip_and_separate_keys() {
        let folder = tempfile::tempdir().unwrap();
        let cache = LatentCache::open(&folder.path().join("new/cache")).unwrap();
        let key = LatentCache::key("sha256:aa", "vae-1");
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &latents()).unwrap();
        assert_eq!(cache.get(&key), Some(latents()));
        assert_eq!(cache.get(&LatentCache::key("sha256:aa", "vae-2")), None);
        assert_ne!(LatentCache::key("ab", "c"), LatentCache::key("a", "bc"));
    }

    #[test]
    fn any_damage_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = LatentCache::open(folder.path()).unwrap();
        cache.put("abc", &latents()).unwrap();
        let path = folder.path().join("abc.safetensors");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            fs::write(&path, &bad).unwrap();
            let got = cache.get("abc");
            assert!(
                got.is_none() || got == Some(latents()),
                "byte {at} changed the latents"
            );
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert_eq!(cache.get("abc"), None, "cut to {length} bytes");
        }
        fs::rename(&path, folder.path().join("other.safetensors")).unwrap();
        assert_eq!(
            cache.get("other"),
            None,
            "an entry under another key's name"
        );
        // A header that claims 2^60 bytes.
        fs::write(&path, (1_u64 << 60).to_le_bytes()).unwrap();
        assert_eq!(cache.get("abc"), None);
        cache.put("abc", &latents()).unwrap();
        assert_eq!(cache.get("abc"), Some(latents()));
    }

    #[test]
    fn latents_must_fill_their_shape() {
        let folder = tempfile::tempdir().unwrap();
        let cache = LatentCache::open(folder.path()).unwrap();
        let wrong = CachedLatents {
            frames: 4,
            ..latents()
        };
        assert!(cache.put("abc", &wrong).is_err());
    }
}
