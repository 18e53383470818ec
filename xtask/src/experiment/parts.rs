//! Folders that are made once: each is named by what made it, and is there whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Says of a part what made it; written last.
const MADE_FROM: &str = "made-from.json";
/// Digits of the hash in a part's name.
const KEY_DIGITS: usize = 12;

/// A folder of parts, for one program at a time.
#[derive(Debug)]
pub(crate) struct Parts {
    folder: PathBuf,
    /// Held as long as the parts are.
    _lock: File,
}

impl Parts {
    /// Opens a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or another program works in it.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "{}: another command works in this folder; wait for it, or name another with --out",
                folder.display()
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The part `name` that `settings` make: as it is there, or made now by `make`, which fills an empty folder.
    ///
    /// # Errors
    /// Those of `make`, and when files cannot be written.
    pub(crate) fn part(
        &self,
        name: &str,
        settings: &impl Serialize,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let text = serde_json::to_string_pretty(settings)? + "\n";
        let key = &hexadecimal(&text)[..KEY_DIGITS];
        let folder = self.folder.join(format!("{name}-{key}"));
        if folder.join(MADE_FROM).is_file() {
            return Ok(folder);
        }
        eprintln!("making {name}-{key} ...");
        let aside = self.folder.join(format!("{name}-{key}.part"));
        for left_over in [&aside, &folder] {
            if left_over.exists() {
                fs::remove_dir_all(left_over)
                    .with_context(|| format!("removing {}", left_over.display()))?;
            }
        }
        fs::create_dir_all(&aside).with_context(|| format!("creating {}", aside.display()))?;
        make(&aside).with_context(|| format!("making {}", folder.display()))?;
        fs::write(aside.join(MADE_FROM), text)
            .with_context(|| format!("writing into {}", aside.display()))?;
        fs::rename(&aside, &folder).with_context(|| format!("renaming to {}", folder.display()))?;
        Ok(folder)
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a part's folder: with its key, so that what is made of it can be named after it.
pub(crate) fn name_of(part: &Path) -> String {
    let name = part.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_made_once_for_its_settings_and_again_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::open(folder.path()).unwrap();
        let write =
            |text: &'static str| move |folder: &Path| Ok(fs::write(folder.join("a"), text)?);
        let failing = parts.part("x", &1, |folder| {
            fs::write(folder.join("rest"), "")?;
            bail!("stopped")
        });
        assert!(failing.is_err());
        let first = parts.part("x", &1, write("one")).unwrap();
        assert!(!first.join("rest").exists());
        assert_eq!(parts.part("x", &1, write("two")).unwrap(), first);
        assert_eq!(fs::read_to_string(first.join("a")).unwrap(), "one");
        let other = parts.part("x", &2, write("two")).unwrap();
        assert_ne!(other, first);
        assert!(Parts::open(folder.path()).is_err(), "one program at a time");
        drop(parts);
        assert!(Parts::open(folder.path()).is_ok());
    }
}
