//! Settings in a TOML file: a user's, and the one that a run keeps.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::defaults::{DEFAULT_OUT, default_run_dir};
use super::{TrainConfig, TrainSettings};
use crate::error::LoraError;
use crate::train::ensemble::Ensemble;

/// The resolved configuration inside the run folder.
pub(in crate::train) const CONFIG_FILE: &str = "config.toml";

/// Larger files are not read: all settings with their meanings are some kilobytes.
const MOST_BYTES: u64 = 1 << 20;

impl TrainSettings {
    /// Reads a TOML file; an unknown key is an error that names it, its line and the nearest right one.
    ///
    /// # Errors
    /// And when it is no regular file of at most 1 MiB.
    pub fn from_file(path: &Path) -> Result<Self, LoraError> {
        let refused = |problem| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        };
        let metadata = std::fs::metadata(path).map_err(LoraError::file(path))?;
        if !metadata.is_file() {
            return Err(refused("is no file; --config names a TOML file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(LoraError::file(path))?;
        let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(LoraError::file(path))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(refused(format!(
                "is larger than {} MiB, which no file of settings is",
                MOST_BYTES >> 20
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| refused("is no UTF-8 text; --config names a TOML file".to_owned()))?;
        Self::from_text(&text).map_err(refused)
    }

    /// Reads the text of such a file.
    pub(in crate::train) fn from_text(text: &str) -> Result<Self, String> {
        let said = |error: toml::de::Error| error.to_string().trim_end().to_owned();
        let table: toml::Table = text.parse().map_err(said)?;
        let unknown = |name: &&String| !Self::NAMES.contains(&name.as_str());
        if let Some(name) = table.keys().find(unknown) {
            return Err(unknown_setting(name, text));
        }
        toml::from_str(text).map_err(said)
    }
}

impl TrainConfig {
    /// The configuration as a file that [`TrainSettings::from_file`] reads.
    pub fn to_toml(&self) -> Result<String, LoraError> {
        let table = toml::Table::try_from(self).and_then(|mut table| {
            if self.epochs.is_some() {
                // The length is one or the other.
                table.remove("steps");
            }
            toml::to_string(&table)
        });
        table.map_err(|error| LoraError::BadFile {
            path: self.run_dir.join(CONFIG_FILE),
            problem: error.to_string(),
        })
    }
}

fn unknown_setting(name: &str, text: &str) -> String {
    let starts = |line: &str| {
        line.trim_start()
            .trim_start_matches(['[', '"'])
            .starts_with(name)
    };
    let line = text.lines().position(starts);
    let line = line.map_or_else(String::new, |index| format!("line {}: ", index + 1));
    let nearest = nearest(name);
    let advice = match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "--print-config shows all there are".to_owned(),
    };
    format!("{line}unknown setting {name}; {advice}")
}

/// The setting that a name is a misspelling of: other hyphens or capitals apart, at most a letter in three is wrong, missing or too many.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&name, known);
    let known = TrainSettings::NAMES.iter().copied();
    let nearest = known.min_by_key(|known| distance(known))?;
    (distance(nearest) * 3 <= name.chars().count()).then_some(nearest)
}

/// The settings that a run folder keeps; the folder is the one `settings` name, and the first process alone looks there.
pub fn saved_settings(
    settings: &TrainSettings,
    ensemble: &dyn Ensemble,
) -> Result<TrainSettings, LoraError> {
    let out = settings.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(DEFAULT_OUT));
    let run_dir = settings.run_dir.clone();
    let path = run_dir
        .unwrap_or_else(|| default_run_dir(&out))
        .join(CONFIG_FILE);
    let mut bytes = Vec::new();
    if ensemble.is_first() {
        bytes = std::fs::read(&path).map_err(|source| LoraError::BadFile {
            path: path.clone(),
            problem: format!("{source}; there is no run to resume here (--run-dir names another)"),
        })?;
    }
    ensemble.broadcast(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    TrainSettings::from_text(&text).map_err(|problem| LoraError::BadFile {
        path,
        problem: format!(
            "the run's configuration is damaged or of another version: {problem}; begin again with --force"
        ),
    })
}

/// Settings of two configurations that differ, as people read them; both are TOML with one setting a line.
pub(in crate::train) fn changed_settings(saved: &str, now: &str) -> Vec<String> {
    let settings = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once(" = "));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (saved, now) = (settings(saved), settings(now));
    let mut names: Vec<&String> = saved.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = (saved.get(name), now.get(name));
        if before != after {
            let shown = |value: Option<&String>| value.map_or("unset", String::as_str).to_owned();
            changes.push(format!("{name} = {} (was {})", shown(after), shown(before)));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        for (name, expected) in [
            ("lerning_rate", Some("learning_rate")),
            ("learning-rate", Some("learning_rate")),
            ("Rank", Some("rank")),
            ("stpes", Some("steps")),
            ("batchsize", Some("batch_size")),
            ("optimizer", None),
            ("x", None),
            ("gradient_checkpointing", None),
            ("", None),
        ] {
            assert_eq!(nearest(name), expected, "{name}");
        }
    }

    #[test]
    fn only_small_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let refused = |path: &Path| TrainSettings::from_file(path).unwrap_err().to_string();
        std::fs::write(&path, "#".repeat(MOST_BYTES as usize)).unwrap();
        assert!(TrainSettings::from_file(&path).is_ok());
        std::fs::write(&path, "#".repeat(MOST_BYTES as usize + 1)).unwrap();
        assert!(refused(&path).contains("run.toml: is larger than 1 MiB"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(refused(&path).contains("UTF-8"));
        assert!(refused(folder.path()).contains("is no file"));
        #[cfg(unix)]
        assert!(refused(Path::new("/dev/zero")).contains("is no file"));
    }

    #[test]
    fn changed_settings_are_told_with_both_values() {
        let saved = "seed = 3\nepochs = 5\nout = \"a = b\"\n\n[targets]\ninclude = [\"x\"]\n";
        let now = "seed = 4\nsteps = 7\nout = \"a = b\"\n\n[targets]\ninclude = [\"x\"]\n";
        assert_eq!(
            changed_settings(saved, now),
            [
                "epochs = unset (was 5)",
                "seed = 4 (was 3)",
                "steps = 7 (was unset)"
            ]
        );
        assert!(changed_settings(now, now).is_empty());
    }
}
