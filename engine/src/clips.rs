//! The cache of clips: `KEY.flac` and, beside it, the recipe as `KEY.json`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::places::Places;
use protocol::{ClipFile, Problem, ProblemKind, Recipe};

use crate::flac;
use crate::folder_cache::{self, LEAST_AGE};
use crate::problem::{of_writing, problem};

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
        folder_cache::touch(&path);
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
        let written = std::fs::write(&probe, b"lorelei");
        // A full disk has taken the name and not the content.
        let removed = std::fs::remove_file(&probe);
        written.and(removed).map_err(failed)
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
        let beside = self.path(&key, RECIPE);
        write(&beside, &text)?;
        write(&path, &bytes).inspect_err(|_| {
            // Unless a sound of this key was there already, the recipe is nobody's.
            if !path.exists() {
                let _ = std::fs::remove_file(&beside);
            }
        })?;
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
        let is_held = |path: &Path| key_of(path).is_some_and(|key| held.contains(key));
        folder_cache::clean(&self.folder, SOUND, self.most_bytes, least_age, is_held);
        // Also recipes whose sound went in another way.
        for (written, path, _) in folder_cache::files(&self.folder, RECIPE) {
            let is_old = written.elapsed().is_ok_and(|age| age >= least_age);
            if is_old && !path.with_extension(SOUND).exists() {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn key_of(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn written_before(path: &Path, age_secs: u64) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        let used = SystemTime::now() - Duration::from_secs(age_secs);
        file.set_modified(used).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_held_stays() {
        let home = tempfile::tempdir().unwrap();
        let clips = Clips::new(&Places::under(home.path()), 250);
        std::fs::create_dir_all(&clips.folder).unwrap();
        for (age_secs, key) in [(50, "a"), (40, "b"), (30, "c"), (20, "d")] {
            std::fs::write(clips.path(key, SOUND), [0; 100]).unwrap();
            std::fs::write(clips.path(key, RECIPE), "{}").unwrap();
            written_before(&clips.path(key, SOUND), age_secs);
            written_before(&clips.path(key, RECIPE), age_secs);
        }
        std::fs::write(clips.path("orphan", RECIPE), "{}").unwrap();
        written_before(&clips.path("orphan", RECIPE), 20);
        std::fs::write(clips.path("coming", RECIPE), "{}").unwrap();
        let held = HashSet::from(["a".to_owned()]);
        clips.clean_older_than(&held, Duration::from_secs(3_600));
        let sounds = || folder_cache::files(&clips.folder, SOUND);
        assert_eq!(sounds().len(), 4);
        clips.clean_older_than(&held, Duration::from_secs(10));
        let mut left: Vec<PathBuf> = sounds().into_iter().map(|sound| sound.1).collect();
        left.sort();
        assert_eq!(left, [clips.path("a", SOUND), clips.path("d", SOUND)]);
        let recipes = ["a", "b", "c", "d", "orphan", "coming"];
        let left = recipes.map(|key| clips.path(key, RECIPE).exists());
        assert_eq!(left, [true, false, false, true, false, true]);
    }
}
