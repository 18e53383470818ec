//! How the frozen statistics are made: seeded crops of a corpus, measured.
//!
//! Run once for each version, over music of the base's own styles, before any adapter is trained.

use std::path::{Path, PathBuf};

use features::{ClipMeasurement, FeatureStatistics, SAMPLE_RATE_HZ, measure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::clip_set::Skipped;
use crate::error::EvalError;
use crate::files::{SoundFile, SoundFiles, sound_files};

/// How crops are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Crops {
    /// The most pieces that are used; each gives one crop.
    pub pieces: usize,
    /// Length of a crop in seconds; shorter pieces are used whole.
    pub secs: f64,
    /// Seed of the choice of pieces and of the crops' places.
    pub seed: u64,
}

impl Default for Crops {
    /// One crop of six seconds of each of 300 pieces, seed 0.
    fn default() -> Self {
        Self {
            pieces: 300,
            secs: 6.0,
            seed: 0,
        }
    }
}

/// Computes statistics of the pieces below a folder; `description` says what they are.
///
/// Returns what could not be measured too.
///
/// # Errors
/// When the folder cannot be listed or too few pieces can be measured.
pub fn of_folder(
    folder: &Path,
    crops: &Crops,
    description: &str,
    done: &(dyn Fn() + Sync),
) -> Result<(FeatureStatistics, Vec<Skipped>), EvalError> {
    let SoundFiles {
        mut files,
        mut skipped,
    } = sound_files(folder)?;
    let mut generator = ChaCha8Rng::seed_from_u64(crops.seed);
    for index in (1..files.len()).rev() {
        files.swap(index, generator.random_range(0..=index));
    }
    files.truncate(crops.pieces);
    let places: Vec<f64> = files
        .iter()
        .map(|_| generator.random_range(0.0..1.0))
        .collect();
    let measured: Vec<Result<ClipMeasurement, Skipped>> = files
        .par_iter()
        .zip(places)
        .map(|(SoundFile { path, .. }, place)| {
            let measurement = measure_crop(path, crops.secs, place);
            done();
            measurement.map_err(|reason| Skipped {
                path: PathBuf::from(path),
                reason,
            })
        })
        .collect();
    let mut clips = Vec::new();
    for measurement in measured {
        match measurement {
            Ok(clip) => clips.push(clip),
            Err(file) => skipped.push(file),
        }
    }
    let (secs, seed) = (crops.secs, crops.seed);
    let corpus = format!(
        "{description}; one crop of {secs} s of each of {} pieces, seed {seed}",
        clips.len()
    );
    Ok((FeatureStatistics::of_clips(&clips, &corpus)?, skipped))
}

fn measure_crop(path: &Path, secs: f64, place: f64) -> Result<ClipMeasurement, String> {
    let mut clip = features::measure::read(path).map_err(|error| error.to_string())?;
    let frames = clip.frames();
    let length = ((secs * f64::from(SAMPLE_RATE_HZ)) as usize).min(frames);
    let start = ((frames - length) as f64 * place) as usize;
    clip.channels
        .iter_mut()
        .for_each(|channel| *channel = channel[start..start + length].to_vec());
    measure(&clip).map_err(|error| format!("{}: {error}", path.display()))
}
