//! Experiments with adapters on music that no base has heard: from settings to files, each made once.
//!
//! The chain is recordings -> pieces -> adapter -> clips -> measured clips. Every link is a [part](parts::Parts) of the folder, named
//! by what made it, so that a run that was stopped, or another command, goes on with what is there.

mod arms;
mod laboratory;
mod measured;
mod music;
mod parts;

use serde::{Deserialize, Serialize};

pub(crate) use arms::{ArmClips, study};
pub(crate) use laboratory::{Laboratory, embedded_base_sha256};
pub(crate) use measured::Measured;
pub(crate) use music::Music;

/// How much of everything is made. The numbers of clips are those of the table's sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    /// Recordings to train on.
    pub(crate) songs: usize,
    /// Further ones that `lora-train` validates on.
    pub(crate) validation_songs: usize,
    /// Real clips in a family's reference, and in the set of real clips that is compared with it; each of a recording of its own.
    pub(crate) real_clips: usize,
    /// Clips that a model makes for a set.
    pub(crate) clips: usize,
    /// Length of every clip in seconds.
    pub(crate) clip_secs: f64,
    /// Steps of training.
    pub(crate) steps: usize,
}

impl Scale {
    /// What the published tables are made with. 300 steps take 75 s on two quiet cores.
    pub(crate) const FULL: Self = Self {
        songs: 16,
        validation_songs: 4,
        real_clips: 32,
        clips: 32,
        clip_secs: 6.0,
        steps: 300,
    };
    /// As little as shows that everything runs.
    pub(crate) const QUICK: Self = Self {
        songs: 4,
        validation_songs: 1,
        real_clips: 6,
        clips: 4,
        clip_secs: 6.0,
        steps: 8,
    };
}

/// How an adapter is trained: what the ablations change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    /// Recordings to train on, of those there are.
    pub(crate) songs: usize,
    pub(crate) steps: usize,
    pub(crate) rank: usize,
    pub(crate) dropout: f64,
    /// Patterns of layers that are left alone.
    pub(crate) exclude: Vec<String>,
}

impl Training {
    /// The settings of `lora-train` without any flags.
    pub(crate) fn standard(scale: &Scale) -> Self {
        Self {
            songs: scale.songs,
            steps: scale.steps,
            rank: 8,
            dropout: 0.25,
            exclude: Vec::new(),
        }
    }
}

/// One adapter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Experiment<'a> {
    /// The family's recordings.
    pub(crate) music: &'a Music,
    pub(crate) training: &'a Training,
    /// Seed of the training.
    pub(crate) seed: u64,
}

#[cfg(test)]
pub(crate) mod tests {
    use eval::study::{Cell, Measure, StudyReport};
    use features::Estimate;

    /// A report of two families that holds for every measure and arm the values given, and the differences between all arms.
    pub(crate) fn report(arms: &[(&str, f64)]) -> StudyReport {
        let families = ["one".to_owned(), "two".to_owned()];
        let estimate = |value: f64| Estimate {
            value,
            low: Some(value - 0.1),
            high: Some(value + 0.1),
        };
        let mut cells = Vec::new();
        for measure in Measure::ALL {
            for family in families.iter().cloned().map(Some).chain([None]) {
                for (arm, value) in arms {
                    let cell = |less: Option<&str>, value, relative: Option<f64>| Cell {
                        measure,
                        arm: (*arm).to_owned(),
                        less: less.map(str::to_owned),
                        family: family.clone(),
                        estimate: estimate(value),
                        relative_percent: relative.map(estimate),
                    };
                    cells.push(cell(None, *value, None));
                    for (other, less) in arms.iter().filter(|(other, _)| other != arm) {
                        let percent = 100.0 * (value - less) / less;
                        cells.push(cell(Some(other), value - less, Some(percent)));
                    }
                }
            }
        }
        StudyReport {
            families: families.to_vec(),
            arms: arms.iter().map(|(arm, _)| (*arm).to_owned()).collect(),
            cells,
        }
    }
}
