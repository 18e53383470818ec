//! Are outputs copies of training pieces? The nearest training stretch of each, beside that of real clips.

use std::path::{Path, PathBuf};

use dataset::Split;
use features::nearest::{COPY_SIMILARITY, Fingerprint, nearest};
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

impl Memorisation {
    /// Compares sets with the training pieces in a folder: those that its manifest gives to the training, or all
    /// sound files below it where it has no manifest.
    ///
    /// # Errors
    /// When the folder cannot be listed, its manifest is damaged, or nothing in it can be measured.
    pub fn measure(
        training: &Path,
        reference: &ClipSet,
        candidate: &ClipSet,
        baseline: Option<&ClipSet>,
    ) -> Result<Self, EvalError> {
        let SoundFiles { files, mut skipped } = training_files(training)?;
        let taken: Vec<_> = files
            .par_iter()
            .map(|file| fingerprint(&file.path))
            .collect();
        let mut pieces = Vec::new();
        let mut names = Vec::new();
        for (file, fingerprint) in files.iter().zip(taken) {
            match fingerprint {
                Ok(fingerprint) => {
                    pieces.push(fingerprint);
                    names.push(file.name.as_str());
                }
                Err(reason) => skipped.push(Skipped {
                    path: file.path.clone(),
                    reason,
                }),
            }
        }
        if let Some(first) = skipped.first().filter(|_| pieces.is_empty()) {
            let (path, reason) = (training.to_owned(), first.reason.clone());
            return Err(EvalError::NothingMeasured {
                path,
                files: skipped.len(),
                reason,
            });
        }
        Ok(Self {
            training_pieces: pieces.len(),
            reference: similarities(&pieces, &names, reference),
            candidate: similarities(&pieces, &names, candidate),
            baseline: baseline.and_then(|baseline| similarities(&pieces, &names, baseline)),
            skipped,
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

fn similarities(pieces: &[Fingerprint], names: &[&str], set: &ClipSet) -> Option<Similarities> {
    let stretch = |(name, path): (&String, &PathBuf)| {
        // The file was measured a moment ago; if it is gone now, the clip has no nearest stretch.
        let output = fingerprint(path).ok()?;
        let found = nearest(pieces, &output)?;
        Some(NearestStretch {
            clip: name.clone(),
            training: names
                .get(found.piece)
                .copied()
                .unwrap_or_default()
                .to_owned(),
            similarity: found.similarity,
            training_secs: found.training_secs,
            clip_secs: found.output_secs,
        })
    };
    let names_of_clips = set.clips.iter().map(|clip| &clip.name);
    let clips: Vec<NearestStretch> = names_of_clips.zip(&set.paths).filter_map(stretch).collect();
    let highest = clips
        .iter()
        .map(|clip| clip.similarity)
        .max_by(f64::total_cmp)?;
    let mean = clips.iter().map(|clip| clip.similarity).sum::<f64>() / clips.len() as f64;
    Some(Similarities {
        mean,
        highest,
        clips,
    })
}
