//! The training set: a prepared folder's pieces as latents, encoded once and cached by content.
//!
//! The content is that of the files as they are now, not as the manifest remembers them: a piece that was edited is encoded again.

mod augment;

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use candle_core::{Device, Tensor};
use dataset::{CachedLatents, LatentCache, Piece, Split};
use lyrics::TimedTokens;
use sha2::{Digest, Sha256};
use vae::Tiling;

use self::augment::Variant;
use super::conditions::{ConditionSource, PieceConditions};
use super::config::PatternValue;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::hexadecimal::hexadecimal;
use crate::progress::Progress;

pub use augment::{Augmentation, Augmentations};

/// The folder inside the prepared one where latents are kept.
const CACHE_FOLDER: &str = ".latents";

/// One piece as the transformer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentPiece {
    /// Frame after frame, `[frames, channels]`.
    values: Vec<f32>,
    channels: usize,
    /// The piece in changed forms.
    variants: Vec<ChangedForm>,
    /// Rows of the tag table that describe the piece.
    pub tags: Vec<usize>,
    /// The song it was cut from.
    pub song: String,
    /// Its file, relative to the manifest.
    pub path: String,
    /// The recording's path, as the manifest has it.
    pub source: String,
    /// Style vector and lyrics, for a song model.
    pub conditions: PieceConditions,
    /// Where it begins in its song, and how long that is, both in latent frames.
    pub place: (usize, usize),
}

/// A piece with something changed about its sound. Played faster or slower it has another length, and all in it happens at other times.
#[derive(Debug, Clone, PartialEq)]
struct ChangedForm {
    values: Vec<f32>,
    tags: Vec<usize>,
    /// Length by that of the piece.
    length_ratio: f64,
    lines: Vec<TimedTokens>,
}

/// A piece in one of its forms.
#[derive(Debug, Clone, Copy)]
pub struct PieceForm<'a> {
    values: &'a [f32],
    channels: usize,
    /// Rows of the tag table that describe it.
    pub tags: &'a [usize],
    /// The lines that are sung in it, from its beginning.
    pub lines: &'a [TimedTokens],
    /// Where it begins in its song, and how long that is, both in latent frames.
    pub place: (usize, usize),
}

impl PieceForm<'_> {
    /// Channels of a latent frame.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Latent frames.
    pub fn frames(&self) -> usize {
        self.values.len() / self.channels
    }

    /// At most `frames` frames from `start`, and how many they are.
    pub fn crop(&self, start: usize, frames: usize) -> (Vec<f32>, usize) {
        let end = (start + frames).min(self.frames());
        let values = &self.values[start * self.channels..end * self.channels];
        (values.to_vec(), end - start)
    }
}

impl LatentPiece {
    /// A piece of `values.len() / channels` frames.
    pub fn new(values: Vec<f32>, channels: usize, tags: Vec<usize>, song: String) -> Self {
        let frames = values.len() / channels;
        Self {
            values,
            channels,
            variants: Vec::new(),
            tags,
            song,
            path: String::new(),
            source: String::new(),
            conditions: PieceConditions::default(),
            place: (0, frames),
        }
    }

    /// Latent frames.
    pub fn frames(&self) -> usize {
        self.values.len() / self.channels
    }

    /// How many forms it has: as it is, and changed.
    pub fn forms(&self) -> usize {
        1 + self.variants.len()
    }

    /// One of its forms, 0 being the piece as it is.
    pub fn form(&self, form: usize) -> PieceForm<'_> {
        let changed = form.checked_sub(1).and_then(|form| self.variants.get(form));
        let Some(changed) = changed else {
            return PieceForm {
                values: &self.values,
                channels: self.channels,
                tags: &self.tags,
                lines: &self.conditions.lines,
                place: self.place,
            };
        };
        let (start, song) = self.place;
        let longer = |frames: usize| (frames as f64 * changed.length_ratio).round() as usize;
        PieceForm {
            values: &changed.values,
            channels: self.channels,
            tags: &changed.tags,
            lines: &changed.lines,
            place: (longer(start), longer(song).max(1)),
        }
    }

    /// The piece with style and lyrics; the lyrics of its changed forms go with their lengths.
    fn conditioned(mut self, conditions: PieceConditions) -> Self {
        for variant in &mut self.variants {
            variant.lines.clone_from(&conditions.lines);
            for line in &mut variant.lines {
                line.time_secs *= variant.length_ratio;
            }
        }
        self.conditions = conditions;
        self
    }
}

/// Everything a run learns from and is measured on.
#[derive(Debug)]
pub struct TrainingSet {
    /// Pieces to learn from.
    pub training: Vec<LatentPiece>,
    /// Pieces of songs held out.
    pub validation: Vec<LatentPiece>,
    /// SHA-256 over the hashes of all pieces' files as they are now, in order, and over the changed forms asked for.
    pub data_hash: String,
    /// Pieces whose files changed since the manifest was written; they are used as they are now.
    pub changed: Vec<String>,
    /// Pieces, and changed forms of pieces, left out, each with the reason.
    pub skipped: Vec<String>,
    /// Tags of the recordings that the base does not know.
    pub unknown_tags: Vec<String>,
    /// What is worth saying about styles and lyrics.
    pub notes: Vec<String>,
}

impl TrainingSet {
    /// Pieces in the order of an epoch before it is shuffled: as often each as the first name that is part of its recording's path says,
    /// else once.
    ///
    /// # Errors
    /// When a name is part of no path, or nothing is left to visit.
    pub fn visits(&self, repeats: &[PatternValue<usize>]) -> Result<Vec<usize>, LoraError> {
        let sources: Vec<&str> = self.training.iter().map(|it| it.source.as_str()).collect();
        visits(&sources, repeats)
    }

    /// Whether `repeats` can be followed in this folder, by its manifest alone: before anything is opened or encoded.
    ///
    /// # Errors
    /// A manifest that cannot be used, and as [`visits`](Self::visits).
    pub fn check_visits(folder: &Path, repeats: &[PatternValue<usize>]) -> Result<(), LoraError> {
        let pieces = dataset::read_manifest(folder)?;
        let training = pieces.iter().filter(|piece| piece.split == Split::Train);
        let sources: Vec<&str> = training.map(|piece| piece.source.as_str()).collect();
        // An empty folder has a message of its own.
        match sources.is_empty() {
            true => Ok(()),
            false => visits(&sources, repeats).map(|_| ()),
        }
    }

    /// Reads the manifest of `folder`, hashes the pieces' files and encodes what is not cached yet.
    ///
    /// # Errors
    /// A manifest that cannot be used, a piece's file that cannot be read, a folder without anything to train on. A file that holds
    /// no usable sound is left out instead, see [`skipped`](Self::skipped).
    pub fn open(
        folder: &Path,
        base: &BaseModel,
        conditions: &mut ConditionSource,
        augmentations: &Augmentations,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let variants = Variant::of(augmentations);
        let mut pieces = dataset::read_manifest(folder)?;
        if pieces.is_empty() {
            return Err(data_error(
                folder,
                "the manifest lists no pieces; cut recordings into it: cut-music INPUT FOLDER",
            ));
        }
        let hashes = hash_files(folder, &pieces, progress)?;
        let mut changed = Vec::new();
        for (piece, hash) in pieces.iter_mut().zip(hashes) {
            let known = std::mem::replace(&mut piece.content_hash, hash);
            if !known.is_empty() && !known.eq_ignore_ascii_case(&piece.content_hash) {
                changed.push(piece.path.clone());
            }
        }
        let cache = LatentCache::open(&folder.join(CACHE_FOLDER))?;
        let mut set = Self {
            training: vec![],
            validation: vec![],
            data_hash: data_hash(&pieces, &variants),
            changed,
            skipped: vec![],
            unknown_tags: vec![],
            notes: vec![],
        };
        let songs = song_lengths(&pieces);
        progress.begin("encoding", pieces.len());
        for piece in &pieces {
            if progress.stop_requested() {
                return Err(LoraError::Stopped);
            }
            let variants = match piece.split {
                Split::Train => variants.as_slice(),
                // What is measured stays as it is.
                Split::Validation => &[],
            };
            match latent_piece(folder, piece, base, &cache, variants)? {
                Ok(Latent {
                    piece: mut latent,
                    unknown_tags,
                    lost_forms,
                }) => {
                    set.unknown_tags.extend(unknown_tags);
                    set.skipped.extend(lost_forms);
                    if base.songs().is_some() {
                        let path = folder.join(&piece.path);
                        latent = latent.conditioned(conditions.of_piece(&path, base)?);
                        latent.place = place(piece, &songs, base);
                    }
                    match piece.split {
                        Split::Train => set.training.push(latent),
                        Split::Validation => set.validation.push(latent),
                    }
                }
                Err(reason) => set.skipped.push(format!("{}: {reason}", piece.path)),
            }
            progress.advance();
        }
        progress.end();
        set.unknown_tags.sort();
        set.unknown_tags.dedup();
        let pieces = || set.training.iter().chain(&set.validation);
        set.data_hash = conditions_hash(&set.data_hash, pieces());
        if base.songs().is_some() {
            set.notes = conditions.notes(pieces());
        }
        if set.training.is_empty() {
            let reason = set.skipped.first().map_or_else(
                || "all pieces are held out for validation".to_owned(),
                Clone::clone,
            );
            return Err(data_error(
                folder,
                &format!("nothing to train on ({reason})"),
            ));
        }
        Ok(set)
    }
}

/// The numbers of pieces whose recordings have these paths, each as often as [`TrainingSet::visits`] says.
fn visits(sources: &[&str], repeats: &[PatternValue<usize>]) -> Result<Vec<usize>, LoraError> {
    let refused = |value: String, expected: &str| LoraError::Setting {
        setting: "repeats",
        value,
        expected: expected.to_owned(),
    };
    let names = |repeat: &PatternValue<usize>, source: &str| source.contains(&repeat.pattern);
    let idle = repeats
        .iter()
        .find(|repeat| !sources.iter().any(|source| names(repeat, source)));
    if let Some(idle) = idle {
        return Err(refused(
            idle.to_string(),
            "is part of no recording's path; manifest.jsonl has them as \"source\"",
        ));
    }
    let times = |source: &str| {
        let repeat = repeats.iter().find(|repeat| names(repeat, source));
        repeat.map_or(1, |repeat| repeat.value)
    };
    let visits: Vec<usize> = sources
        .iter()
        .enumerate()
        .flat_map(|(number, source)| std::iter::repeat_n(number, times(source)))
        .collect();
    if visits.is_empty() {
        return Err(refused(
            "0 for all".to_owned(),
            "leaves no piece to train on",
        ));
    }
    Ok(visits)
}

/// Seconds of each recording, as far as its pieces tell.
fn song_lengths(pieces: &[Piece]) -> HashMap<&str, f64> {
    let mut lengths = HashMap::new();
    for piece in pieces {
        let length: &mut f64 = lengths.entry(piece.source_hash.as_str()).or_default();
        *length = length.max(piece.end_secs);
    }
    lengths
}

/// Where a piece begins in its song, and how long that is, in latent frames.
fn place(piece: &Piece, songs: &HashMap<&str, f64>, base: &BaseModel) -> (usize, usize) {
    // In the reference's order: the last bit decides at whole frames.
    let frames = |secs: f64| (secs * f64::from(base.sample_rate_hz()) / base.hop() as f64) as usize;
    let length = songs.get(piece.source_hash.as_str()).copied();
    (
        frames(piece.start_secs),
        frames(length.unwrap_or(piece.end_secs)).max(1),
    )
}

fn data_error(folder: &Path, problem: &str) -> LoraError {
    LoraError::Data {
        path: folder.to_owned(),
        problem: problem.to_owned(),
    }
}

/// The hash of every piece's file as it is now, in the manifest's order; all cores take part.
fn hash_files(
    folder: &Path,
    pieces: &[Piece],
    progress: &mut dyn Progress,
) -> Result<Vec<String>, LoraError> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (sender, receiver) = mpsc::channel();
    let next = AtomicUsize::new(0);
    let mut hashes = vec![String::new(); pieces.len()];
    let mut unreadable: Vec<(usize, std::io::Error)> = Vec::new();
    progress.begin("checking", pieces.len());
    let finished = std::thread::scope(|scope| {
        for _ in 0..workers.min(pieces.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(piece) = pieces.get(index) else {
                        return;
                    };
                    let hash = dataset::hash_file(&folder.join(&piece.path));
                    // Nobody listens any more after a requested stop.
                    if sender.send((index, hash)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (index, hash) in receiver {
            if progress.stop_requested() {
                return Err(LoraError::Stopped);
            }
            match hash {
                Ok(hash) => hashes[index] = hash,
                Err(error) => unreadable.push((index, error)),
            }
            progress.advance();
        }
        Ok(())
    });
    progress.end();
    finished?;
    unreadable.sort_by_key(|(index, _)| *index);
    let Some((index, error)) = unreadable.first() else {
        return Ok(hashes);
    };
    let more = match unreadable.len() {
        1 => String::new(),
        count => format!(" (and {} more pieces)", count - 1),
    };
    let problem = format!(
        "the manifest lists this piece, but it cannot be read: {error}{more}; cut again, or remove its line from {}",
        dataset::MANIFEST_NAME
    );
    Err(data_error(&folder.join(&pieces[*index].path), &problem))
}

fn data_hash(pieces: &[Piece], variants: &[Variant]) -> String {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece.content_hash.as_bytes());
        hasher.update([match piece.split {
            Split::Train => b't',
            Split::Validation => b'v',
        }]);
    }
    for variant in variants {
        hasher.update(variant.key().as_bytes());
    }
    hexadecimal(hasher.finalize())
}

/// The hash of the pieces' sound with their songs, tags, styles and lyrics, which a run may not exchange under way either.
fn conditions_hash<'a>(sound: &str, pieces: impl Iterator<Item = &'a LatentPiece>) -> String {
    let mut hasher = Sha256::new_with_prefix(sound);
    for piece in pieces {
        hasher.update((piece.song.len() as u64).to_le_bytes());
        hasher.update(piece.song.as_bytes());
        hasher.update((piece.tags.len() as u64).to_le_bytes());
        for tag in &piece.tags {
            hasher.update((*tag as u64).to_le_bytes());
        }
        let PieceConditions { style, lines } = &piece.conditions;
        let style = style.as_deref().unwrap_or_default();
        hasher.update((style.len() as u64).to_le_bytes());
        style
            .iter()
            .for_each(|value| hasher.update(value.to_le_bytes()));
        for line in lines {
            hasher.update(line.time_secs.to_le_bytes());
            let tokens = line.tokens.as_deref().unwrap_or_default();
            tokens
                .iter()
                .for_each(|token| hasher.update(token.to_le_bytes()));
        }
    }
    hexadecimal(hasher.finalize())
}

/// A piece with all that can be had of it.
struct Latent {
    piece: LatentPiece,
    unknown_tags: Vec<String>,
    /// Changed forms that could not be made, each with the reason; the piece and its other forms are as good without.
    lost_forms: Vec<String>,
}

/// The outer error ends the run, the inner one is the reason to leave this piece out.
fn latent_piece(
    folder: &Path,
    piece: &Piece,
    base: &BaseModel,
    cache: &LatentCache,
    variants: &[Variant],
) -> Result<Result<Latent, String>, LoraError> {
    let path = folder.join(&piece.path);
    let latents = match latents(&path, &piece.content_hash, base, cache, None)? {
        Ok(latents) => latents,
        Err(reason) => return Ok(Err(reason)),
    };
    let sidecar = dataset::read_tags(&path)?;
    let words = || piece.tags.iter().chain(&sidecar).map(String::as_str);
    let (mut changed, mut lost_forms) = (Vec::with_capacity(variants.len()), Vec::new());
    for variant in variants {
        match self::latents(&path, &piece.content_hash, base, cache, Some(*variant))? {
            Ok(latents) => changed.push(ChangedForm {
                values: values(&latents),
                tags: base.tags().known_after(words(), variant.change()),
                length_ratio: variant.length_ratio(),
                lines: Vec::new(),
            }),
            Err(reason) => lost_forms.push(format!("{} {variant}: {reason}", piece.path)),
        }
    }
    let (tags, unknown_tags) = base.tags().known(words());
    let song = piece.source_hash.clone();
    let latent = LatentPiece {
        variants: changed,
        path: piece.path.clone(),
        source: piece.source.clone(),
        ..LatentPiece::new(values(&latents), latents.channels, tags, song)
    };
    Ok(Ok(Latent {
        piece: latent,
        unknown_tags,
        lost_forms,
    }))
}

/// Latents of a piece or of a changed form of it, from the cache or encoded now. The inner error is the reason to leave the piece out.
fn latents(
    path: &Path,
    content_hash: &str,
    base: &BaseModel,
    cache: &LatentCache,
    variant: Option<Variant>,
) -> Result<Result<CachedLatents, String>, LoraError> {
    let content = match variant {
        None => content_hash.to_owned(),
        Some(variant) => format!("{content_hash} {}", variant.key()),
    };
    let key = LatentCache::key(&content, base.autoencoder_id());
    let fits =
        |cached: &CachedLatents| cached.channels == base.latent_channels() && cached.frames > 0;
    if let Some(latents) = cache.get(&key).filter(fits) {
        return Ok(Ok(latents));
    }
    let encoded = encode(path, base, variant)?;
    if let Ok(latents) = &encoded {
        cache.put(&key, latents)?;
    }
    Ok(encoded)
}

fn encode(
    path: &Path,
    base: &BaseModel,
    variant: Option<Variant>,
) -> Result<Result<CachedLatents, String>, LoraError> {
    let mut sound = match audio::read_at(path, base.sample_rate_hz()) {
        Ok(sound) => sound.to_stereo(),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if let Some(variant) = variant {
        sound = match variant.applied(sound) {
            Ok(sound) => sound,
            Err(error) => return Ok(Err(error.to_string())),
        };
    }
    let samples = sound.frames();
    if samples < base.hop() {
        let least = base.hop() as f64 / f64::from(base.sample_rate_hz());
        return Ok(Err(format!(
            "{samples} samples are shorter than one latent frame ({least:.3} s); cut longer pieces"
        )));
    }
    let planar: Vec<f32> = sound.channels.concat();
    if planar.iter().any(|sample| !sample.is_finite()) {
        return Ok(Err("holds samples that are no numbers".to_owned()));
    }
    let posterior = base.encode(
        &Tensor::from_vec(planar, (1, 2, samples), &Device::Cpu)?,
        Tiling::EXACT,
    )?;
    let (_, channels, frames) = posterior.mean.dims3()?;
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    Ok(Ok(CachedLatents {
        mean: values(&posterior.mean)?,
        std: values(&posterior.std)?,
        channels,
        frames,
    }))
}

/// Means, frame after frame.
fn values(latents: &CachedLatents) -> Vec<f32> {
    frames_first(&latents.mean, latents.channels, latents.frames)
}

/// `[channels, frames]` to `[frames, channels]`.
fn frames_first(values: &[f32], channels: usize, frames: usize) -> Vec<f32> {
    (0..frames * channels)
        .map(|index| values[(index % channels) * frames + index / channels])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_from_channels_to_frames_first() {
        assert_eq!(
            frames_first(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 2, 3),
            [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]
        );
    }

    /// A piece of ten frames, and its form at half the tempo.
    fn piece_and_slow_form() -> LatentPiece {
        let values = |frames: u16| (0..frames * 2).map(f32::from).collect::<Vec<f32>>();
        let mut piece = LatentPiece::new(values(10), 2, vec![1], String::new());
        piece.place = (30, 100);
        piece.variants.push(ChangedForm {
            values: values(20),
            tags: vec![2],
            length_ratio: 2.0,
            lines: Vec::new(),
        });
        piece
    }

    #[test]
    fn a_slower_form_is_longer_and_all_in_it_later() {
        let line = TimedTokens {
            time_secs: 1.5,
            tokens: Some(vec![7]),
        };
        let conditions = PieceConditions {
            style: None,
            lines: vec![line],
        };
        let piece = piece_and_slow_form().conditioned(conditions);
        let (own, slow) = (piece.form(0), piece.form(1));
        assert_eq!((own.frames(), slow.frames()), (10, 20));
        assert_eq!((own.tags, slow.tags), (&[1][..], &[2][..]));
        assert_eq!((own.place, slow.place), ((30, 100), (60, 200)));
        assert_eq!(
            (own.lines[0].time_secs, slow.lines[0].time_secs),
            (1.5, 3.0)
        );
        assert_eq!(slow.lines[0].tokens, own.lines[0].tokens);
        assert_eq!(slow.crop(18, 4), (vec![36.0, 37.0, 38.0, 39.0], 2));
    }

    #[test]
    fn recordings_are_visited_as_often_as_asked() {
        let piece = |source: &str| LatentPiece {
            source: source.to_owned(),
            ..LatentPiece::new(vec![0.0; 4], 2, vec![], source.to_owned())
        };
        let set = TrainingSet {
            training: vec![piece("live/a.wav"), piece("studio/b.wav"), piece("c.wav")],
            validation: vec![],
            data_hash: String::new(),
            changed: vec![],
            skipped: vec![],
            unknown_tags: vec![],
            notes: vec![],
        };
        let visits = |repeats: &[&str]| {
            let repeats: Vec<_> = repeats.iter().map(|text| text.parse().unwrap()).collect();
            set.visits(&repeats)
        };
        assert_eq!(visits(&[]).unwrap(), [0, 1, 2]);
        assert_eq!(visits(&["studio/=3", "live=0"]).unwrap(), [1, 1, 1, 2]);
        let error = visits(&["stage=2"]).unwrap_err().to_string();
        assert!(
            error.contains("stage=2") && error.contains("--repeats"),
            "{error}"
        );
        assert!(visits(&["wav=0"]).is_err());
    }

    #[test]
    fn crops_end_with_the_piece() {
        let piece = LatentPiece::new(
            (0..10).map(|value| value as f32).collect(),
            2,
            vec![],
            String::new(),
        );
        assert_eq!(piece.form(0).crop(3, 4), (vec![6.0, 7.0, 8.0, 9.0], 2));
    }
}
