//! Vectors on disk, computed once for each content and model.
//!
//! One safetensors file an entry, named by a hash of the content and the model, so that another sound or another model
//! can never find it. A damaged entry counts as missing: it is reported, computed again and replaced.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use crate::fingerprint::hex;
use crate::vector::tensors;
use crate::{EmbedError, aside};

/// A folder of vectors.
#[derive(Debug, Clone)]
pub struct EmbeddingCache {
    folder: PathBuf,
}

impl EmbeddingCache {
    /// Opens a cache, making its folder where needed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, EmbedError> {
        let folder = folder.into();
        match fs::create_dir_all(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(source) => Err(EmbedError::Write {
                path: folder,
                source,
            }),
        }
    }

    /// Opens the user's own cache: `lorelei/styles` in the system's folder for such things.
    ///
    /// # Errors
    /// When the system names none, or it cannot be made.
    pub fn open_default() -> Result<Self, EmbedError> {
        let folder = dirs::cache_dir().ok_or(EmbedError::NoCacheFolder)?;
        Self::open(folder.join("lorelei").join("styles"))
    }

    /// The key of a content under a model: the hash of a file or a text, and the model's [`fingerprint`](crate::fingerprint()).
    pub fn key(content_hash: &str, model: &str) -> String {
        let mut hash = Sha256::new();
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hash.update((content_hash.len() as u64).to_le_bytes());
        hash.update(content_hash);
        hash.update(model);
        hex(&hash.finalize())
    }

    /// The entry of a key, if there is one of that width; a damaged one is none, with a warning.
    pub fn get(&self, key: &str, width: usize) -> Option<Vec<f32>> {
        let path = self.path_of(key);
        let parsed = match fs::read(&path) {
            Ok(bytes) => parse(&bytes, key, width),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
        };
        parsed
            .map_err(|reason| {
                tracing::warn!(
                    "{}: damaged cache entry ({reason}); computing again",
                    path.display()
                );
            })
            .ok()
    }

    /// Stores an entry, replacing one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, key: &str, values: &[f32]) -> Result<(), EmbedError> {
        let path = self.path_of(key);
        let metadata = HashMap::from([
            ("key".to_owned(), key.to_owned()),
            ("checksum".to_owned(), checksum(values)),
        ]);
        let bytes =
            tensors::serialise(values, Some(metadata)).map_err(|reason| EmbedError::Vector {
                path: path.clone(),
                reason,
            })?;
        aside::replace(&path, &bytes).map_err(|source| EmbedError::Write { path, source })
    }

    /// The entry of a key, or what `compute` makes, which is stored. A cache that cannot be written costs a warning, not
    /// the vector.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn get_or_compute<E>(
        &self,
        key: &str,
        width: usize,
        compute: impl FnOnce() -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        if let Some(values) = self.get(key, width) {
            return Ok(values);
        }
        let values = compute()?;
        if let Err(error) = self.put(key, &values) {
            tracing::warn!("the vector is not kept: {error}");
        }
        Ok(values)
    }

    /// Where the entries are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path_of(&self, key: &str) -> PathBuf {
        // Keys are hexadecimal; anything else must not become a path of its own.
        let name: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
        self.folder.join(format!("{name}.safetensors"))
    }
}

/// Hash of the numbers, because a flipped bit in them leaves the file well-formed.
fn checksum(values: &[f32]) -> String {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.to_le_bytes());
    }
    hex(&hash.finalize())
}

fn parse(bytes: &[u8], key: &str, width: usize) -> Result<Vec<f32>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let stored = |name: &str| metadata.metadata().as_ref().and_then(|map| map.get(name));
    if stored("key").map(String::as_str) != Some(key) {
        return Err("it belongs to another key".to_owned());
    }
    let values = tensors::parse(bytes)?.values;
    if stored("checksum") != Some(&checksum(&values)) {
        return Err("its numbers do not match their checksum".to_owned());
    }
    if values.len() != width {
        return Err(format!("it has {} values instead of {width}", values.len()));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 3] = [0.5, -1.0, 2.0];

    #[test]
    fn computed_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::open(folder.path().join("new/cache")).unwrap();
        let key = EmbeddingCache::key("sha256:aa", "model");
        let mut calls = 0;
        for _ in 0..3 {
            let found = cache.get_or_compute(&key, 3, || {
                calls += 1;
                Ok::<_, ()>(VALUES.to_vec())
            });
            assert_eq!(found, Ok(VALUES.to_vec()));
        }
        assert_eq!(calls, 1);
        assert_eq!(cache.get(&key, 4), None, "another width");
        assert_eq!(
            cache.get(&EmbeddingCache::key("sha256:aa", "other"), 3),
            None
        );
        assert_ne!(
            EmbeddingCache::key("ab", "c"),
            EmbeddingCache::key("a", "bc")
        );
        assert_eq!(cache.get_or_compute("b", 3, || Err("no")), Err("no"));
        assert_eq!(fs::read_dir(cache.folder()).unwrap().count(), 1);
    }

    #[test]
    fn any_damage_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::open(folder.path()).unwrap();
        cache.put("abc", &VALUES).unwrap();
        let path = folder.path().join("abc.safetensors");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            fs::write(&path, &bad).unwrap();
            let got = cache.get("abc", 3);
            assert!(
                got.is_none() || got == Some(VALUES.to_vec()),
                "byte {at} changed the vector"
            );
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert_eq!(cache.get("abc", 3), None, "cut to {length} bytes");
        }
        fs::rename(&path, folder.path().join("other.safetensors")).unwrap();
        assert_eq!(
            cache.get("other", 3),
            None,
            "an entry under another key's name"
        );
        fs::create_dir(&path).unwrap();
        assert_eq!(cache.get("abc", 3), None, "a folder in an entry's place");
        let found = cache.get_or_compute("abc", 3, || Ok::<_, ()>(VALUES.to_vec()));
        assert_eq!(found, Ok(VALUES.to_vec()), "a cache that cannot be written");
        cache.put("../../abc", &VALUES).unwrap_err();
    }

    #[test]
    fn a_cache_needs_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(
            EmbeddingCache::open(&file)
                .unwrap_err()
                .to_string()
                .contains("check the folder")
        );
    }
}
