//! Clips under way, with and without the adapter, from the same noise; and whether one repeats a training piece.

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, SampleFormat, write_wav};
use candle_core::Tensor;
use features::nearest::{Fingerprint, nearest};
use journal::PreviewRecord;

use super::config::TrainConfig;
use super::data::{LatentPiece, TrainingSet};
use super::step::TrainableAdapter;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::generate::{Request, generate};
use crate::progress::{Progress, StopOnly};
use crate::style;

/// The folder inside the run's.
pub(super) const PREVIEW_FOLDER: &str = "previews";
/// Training pieces that previews are compared with at most.
const MOST_PIECES: usize = 400;

/// Makes previews of one run.
pub(super) struct Previews {
    run_dir: PathBuf,
    data: PathBuf,
    clips: usize,
    secs: f64,
    /// What training pieces sound like; taken when the first preview is made.
    known: Option<KnownPieces>,
}

/// A preview and how far it is from the clip without the adapter.
pub(super) struct Preview {
    pub record: PreviewRecord,
    /// Level of the difference over the level of the clip without.
    pub difference: f64,
}

struct KnownPieces {
    names: Vec<String>,
    fingerprints: Vec<Fingerprint>,
    /// The highest similarity between pieces of different songs.
    usual: Option<f64>,
}

impl Previews {
    pub(super) fn new(config: &TrainConfig, base: &BaseModel) -> Self {
        Self {
            run_dir: config.run_dir.clone(),
            data: config.data.clone(),
            clips: config.preview_clips,
            secs: config.preview_secs.min(base.most_secs()),
            known: None,
        }
    }

    /// One preview a seed, of the adapter as it is.
    ///
    /// # Errors
    /// [`LoraError::Stopped`] when `progress` asks for it; when a clip cannot be made or written.
    pub(super) fn make(
        &mut self,
        adapter: &TrainableAdapter,
        set: &TrainingSet,
        step: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Preview>, LoraError> {
        let folder = self.run_dir.join(PREVIEW_FOLDER);
        std::fs::create_dir_all(&folder).map_err(LoraError::file(folder))?;
        let mut previews = Vec::new();
        for seed in 0..self.clips as u64 {
            let (without_name, without) = self.without(adapter, set, seed, progress)?;
            let with = self.clip(adapter, set, seed, true, progress)?;
            let name = format!("step-{step:06}-seed{seed}.wav");
            let with_name = Path::new(PREVIEW_FOLDER).join(name);
            self.write(&with_name, &with)?;
            let nearest = self.nearest(set, &with);
            previews.push(Preview {
                difference: difference(&with, &without),
                record: PreviewRecord {
                    step,
                    seed,
                    without_adapter: without_name,
                    with_adapter: with_name,
                    nearest_piece: nearest.as_ref().map(|(piece, _)| piece.clone()),
                    similarity: nearest.map(|(_, similarity)| similarity),
                    usual_similarity: self.known.as_ref().and_then(|known| known.usual),
                },
            });
        }
        Ok(previews)
    }

    /// The clip without the adapter, made once in a run.
    fn without(
        &self,
        adapter: &TrainableAdapter,
        set: &TrainingSet,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<(PathBuf, AudioBuffer), LoraError> {
        let name = Path::new(PREVIEW_FOLDER).join(format!("without-seed{seed}.wav"));
        let path = self.run_dir.join(&name);
        if let Ok(clip) = audio::read(&path) {
            return Ok((name, clip));
        }
        let clip =
            adapter.without_change(|adapter| self.clip(adapter, set, seed, false, progress))?;
        self.write(&name, &clip)?;
        Ok((name, clip))
    }

    fn write(&self, name: &Path, clip: &AudioBuffer) -> Result<(), LoraError> {
        Ok(write_wav(
            &self.run_dir.join(name),
            clip,
            SampleFormat::I16,
        )?)
    }

    fn clip(
        &self,
        adapter: &TrainableAdapter,
        set: &TrainingSet,
        seed: u64,
        with_trigger: bool,
        progress: &dyn Progress,
    ) -> Result<AudioBuffer, LoraError> {
        let base = adapter.base();
        let trigger = match (adapter.trigger()?, with_trigger) {
            (Some(trigger), true) => vec![(trigger, 1.0)],
            _ => Vec::new(),
        };
        let triggers: Vec<(&Tensor, f64)> = trigger
            .iter()
            .map(|(trigger, strength)| (trigger, *strength))
            .collect();
        let style = match base.songs() {
            None => style::of_tags(base, &[], &triggers)?,
            Some(_) => style::of_vector(base, style_of(set, seed), &triggers)?,
        };
        let request = Request::plain(base, style, self.secs);
        let mut stop_only = StopOnly(progress);
        let clips = generate(base, &request, &[seed], &mut stop_only)?;
        let channels = clips.into_iter().next().map(Vec::from);
        Ok(AudioBuffer::new(
            base.sample_rate_hz(),
            channels.unwrap_or_default(),
        )?)
    }

    /// The training piece that a clip is most like.
    fn nearest(&mut self, set: &TrainingSet, clip: &AudioBuffer) -> Option<(String, f64)> {
        let data = &self.data;
        let known = self
            .known
            .get_or_insert_with(|| KnownPieces::of(data, &set.training));
        let found = nearest(&known.fingerprints, &fingerprint(clip)?)?;
        Some((known.names.get(found.piece)?.clone(), found.similarity))
    }
}

/// A style to ask a song model for: that of a training piece, another for each seed.
fn style_of(set: &TrainingSet, seed: u64) -> Option<&[f32]> {
    let styles: Vec<&Vec<f32>> = set
        .training
        .iter()
        .filter_map(|piece| piece.conditions.style.as_ref())
        .collect();
    let number = seed as usize % styles.len().max(1);
    styles.get(number).map(|style| style.as_slice())
}

impl KnownPieces {
    fn of(data: &Path, pieces: &[LatentPiece]) -> Self {
        let every = pieces.len().div_ceil(MOST_PIECES).max(1);
        let taken: Vec<(&LatentPiece, Fingerprint)> = pieces
            .iter()
            .step_by(every)
            .filter_map(|piece| {
                // A piece that cannot be compared is no reason to stop a training.
                let clip = audio::read(&data.join(&piece.path)).ok()?;
                Some((piece, fingerprint(&clip)?))
            })
            .collect();
        let usual = usual_similarity(&taken);
        let (names, fingerprints) = taken
            .into_iter()
            .map(|(piece, fingerprint)| (piece.path.clone(), fingerprint))
            .unzip();
        Self {
            names,
            fingerprints,
            usual,
        }
    }
}

/// The highest similarity of pieces to pieces of other songs, over a few of them.
fn usual_similarity(pieces: &[(&LatentPiece, Fingerprint)]) -> Option<f64> {
    const ASKED: usize = 8;
    let every = pieces.len().div_ceil(ASKED).max(1);
    let of_others = |(piece, fingerprint): &(&LatentPiece, Fingerprint)| {
        let others: Vec<Fingerprint> = pieces
            .iter()
            .filter(|(other, _)| other.song != piece.song)
            .map(|(_, fingerprint)| fingerprint.clone())
            .collect();
        nearest(&others, fingerprint).map(|found| found.similarity)
    };
    let similarities = pieces.iter().step_by(every).filter_map(of_others);
    similarities.max_by(f64::total_cmp)
}

fn fingerprint(clip: &AudioBuffer) -> Option<Fingerprint> {
    let at_rate = clip.resampled(features::SAMPLE_RATE_HZ).ok()?;
    Fingerprint::of(&at_rate).ok()
}

/// Level of the difference of two clips over that of the second.
fn difference(with: &AudioBuffer, without: &AudioBuffer) -> f64 {
    let (mut apart, mut level) = (0.0, 0.0);
    for (with, without) in with.channels.iter().zip(&without.channels) {
        for (&with, &without) in with.iter().zip(without) {
            apart += f64::from(with - without).powi(2);
            level += f64::from(without).powi(2);
        }
    }
    (apart / level.max(f64::MIN_POSITIVE)).sqrt()
}
