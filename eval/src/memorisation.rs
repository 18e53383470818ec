//! Are outputs copies of training pieces? The nearest training stretch of each, beside that of real clips.

use std::path::{Path, PathBuf};

use dataset::Split;
use features::nearest::{COPY_SIMILARITY, Fingerprint, nearest};
use features::{Bootstrap, Estimate};
use rayon::prelude::*;
use serde::Serialize;

use crate::clip_set::{ClipSet, Skipped};
use crate::error::EvalError;
use crate::files::{SoundFile, SoundFiles, name_within, sound_files};

/// A real clip this near to a training piece is that piece, or a part of it.
const SAME_RECORDING: f64 = 0.98;

/// The training stretch most like a stretch of one clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearestStretch {
    /// The clip.
    pub clip: String,
    /// The training piece.
    pub training: String,
    /// Normalised correlation, at most 1.
    pub similarity: f64,
    /// Where the stretch starts in the training piece.
    pub training_secs: f64,
    /// Where the stretch starts in the clip.
    pub clip_secs: f64,
}

/// The nearest stretches of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Similarities {
    /// Mean similarity.
    pub mean: f64,
    /// Lower end of the mean's interval over the clips; none of one clip.
    pub low: Option<f64>,
    /// Upper end of the mean's interval; none of one clip.
    pub high: Option<f64>,
    /// Highest similarity.
    pub highest: f64,
    /// Each clip's nearest stretch.
    pub clips: Vec<NearestStretch>,
}

/// Similarities of all sets to the training pieces.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memorisation {
    /// Number of training pieces.
    pub training_pieces: usize,
    /// Real clips: the level that means nothing.
    pub reference: Option<Similarities>,
    /// Clips made with the adapter.
    pub candidate: Option<Similarities>,
    /// Clips made without it.
    pub baseline: Option<Similarities>,
    /// Training pieces that could not be read.
    #[serde(skip)]
    pub skipped: Vec<Skipped>,
}

/// The pieces an adapter was trained on, ready to be compared with.
#[derive(Debug, Clone)]
pub struct TrainingPieces {
    names: Vec<String>,
    fingerprints: Vec<Fingerprint>,
    /// Pieces that could not be read.
    pub skipped: Vec<Skipped>,
}

impl TrainingPieces {
    /// Reads the pieces in a folder: those that its manifest gives to the training, or all sound files below it where it has no manifest.
    ///
    /// # Errors
    /// When the folder cannot be listed, its manifest is damaged, or nothing in it can be measured.
    pub fn read(folder: &Path) -> Result<Self, EvalError> {
        let SoundFiles { files, skipped } = training_files(folder)?;
        let taken: Vec<_> = files
            .par_iter()
            .map(|file| fingerprint(&file.path))
            .collect();
        let mut pieces = Self {
            names: Vec::new(),
            fingerprints: Vec::new(),
            skipped,
        };
        for (file, fingerprint) in files.into_iter().zip(taken) {
            match fingerprint {
                Ok(fingerprint) => {
                    pieces.fingerprints.push(fingerprint);
                    pieces.names.push(file.name);
                }
                Err(reason) => pieces.skipped.push(Skipped {
                    path: file.path,
                    reason,
                }),
            }
        }
        match pieces.skipped.first() {
            Some(first) if pieces.names.is_empty() => Err(EvalError::NothingMeasured {
                path: folder.to_owned(),
                files: pieces.skipped.len(),
                reason: first.reason.clone(),
            }),
            _ => Ok(pieces),
        }
    }

    /// For each clip of a set the training stretch most like one of its own; clips in which nothing happens have none.
    pub fn nearest(&self, set: &ClipSet) -> Vec<NearestStretch> {
        let clips = set.clips.iter().map(|clip| &clip.name).zip(&set.paths);
        let stretch = |(name, path): (&String, &PathBuf)| {
            // The file was measured a moment ago; if it is gone now, the clip has no nearest stretch.
            let output = fingerprint(path).ok()?;
            let found = nearest(&self.fingerprints, &output)?;
            Some(NearestStretch {
                clip: name.clone(),
                training: self.names.get(found.piece).cloned().unwrap_or_default(),
                similarity: found.similarity,
                training_secs: found.training_secs,
                clip_secs: found.output_secs,
            })
        };
        clips.filter_map(stretch).collect()
    }
}

impl Similarities {
    /// Mean, with its interval over the clips, and highest; none without clips.
    fn of(clips: Vec<NearestStretch>, bootstrap: &Bootstrap) -> Option<Self> {
        let highest = clips
            .iter()
            .map(|clip| clip.similarity)
            .max_by(f64::total_cmp)?;
        let mean = |drawn: &[usize]| {
            let similarities = drawn.iter().map(|&index| clips[index].similarity);
            similarities.sum::<f64>() / drawn.len() as f64
        };
        let Estimate { value, low, high } = bootstrap.one(clips.len(), mean);
        Some(Self {
            mean: value,
            low,
            high,
            highest,
            clips,
        })
    }
}

impl Memorisation {
    /// Compares sets with the training pieces in a folder; see [`TrainingPieces::read`].
    ///
    /// # Errors
    /// As [`TrainingPieces::read`].
    pub fn measure(
        training: &Path,
        reference: &ClipSet,
        candidate: &ClipSet,
        baseline: Option<&ClipSet>,
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvalError> {
        let pieces = TrainingPieces::read(training)?;
        let similarities = |set: &ClipSet| Similarities::of(pieces.nearest(set), bootstrap);
        Ok(Self {
            training_pieces: pieces.names.len(),
            reference: similarities(reference),
            candidate: similarities(candidate),
            baseline: baseline.and_then(similarities),
            skipped: pieces.skipped,
        })
    }

    /// Candidate clips nearer to a training piece than any real clip is, and nearer than chance would have it.
    pub fn suspects(&self) -> Vec<&NearestStretch> {
        let ceiling = self
            .reference
            .as_ref()
            .map_or(COPY_SIMILARITY, |real| real.highest.max(COPY_SIMILARITY));
        let clips = self.candidate.iter().flat_map(|candidate| &candidate.clips);
        clips.filter(|clip| clip.similarity > ceiling).collect()
    }

    /// Whether the reference seems to hold training pieces: it is then no yardstick.
    pub fn reference_overlaps(&self) -> bool {
        self.reference
            .as_ref()
            .is_some_and(|real| real.highest > SAME_RECORDING)
    }
}

/// The pieces that an adapter saw: held-out songs of the same folder are as unknown to it as any others.
fn training_files(folder: &Path) -> Result<SoundFiles, EvalError> {
    if !folder.join(dataset::MANIFEST_NAME).exists() {
        return sound_files(folder);
    }
    let pieces = dataset::read_manifest(folder)?;
    let held_out = pieces.len();
    let files: Vec<SoundFile> = pieces
        .into_iter()
        .filter(|piece| piece.split == Split::Train)
        .map(|piece| {
            let path = folder.join(&piece.path);
            let name = name_within(folder, &path);
            SoundFile { path, name }
        })
        .collect();
    if files.is_empty() {
        return Err(EvalError::NoTraining {
            path: folder.to_owned(),
            held_out,
        });
    }
    Ok(SoundFiles {
        files,
        skipped: Vec::new(),
    })
}

fn fingerprint(path: &Path) -> Result<Fingerprint, String> {
    let clip = features::measure::read(path).map_err(|error| error.to_string())?;
    Fingerprint::of(&clip).map_err(|error| format!("{}: {error}", path.display()))
}
