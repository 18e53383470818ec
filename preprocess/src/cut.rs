//! A whole run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataset::{Piece, Split, assign_splits, hash_file, read_tags, write_manifest};
use rayon::prelude::*;

use crate::output::Output;
use crate::song::{self, SongError, Target};
use crate::sources::{self, Source};
use crate::{CutError, Phase, Progress, Settings, SkipReason, Skipped, names};

/// Time between two writings of the manifest while a run lasts.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What to cut, whereto and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// A folder, walked recursively, or one file.
    pub input: PathBuf,
    /// The folder of the pieces, made where needed.
    pub output: PathBuf,
    /// How to cut.
    pub settings: Settings,
    /// Files at a time; 0 for one per core.
    pub jobs: usize,
    /// Cut everything again, replacing the pieces of earlier runs.
    pub force: bool,
    /// Decode and decide, write nothing.
    pub dry_run: bool,
}

impl Request {
    /// A request with the default settings.
    #[must_use]
    pub fn new(input: PathBuf, output: PathBuf) -> Self {
        Self {
            input,
            output,
            settings: Settings::default(),
            jobs: 0,
            force: false,
            dry_run: false,
        }
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Recordings cut.
    pub songs_cut: usize,
    /// Recordings whose pieces were there already.
    pub songs_unchanged: usize,
    /// Pieces written (in a dry run: that would be).
    pub pieces_written: usize,
    /// Their length.
    pub sound_secs: f64,
    /// Songs in the manifest to train on.
    pub train_songs: usize,
    /// Songs in the manifest that are held out.
    pub validation_songs: usize,
    /// Recordings passed over, in order of path.
    pub skipped: Vec<Skipped>,
    /// The run was asked to stop; what was finished is listed.
    pub is_interrupted: bool,
}

/// Cuts recordings into pieces; see the crate's documentation.
///
/// `cancel` stops the run at the next block; what is finished stays and is listed.
pub fn cut(
    request: &Request,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Report, CutError> {
    request.settings.validate()?;
    let found = sources::find(&request.input)?;
    sources::check_apart(&request.input, &request.output)?;
    let jobs = match request.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    let pool = pool.map_err(|error| CutError::Workers {
        jobs,
        reason: error.to_string(),
    })?;
    let output = Output::open(
        &request.output,
        &request.settings,
        request.force,
        request.dry_run,
    )?;
    for skipped in &found.skipped {
        progress.skipped(skipped);
    }
    let run = Run {
        request,
        progress,
        cancel,
        stopped: AtomicBool::new(false),
    };
    let outcome = pool.install(|| run.all(found, output));
    progress.end();
    outcome
}

/// A recording with its content's hash.
struct Song {
    source: Source,
    hash: String,
}

struct Run<'a> {
    request: &'a Request,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
    /// A fatal error was met: finish nothing more.
    stopped: AtomicBool,
}

/// What workers share.
struct Shared {
    pieces: Vec<Piece>,
    /// Stems and numbers of pieces that the manifest does not list yet.
    unlisted: Vec<(String, usize)>,
    skipped: Vec<Skipped>,
    fatal: Option<CutError>,
    last_checkpoint: Instant,
    report: Report,
}

impl Run<'_> {
    fn all(&self, found: sources::Found, mut output: Output) -> Result<Report, CutError> {
        let mut skipped = found.skipped;
        let songs = self.hash_all(found.sources, &mut skipped);
        let SortedSongs {
            new,
            unchanged,
            changed,
        } = self.sort_out(songs, &mut output)?;
        for source in changed {
            let path = source.path.clone();
            self.skip(&mut skipped, path.clone(), SkipReason::Changed { path });
        }
        let taken: Vec<String> = output
            .pieces
            .iter()
            .filter_map(|piece| names::stem_of(&piece.path))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let stems = names::stems(new.iter().map(|song| song.source.label.as_str()), &taken);
        output.check_foreign(&stems.values().map(String::as_str).collect())?;
        let before = splits_of(&output.pieces);
        let planned = self.splits(new.iter().map(|song| song.hash.as_str()), &before);
        if !self.request.dry_run {
            output.write_record(&self.request.settings)?;
        }
        let report = Report {
            songs_unchanged: unchanged.len(),
            ..Report::default()
        };
        let shared = Mutex::new(Shared {
            pieces: self.refreshed(&output.pieces, &unchanged),
            unlisted: Vec::new(),
            skipped,
            fatal: None,
            last_checkpoint: Instant::now(),
            report,
        });
        self.progress.begin(Phase::Cutting, new.len());
        new.par_iter().for_each(|song| {
            if self.is_stopping() {
                return;
            }
            let split = planned.get(&song.hash).copied().unwrap_or(Split::Train);
            let stem = stems.get(&song.source.label).map_or("song", String::as_str);
            self.one(song, stem, split, &output, &shared);
            self.progress.file_done();
        });
        let shared = shared
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.conclude(shared, &output, &before)
    }

    fn is_stopping(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed)
    }

    fn skip(&self, skipped: &mut Vec<Skipped>, path: PathBuf, reason: SkipReason) {
        let entry = Skipped { path, reason };
        self.progress.skipped(&entry);
        skipped.push(entry);
    }

    fn splits<'s>(
        &self,
        hashes: impl Iterator<Item = &'s str>,
        fixed: &BTreeMap<String, Split>,
    ) -> BTreeMap<String, Split> {
        let settings = &self.request.settings;
        assign_splits(hashes, fixed, settings.validation_fraction, settings.seed)
    }

    fn hash_all(&self, sources: Vec<Source>, skipped: &mut Vec<Skipped>) -> Vec<Song> {
        self.progress.begin(Phase::Hashing, sources.len());
        let hashed: Vec<_> = sources
            .into_par_iter()
            .filter(|_| !self.is_stopping())
            .map(|source| {
                let hash = hash_file(&source.path);
                self.progress.file_done();
                (source, hash)
            })
            .collect();
        let mut songs = Vec::with_capacity(hashed.len());
        for (source, hash) in hashed {
            match hash {
                Ok(hash) => songs.push(Song { source, hash }),
                Err(error) => {
                    let path = source.path;
                    let reason = SkipReason::Read {
                        path: path.clone(),
                        source: error,
                    };
                    self.skip(skipped, path, reason);
                }
            }
        }
        songs
    }

    /// Songs to cut, songs that are cut already, and sources that changed since. Removes the
    /// pieces that are to be replaced.
    fn sort_out(&self, songs: Vec<Song>, output: &mut Output) -> Result<SortedSongs, CutError> {
        if self.request.force {
            let removed = std::mem::take(&mut output.pieces);
            if !removed.is_empty() && !self.request.dry_run {
                output.replace_pieces(&removed, Vec::new())?;
            }
            return Ok(SortedSongs {
                new: songs,
                ..SortedSongs::default()
            });
        }
        let labels: HashSet<&str> = songs
            .iter()
            .map(|song| song.source.label.as_str())
            .collect();
        let mut hash_of_label: HashMap<&str, &str> = HashMap::new();
        let mut incomplete: HashSet<&str> = HashSet::new();
        let mut moved: HashSet<&str> = HashSet::new();
        for piece in &output.pieces {
            hash_of_label.insert(&piece.source, &piece.source_hash);
            if !output.folder.join(&piece.path).is_file() {
                incomplete.insert(&piece.source);
            }
            if !labels.contains(piece.source.as_str()) {
                moved.insert(&piece.source_hash);
            }
        }
        let state = |song: &Song| match hash_of_label.get(song.source.label.as_str()) {
            Some(hash) if *hash != song.hash => State::Changed,
            Some(_) if incomplete.contains(song.source.label.as_str()) => State::New,
            Some(_) => State::Unchanged,
            None if moved.contains(song.hash.as_str()) => State::Unchanged,
            None => State::New,
        };
        let states: Vec<State> = songs.iter().map(state).collect();
        let redone: HashSet<String> = incomplete.into_iter().map(str::to_owned).collect();
        let mut sorted = SortedSongs::default();
        for (song, state) in songs.into_iter().zip(states) {
            match state {
                State::New => sorted.new.push(song),
                State::Unchanged => sorted.unchanged.push(song),
                State::Changed => sorted.changed.push(song.source),
            }
        }
        if !redone.is_empty() && !self.request.dry_run {
            let present: HashSet<&str> = sorted
                .new
                .iter()
                .map(|song| song.source.label.as_str())
                .collect();
            let (removed, remaining): (Vec<Piece>, Vec<Piece>) = std::mem::take(&mut output.pieces)
                .into_iter()
                .partition(|piece| {
                    redone.contains(&piece.source) && present.contains(piece.source.as_str())
                });
            output.replace_pieces(&removed, remaining)?;
        }
        Ok(sorted)
    }

    /// Pieces of earlier runs, with the tags that their sidecars hold now.
    fn refreshed(&self, pieces: &[Piece], unchanged: &[Song]) -> Vec<Piece> {
        let tags: HashMap<&str, Vec<String>> = unchanged
            .iter()
            .filter_map(|song| {
                Some((
                    song.source.label.as_str(),
                    read_tags(&song.source.path).ok()?,
                ))
            })
            .collect();
        let mut pieces = pieces.to_vec();
        for piece in &mut pieces {
            if let Some(tags) = tags.get(piece.source.as_str()) {
                piece.tags.clone_from(tags);
            }
        }
        pieces
    }

    /// Cuts one song and books the outcome.
    fn one(&self, song: &Song, stem: &str, split: Split, output: &Output, shared: &Mutex<Shared>) {
        let outcome = self.cut_song(song, stem, split, output);
        let mut shared = shared
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match outcome {
            Ok(pieces) => {
                shared.report.songs_cut += 1;
                shared.report.pieces_written += pieces.len();
                shared.report.sound_secs += pieces.iter().map(Piece::duration_secs).sum::<f64>();
                shared.unlisted.push((stem.to_owned(), pieces.len()));
                shared.pieces.extend(pieces);
                if !self.request.dry_run
                    && shared.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL
                    && let Err(error) = checkpoint(&mut shared, output)
                {
                    self.stopped.store(true, Ordering::Relaxed);
                    shared.fatal.get_or_insert(error);
                }
            }
            Err(SongError::Skip(reason)) => {
                self.skip(&mut shared.skipped, song.source.path.clone(), reason);
            }
            Err(SongError::Fatal(error)) => {
                self.stopped.store(true, Ordering::Relaxed);
                shared.fatal.get_or_insert(error);
            }
            Err(SongError::Cancelled) => {}
        }
    }

    fn cut_song(
        &self,
        song: &Song,
        stem: &str,
        split: Split,
        output: &Output,
    ) -> Result<Vec<Piece>, SongError> {
        let settings = &self.request.settings;
        let path = &song.source.path;
        let tags = read_tags(path).map_err(|source| SkipReason::Tags {
            path: path.with_extension("txt"),
            source,
        })?;
        let plan = song::analyse(path, settings, self.cancel)?;
        if plan.unused_times > 0 {
            self.progress.notice(&format!(
                "{}: {} of the times of --at lie behind its end",
                path.display(),
                plan.unused_times
            ));
        }
        let target = Target {
            folder: &output.folder,
            stem,
            source: &song.source,
            source_hash: &song.hash,
            split,
            tags: &tags,
        };
        if self.request.dry_run {
            return Ok(song::described(&plan, &target, settings));
        }
        let count = plan.pieces.len();
        output.announce(stem, count).map_err(SongError::Fatal)?;
        match song::write(&plan, &target, settings, self.cancel) {
            Ok(written) => {
                if written.clipped_samples > 0 {
                    self.progress.notice(&format!(
                        "{}: {} samples were clipped; --bit-depth f32 keeps them",
                        path.display(),
                        written.clipped_samples
                    ));
                }
                Ok(written.pieces)
            }
            Err(error) => {
                // A file in the way is not ours to delete.
                if !matches!(error, SongError::Fatal(CutError::Foreign { .. })) {
                    output.discard(stem, count);
                }
                Err(error)
            }
        }
    }

    /// Settles the split, lists everything, and reports.
    fn conclude(
        &self,
        mut shared: Shared,
        output: &Output,
        before: &BTreeMap<String, Split>,
    ) -> Result<Report, CutError> {
        // Once more, over the songs that could be cut: a broken one may have been the one held out.
        let splits = self.splits(
            shared.pieces.iter().map(|piece| piece.source_hash.as_str()),
            before,
        );
        for piece in &mut shared.pieces {
            piece.split = splits
                .get(&piece.source_hash)
                .copied()
                .unwrap_or(piece.split);
        }
        if !self.request.dry_run
            && let Err(error) = checkpoint(&mut shared, output)
        {
            // Nothing may stay that no manifest lists.
            for (stem, count) in shared.unlisted.drain(..) {
                output.discard(&stem, count);
            }
            shared.fatal.get_or_insert(error);
        }
        if let Some(error) = shared.fatal {
            return Err(error);
        }
        let held_out = splits
            .values()
            .filter(|split| **split == Split::Validation)
            .count();
        if splits.len() == 1
            && !self.request.dry_run
            && self.request.settings.validation_fraction > 0.0
        {
            self.progress
                .notice("there is only one song: none is held out, so training cannot be judged on unheard music");
        }
        shared.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Report {
            train_songs: splits.len() - held_out,
            validation_songs: held_out,
            skipped: shared.skipped,
            is_interrupted: self.cancel.load(Ordering::Relaxed),
            ..shared.report
        })
    }
}

/// What a run finds: songs to cut, songs that are cut already, and sources that changed since.
#[derive(Default)]
struct SortedSongs {
    new: Vec<Song>,
    unchanged: Vec<Song>,
    changed: Vec<Source>,
}

enum State {
    New,
    Unchanged,
    Changed,
}

fn splits_of(pieces: &[Piece]) -> BTreeMap<String, Split> {
    pieces
        .iter()
        .map(|piece| (piece.source_hash.clone(), piece.split))
        .collect()
}

/// Lists all finished pieces; their notes are not needed any more.
fn checkpoint(shared: &mut Shared, output: &Output) -> Result<(), CutError> {
    shared
        .pieces
        .sort_by(|a, b| (&a.source, a.start_frame).cmp(&(&b.source, b.start_frame)));
    write_manifest(&output.folder, &shared.pieces)?;
    for (stem, _) in shared.unlisted.drain(..) {
        output.withdraw(&stem);
    }
    shared.last_checkpoint = Instant::now();
    Ok(())
}
