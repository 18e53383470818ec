//! The cache of sounds that plugins have listened to, as WAV files. Sounds that lie elsewhere are the musician's own and never touched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::places::Places;

use crate::folder_cache::{self, LEAST_AGE};

/// Bytes of the folder: twenty of the longest stretches that are listened to.
const MOST_BYTES: u64 = 500_000_000;
const SOUND: &str = "wav";

/// The folder of inputs.
pub(crate) struct Inputs {
    folder: PathBuf,
    most_bytes: u64,
}

impl Inputs {
    pub(crate) fn new(places: &Places) -> Self {
        Self {
            folder: places.inputs(),
            most_bytes: MOST_BYTES,
        }
    }

    /// A sound that a recipe names counts as used now, if it is in this folder.
    pub(crate) fn touch(&self, path: &Path) {
        if path.parent() == Some(&self.folder) {
            folder_cache::touch(path);
        }
    }

    /// Removes the sounds that were used longest ago until the rest is within the limit; none that is held or young.
    pub(crate) fn clean(&self, held: &HashSet<PathBuf>) {
        self.clean_older_than(held, LEAST_AGE);
        dataset::remove_stale_parts(&self.folder, LEAST_AGE);
    }

    fn clean_older_than(&self, held: &HashSet<PathBuf>, least_age: Duration) {
        let is_held = |path: &Path| held.contains(path);
        let gone = folder_cache::clean(&self.folder, SOUND, self.most_bytes, least_age, is_held);
        for path in gone {
            tracing::info!("{} was used longest ago and is gone", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn bounded_like_clips_and_never_while_in_use() {
        let home = tempfile::tempdir().unwrap();
        let inputs = Inputs {
            most_bytes: 250,
            ..Inputs::new(&Places::under(home.path()))
        };
        std::fs::create_dir_all(&inputs.folder).unwrap();
        let path = |name: &str| inputs.folder.join(format!("{name}.wav"));
        for (age_secs, name) in [(50, "a"), (40, "b"), (30, "c"), (20, "d")] {
            std::fs::write(path(name), [0; 100]).unwrap();
            let file = std::fs::File::options().append(true).open(path(name));
            let used = SystemTime::now() - Duration::from_secs(age_secs);
            file.unwrap().set_modified(used).unwrap();
        }
        let held = HashSet::from([path("a")]);
        inputs.clean(&held);
        assert!(["a", "b", "c", "d"].iter().all(|name| path(name).exists()));
        inputs.touch(&path("b"));
        inputs.clean_older_than(&held, Duration::from_secs(10));
        let left = ["a", "b", "c", "d"].map(|name| path(name).exists());
        assert_eq!(left, [true, true, false, false]);
    }
}
