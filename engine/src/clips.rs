//! The cache of clips: `KEY.flac` and, beside it, the recipe as `KEY.json`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use protocol::places::Places;
use protocol::{ClipFile, Problem, ProblemKind, Recipe};

use crate::flac;
use crate::problem::{of_writing, problem};

/// A clip is kept this long after it was last asked for, whatever the limit: a host that is not connected may read it still.
const LEAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const SOUND: &str = "flac";
const RECIPE: &str = "json";

/// The folder of clips.
pub(crate) struct Clips {
    folder: PathBuf,
    most_bytes: u64,
}

impl Clips {
    pub(crate) fn new(places: &Places, most_bytes: u64) -> Self {
        Self {
            folder: places.clips(),
            most_bytes,
        }
    }

    fn path(&self, key: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{key}.{ending}"))
    }

    /// The clip of a key and its recipe, if it is whole. It counts as used now.
    pub(crate) fn find(&self, key: &str) -> Option<(ClipFile, Recipe)> {
        // Keys come from recipes, of which this one is the digest; a path is never made of anything else.
        let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = is_key.then(|| self.path(key, SOUND))?;
        let recipe = std::fs::read(self.path(key, RECIPE)).ok()?;
        let recipe: Recipe = serde_json::from_slice(&recipe).ok()?;
        let info = audio::Decoder::open(&path).ok()?.info().clone();
        let touched = std::fs::File::options().append(true).open(&path);
        let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!("{}: {error}", path.display());
        }
        let sample_rate_hz = info.sample_rate_hz;
        let clip = ClipFile {
            key: key.to_owned(),
            path,
            frames: recipe.frames(sample_rate_hz),
            sample_rate_hz,
        };
        Some((clip, recipe))
    }

    /// Whether clips can be written, so that none is made in vain.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let failed = |error: std::io::Error| of_writing(&self.folder, &error);
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let probe = self.folder.join(".probe");
        std::fs::write(&probe, b"lorelei").map_err(failed)?;
        std::fs::remove_file(&probe).map_err(failed)
    }

    /// Keeps a clip under its recipe's key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(
        &self,
        recipe: &Recipe,
        clip: &[Vec<f32>; 2],
        sample_rate_hz: u32,
    ) -> Result<ClipFile, Problem> {
        let key = recipe.key();
        let internal = |text: String| problem(ProblemKind::Internal, text);
        let bytes = flac::encode(clip, sample_rate_hz).map_err(internal)?;
        let text =
            serde_json::to_vec_pretty(recipe).map_err(|error| internal(error.to_string()))?;
        let path = self.path(&key, SOUND);
        let write = |path: &Path, bytes: &[u8]| {
            dataset::write_aside(path, bytes).map_err(|error| of_writing(path, &error))
        };
        std::fs::create_dir_all(&self.folder).map_err(|error| of_writing(&self.folder, &error))?;
        // The sound last: with it the clip is there.
        write(&self.path(&key, RECIPE), &text)?;
        write(&path, &bytes)?;
        Ok(ClipFile {
            key,
            path,
            frames: clip[0].len() as u64,
            sample_rate_hz,
        })
    }

    /// Removes the clips that were used longest ago until the rest is within the limit; none that is held or young.
    pub(crate) fn clean(&self, held: &HashSet<String>) {
        self.clean_older_than(held, LEAST_AGE);
        dataset::remove_stale_parts(&self.folder, LEAST_AGE);
    }

    fn clean_older_than(&self, held: &HashSet<String>, least_age: Duration) {
        let mut clips = self.sounds();
        let mut bytes: u64 = clips.iter().map(|(_, _, bytes)| bytes).sum();
        clips.sort();
        for (used, key, size) in clips {
            if bytes <= self.most_bytes {
                return;
            }
            let is_young = used.elapsed().map_or(true, |age| age < least_age);
            if is_young || held.contains(&key) {
                continue;
            }
            let removed = std::fs::remove_file(self.path(&key, SOUND));
            let _ = std::fs::remove_file(self.path(&key, RECIPE));
            if removed.is_ok() {
                bytes -= size;
            }
        }
    }

    /// When each was used, its key and size.
    fn sounds(&self) -> Vec<(SystemTime, String, u64)> {
        let entries = std::fs::read_dir(&self.folder);
        let of_entry = |entry: std::fs::DirEntry| {
            let path = entry.path();
            let is_sound = path.extension().is_some_and(|ending| ending == SOUND);
            let key = is_sound.then(|| path.file_stem()?.to_str().map(str::to_owned))??;
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, key, metadata.len()))
        };
        let entries = entries.into_iter().flatten().flatten();
        entries.filter_map(of_entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_held_stays() {
        let home = tempfile::tempdir().unwrap();
        let clips = Clips::new(&Places::under(home.path()), 250);
        std::fs::create_dir_all(&clips.folder).unwrap();
        for (age_secs, key) in [(50, "a"), (40, "b"), (30, "c"), (20, "d")] {
            std::fs::write(clips.path(key, SOUND), [0; 100]).unwrap();
            std::fs::write(clips.path(key, RECIPE), "{}").unwrap();
            let file = std::fs::File::options()
                .append(true)
                .open(clips.path(key, SOUND));
            let used = SystemTime::now() - Duration::from_secs(age_secs);
            file.unwrap().set_modified(used).unwrap();
        }
        let held = HashSet::from(["a".to_owned()]);
        clips.clean_older_than(&held, Duration::from_secs(3_600));
        assert_eq!(clips.sounds().len(), 4);
        clips.clean_older_than(&held, Duration::from_secs(10));
        let mut left: Vec<String> = clips.sounds().into_iter().map(|clip| clip.1).collect();
        left.sort();
        assert_eq!(left, ["a", "d"]);
        assert!(!clips.path("b", RECIPE).exists());
    }
}
