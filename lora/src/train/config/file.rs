//! Settings in a TOML file: a user's, and the one that a run keeps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::defaults::{DEFAULT_OUT, default_run_dir};
use super::{TrainConfig, TrainSettings};
use crate::error::LoraError;
use crate::train::ensemble::Ensemble;

/// The resolved configuration inside the run folder.
pub(in crate::train) const CONFIG_FILE: &str = "config.toml";

/// Below this likeness a name is no misspelling of another.
const LEAST_LIKENESS: f64 = 0.5;

impl TrainSettings {
    /// Reads a TOML file; an unknown key is an error that names it, its line and the nearest right one.
    pub fn from_file(path: &Path) -> Result<Self, LoraError> {
        let text = std::fs::read_to_string(path).map_err(LoraError::file(path))?;
        Self::from_text(&text).map_err(|problem| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        })
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
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    let nearest = TrainSettings::NAMES
        .iter()
        .copied()
        .max_by(|left, right| likeness(left).total_cmp(&likeness(right)))
        .filter(|known| likeness(known) >= LEAST_LIKENESS);
    let advice = match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "--print-config shows all there are".to_owned(),
    };
    format!("{line}unknown setting {name}; {advice}")
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
