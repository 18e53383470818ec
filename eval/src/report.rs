//! Everything that an evaluation tells, in the layout of `--json`.

use std::path::{Path, PathBuf};

use features::comparison::{Comparison, Difference, Distances, Floor, compare};
use features::{Bootstrap, FeatureStatistics};
use serde::Serialize;

use crate::clip_set::{ClipSet, Skipped};
use crate::error::EvalError;
use crate::memorisation::Memorisation;

/// Sets smaller than this have intervals that say little.
const FEW_CLIPS: usize = 6;
/// Candidate clips that are named when they resemble training pieces; the others are counted.
const NAMED_SUSPECTS: usize = 3;

/// What is compared.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    /// Real clips of the style, not used in training.
    pub reference: PathBuf,
    /// Clips made with the adapter.
    pub candidate: PathBuf,
    /// Clips made without it, at the same seeds.
    pub baseline: Option<PathBuf>,
    /// The pieces the adapter was trained on, or a folder with a manifest that tells which these are.
    pub training: Option<PathBuf>,
}

/// The folders, measured.
#[derive(Debug, Clone)]
pub struct Sets {
    /// Real clips.
    pub reference: ClipSet,
    /// Clips made with the adapter.
    pub candidate: ClipSet,
    /// Clips made without it.
    pub baseline: Option<ClipSet>,
}

/// The result of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Layout of this report.
    pub version: u32,
    /// Version of the frozen feature statistics.
    pub statistics_version: u32,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Sets redrawn for each interval.
    pub resamples: usize,
    /// Share of redrawn values within each interval.
    pub level: f64,
    /// The reference against itself.
    pub reference: Floor,
    /// Clips made with the adapter.
    pub candidate: Distances,
    /// Clips made without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Distances>,
    /// Candidate less baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Similarity to the training pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Memorisation>,
    /// Files that could not be measured.
    pub skipped: Vec<Skipped>,
    /// What to keep in mind when reading the numbers.
    pub warnings: Vec<String>,
}

impl Sets {
    /// Measures the folders; `done` is called after each file.
    ///
    /// # Errors
    /// When a folder cannot be listed or nothing in it can be measured.
    pub fn measure(folders: &Folders, done: &(dyn Fn() + Sync)) -> Result<Self, EvalError> {
        let measure = |folder: &Path| ClipSet::measure(folder, done);
        Ok(Self {
            reference: measure(&folders.reference)?,
            candidate: measure(&folders.candidate)?,
            baseline: folders.baseline.as_deref().map(measure).transpose()?,
        })
    }

    /// The sets with what they are called, in the order in which they are shown.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &ClipSet)> {
        let baseline = self.baseline.as_ref().map(|set| ("Baseline", set));
        [("Reference", &self.reference)]
            .into_iter()
            .chain(baseline)
            .chain([("Candidate", &self.candidate)])
    }
}

impl Report {
    /// Compares measured sets.
    ///
    /// # Errors
    /// When the frozen statistics do not fit this build, or a set is empty.
    pub fn new(
        sets: &Sets,
        nearest: Option<Memorisation>,
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvalError> {
        let statistics = FeatureStatistics::current()?;
        let baseline = sets.baseline.as_ref().map(|set| set.clips.as_slice());
        let comparison = compare(
            &sets.reference.clips,
            &sets.candidate.clips,
            baseline,
            &statistics,
            bootstrap,
        )?;
        let skipped = sets.named().flat_map(|(_, set)| &set.skipped);
        let unread = nearest.iter().flat_map(|nearest| &nearest.skipped);
        let skipped: Vec<Skipped> = skipped.chain(unread).cloned().collect();
        let warnings = warnings(sets, &comparison, nearest.as_ref());
        Ok(Self {
            version: 1,
            statistics_version: statistics.version(),
            seed: bootstrap.seed,
            resamples: bootstrap.resamples,
            level: bootstrap.level,
            reference: comparison.reference,
            candidate: comparison.candidate,
            baseline: comparison.baseline,
            difference: comparison.difference,
            nearest,
            skipped,
            warnings,
        })
    }

    /// The report as indented JSON.
    ///
    /// # Errors
    /// When a value cannot be serialised, which no report should hold.
    pub fn to_json(&self) -> Result<String, EvalError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn warnings(sets: &Sets, comparison: &Comparison, nearest: Option<&Memorisation>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (role, set) in sets.named() {
        match set.clips.len() {
            1 => warnings.push(format!("{role}: a single clip has no interval")),
            count if count < FEW_CLIPS => {
                warnings.push(format!(
                    "{role}: {count} clips are few; intervals from so few are too narrow"
                ));
            }
            _ => {}
        }
    }
    if comparison
        .difference
        .is_some_and(|difference| !difference.paired)
    {
        warnings.push("candidate and baseline are not paired: their file names differ".to_owned());
    }
    if nearest.is_some_and(Memorisation::reference_overlaps) {
        warnings.push(
            "the reference seems to hold training pieces: distances to it favour copies".to_owned(),
        );
    }
    let suspects: Vec<_> = nearest
        .iter()
        .flat_map(|nearest| nearest.suspects())
        .collect();
    for suspect in suspects.iter().take(NAMED_SUSPECTS) {
        warnings.push(format!(
            "{} at {:.1} s resembles {} at {:.1} s (similarity {:.2}): more than any reference clip does",
            suspect.clip, suspect.clip_secs, suspect.training, suspect.training_secs, suspect.similarity
        ));
    }
    if suspects.len() > NAMED_SUSPECTS {
        let rest = suspects.len() - NAMED_SUSPECTS;
        warnings.push(format!(
            "so do {rest} more candidate clips (all are in the JSON)"
        ));
    }
    warnings
}
