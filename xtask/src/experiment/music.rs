//! The real music of a held-out family: recordings to train on, clips to compare with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use corpus::{Options, Style, compose, render, vocabulary};
use rayon::prelude::*;
use serde::Serialize;

use super::Scale;
use super::parts::{Parts, hexadecimal, name_of};
use crate::corpus::{SAMPLE_RATE_HZ, quantise, write_wav};

/// Length to aim at for a recording.
const DURATION_SECS: f64 = 16.5;
/// Seed of the first recording to train on; no other command uses these seeds.
const FIRST_TRAINING_SEED: u64 = 50_000;
/// Seed of the first recording of the reference.
const FIRST_REFERENCE_SEED: u64 = 51_000;
/// Seed of the first recording of the other real clips.
const FIRST_REAL_SEED: u64 = 52_000;
/// Where in its recording clip `i` lies: the fraction of `i` times this, which spreads evenly however many there are.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
/// Changed when recordings are laid out in another way.
const LAYOUT: u32 = 1;

/// A family's recordings, rendered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Music {
    /// The family's name.
    pub(crate) family: String,
    /// Tags that at least half of the recordings to train on would have: the nearest that can be asked of the base in words.
    pub(crate) prompt: String,
    folder: PathBuf,
}

#[derive(Serialize)]
struct Settings<'a> {
    layout: u32,
    family: &'a str,
    songs: usize,
    real_clips: usize,
    clip_secs: f64,
    duration_secs: f64,
    /// Hash of the first recording: another renderer makes other music.
    first_recording: String,
}

impl Music {
    /// Renders the recordings, unless they are there.
    pub(super) fn make(parts: &Parts, family: Style, scale: &Scale) -> Result<Self> {
        let songs = scale.songs + scale.validation_songs;
        let settings = Settings {
            layout: LAYOUT,
            family: family.name(),
            songs,
            real_clips: scale.real_clips,
            clip_secs: scale.clip_secs,
            duration_secs: DURATION_SECS,
            first_recording: hash_of(&recording(family, FIRST_TRAINING_SEED)),
        };
        let folder = parts.part(&format!("music-{family}"), &settings, |folder| {
            write_recordings(&folder.join("songs"), family, songs)?;
            let clips =
                |name: &str, first_seed| write_clips(&folder.join(name), family, first_seed, scale);
            clips("reference", FIRST_REFERENCE_SEED)?;
            clips("real", FIRST_REAL_SEED)
        })?;
        Ok(Self {
            family: family.name().to_owned(),
            prompt: nearest_tags(family, songs),
            folder,
        })
    }

    /// The folder of recordings to train and validate on.
    pub(super) fn songs(&self) -> PathBuf {
        self.folder.join("songs")
    }

    /// The folder of clips that distances are measured to.
    pub(crate) fn reference(&self) -> PathBuf {
        self.folder.join("reference")
    }

    /// The folder of real clips that are neither trained on nor in the reference.
    pub(crate) fn real(&self) -> PathBuf {
        self.folder.join("real")
    }

    /// The part's name.
    pub(super) fn name(&self) -> String {
        name_of(&self.folder)
    }
}

/// Interleaved stereo.
fn recording(family: Style, seed: u64) -> Vec<i16> {
    let options = Options {
        duration_secs: DURATION_SECS,
    };
    let score = compose(family, seed, &options);
    quantise(&render(&score, SAMPLE_RATE_HZ), Some(seed))
}

fn hash_of(samples: &[i16]) -> String {
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    hexadecimal(bytes)
}

fn write_recordings(folder: &Path, family: Style, songs: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    (0..songs).into_par_iter().try_for_each(|song| {
        let samples = recording(family, FIRST_TRAINING_SEED + song as u64);
        write_wav(&folder.join(format!("{family}-{song:02}.wav")), &samples)
    })
}

fn write_clips(folder: &Path, family: Style, first_seed: u64, scale: &Scale) -> Result<()> {
    fs::create_dir_all(folder)?;
    let length = (scale.clip_secs * f64::from(SAMPLE_RATE_HZ)) as usize;
    (0..scale.real_clips).into_par_iter().try_for_each(|clip| {
        let samples = recording(family, first_seed + clip as u64);
        let room = (samples.len() / 2).checked_sub(length);
        let room =
            room.with_context(|| format!("a recording of {family} is shorter than a clip"))?;
        let start = ((clip as f64 * GOLDEN_RATIO).fract() * room as f64) as usize;
        let samples = &samples[2 * start..2 * (start + length)];
        write_wav(&folder.join(format!("{family}-{clip:02}.wav")), samples)
    })
}

/// In the order of the vocabulary. How long a phrase is says nothing of a clip of fixed length, and would be taken for its length.
fn nearest_tags(family: Style, songs: usize) -> String {
    let options = Options {
        duration_secs: DURATION_SECS,
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for song in 0..songs {
        let score = compose(family, FIRST_TRAINING_SEED + song as u64, &options);
        let tags = score.tags.iter().filter(|tag| !tag.starts_with("bars:"));
        for tag in tags {
            *counts.entry(tag).or_default() += 1;
        }
    }
    let is_frequent = |tag: &&str| counts.get(tag).is_some_and(|count| 2 * count >= songs);
    let tags: Vec<&str> = vocabulary::tags().filter(is_frequent).collect();
    tags.join(", ")
}

/// The first so many recordings of the training side, and all of the validation's: a folder for `lora-train`.
pub(super) fn write_pieces(all: &Path, songs: usize, folder: &Path) -> Result<()> {
    let pieces = dataset::read_manifest(all)?;
    let mut sources: Vec<&str> = pieces
        .iter()
        .filter(|piece| piece.split == dataset::Split::Train)
        .map(|piece| piece.source.as_str())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    ensure!(
        sources.len() >= songs,
        "{}: {} recordings to train on, expected at least {songs}",
        all.display(),
        sources.len()
    );
    let kept = &sources[..songs];
    let pieces: Vec<dataset::Piece> = pieces
        .iter()
        .filter(|piece| {
            piece.split == dataset::Split::Validation || kept.contains(&piece.source.as_str())
        })
        .cloned()
        .collect();
    for piece in &pieces {
        let (from, to) = (all.join(&piece.path), folder.join(&piece.path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(dataset::write_manifest(folder, &pieces)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_held_out_family_has_tags_to_ask_for_and_clips_of_their_length() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::open(folder.path()).unwrap();
        let scale = Scale {
            songs: 1,
            validation_songs: 1,
            real_clips: 2,
            ..Scale::QUICK
        };
        for family in Style::held_out() {
            let music = Music::make(&parts, *family, &scale).unwrap();
            assert!(!music.prompt.is_empty() && !music.prompt.contains("bars:"));
            for (folder, count) in [
                (music.songs(), 2),
                (music.reference(), 2),
                (music.real(), 2),
            ] {
                assert_eq!(fs::read_dir(folder).unwrap().count(), count);
            }
            let clip = hound::WavReader::open(music.real().join(format!("{family}-00.wav")));
            assert_eq!(clip.unwrap().duration(), 6 * SAMPLE_RATE_HZ);
            // The same settings, the same part.
            assert_eq!(Music::make(&parts, *family, &scale).unwrap(), music);
        }
    }
}
