//! A whole run.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataset::{Piece, Split, assign_splits, hash_file, write_manifest};
use rayon::prelude::*;

use crate::earlier::{self, Job, Song, Sorted};
use crate::output::Output;
use crate::song::{self, SongError, Target};
use crate::sources::{self, Source};
use crate::tags;
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
    /// Cut everything in the input again, each song's pieces replacing those of earlier runs.
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
    sources::check_apart(&request.input, &request.output)?;
    let found = sources::find(&request.input, &request.output)?;
    let jobs = match request.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    // More workers than recordings would only wait.
    let jobs = jobs.min(found.sources.len()).max(1);
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

struct Run<'a> {
    request: &'a Request,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
    /// A fatal error was met: finish nothing more.
    stopped: AtomicBool,
}

/// What workers share.
struct Shared {
    /// Pieces to list: those in their places.
    pieces: Vec<Piece>,
    /// Pieces that were cut with other settings, by path.
    outdated: HashSet<String>,
    /// Songs whose pieces are complete and wait to take the place of others.
    replacements: Vec<Replacement>,
    /// Stems and numbers of pieces that the manifest does not list yet.
    unlisted: Vec<(String, usize)>,
    skipped: Vec<Skipped>,
    fatal: Option<CutError>,
    last_checkpoint: Instant,
    report: Report,
}

/// Pieces of one song, and those whose place they take.
struct Replacement {
    stem: String,
    old: Vec<Piece>,
    new: Vec<Piece>,
}

/// Where the pieces of a song go.
#[derive(Clone, Copy)]
struct Place<'a> {
    stem: &'a str,
    split: Split,
}

impl Run<'_> {
    fn all(&self, found: sources::Found, output: Output) -> Result<Report, CutError> {
        let mut skipped = found.skipped;
        let songs = self.hash_all(found.sources, &mut skipped);
        if self.is_stopping() {
            // Not all recordings are known, so nothing can be said of any, least of all that it
            // is gone.
            return Ok(self.stopped_early(skipped, &output));
        }
        let Sorted {
            jobs,
            unchanged,
            changed,
            pieces,
        } = earlier::sort_out(songs, &output.pieces, self.request.force, |piece| {
            output.outdated.contains(&piece.source_hash)
                || !output.folder.join(&piece.path).is_file()
        });
        for source in changed {
            let path = source.path.clone();
            self.skip(&mut skipped, path.clone(), SkipReason::Changed { path });
        }
        let labels: Vec<_> = jobs
            .iter()
            .map(|job| (job.song.source.label.as_str(), job.own_stems()))
            .collect();
        let stems = names::stems(&labels, &earlier::stems_of(&pieces));
        output.check_foreign(stems.iter().map(String::as_str))?;
        let before = self.fixed_splits(&pieces, &jobs);
        let mut shared = Shared {
            outdated: paths_of(&pieces, &output.outdated),
            pieces,
            replacements: Vec::new(),
            unlisted: Vec::new(),
            skipped,
            fatal: None,
            last_checkpoint: Instant::now(),
            report: Report {
                songs_unchanged: unchanged,
                ..Report::default()
            },
        };
        let listed = hashes_of(&shared.pieces);
        let of_jobs = jobs.iter().map(|job| job.song.hash.as_str());
        let hashes = listed.iter().map(String::as_str).chain(of_jobs);
        let planned = self.splits(hashes, &before);
        // Copies of one recording may be replaced at different times: none may be on another side
        // in between.
        set_splits(&mut shared.pieces, &planned);
        if !self.request.dry_run {
            output.write_record(&self.request.settings, &output.outdated)?;
        }
        let shared = Mutex::new(shared);
        self.progress.begin(Phase::Cutting, jobs.len());
        jobs.par_iter().zip(&stems).for_each(|(job, stem)| {
            if self.is_stopping() {
                return;
            }
            let split = planned.get(&job.song.hash).copied();
            let split = split.unwrap_or(Split::Train);
            self.one(job, Place { stem, split }, &output, &shared);
            self.progress.file_done();
        });
        let shared = shared
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.conclude(shared, &output, &before)
    }

    /// The report of a run that was stopped before it changed anything.
    fn stopped_early(&self, skipped: Vec<Skipped>, output: &Output) -> Report {
        let splits = splits_of(&output.pieces);
        let held_out = held_out(&splits);
        Report {
            train_songs: splits.len() - held_out,
            validation_songs: held_out,
            skipped: in_order(skipped),
            is_interrupted: true,
            ..Report::default()
        }
    }

    /// Sides that songs keep: those of all that is listed. With `--force`, which may come with
    /// another share or seed, those of what stays as it is.
    fn fixed_splits(&self, pieces: &[Piece], jobs: &[Job]) -> BTreeMap<String, Split> {
        if !self.request.force {
            return splits_of(pieces);
        }
        let replaced: HashSet<&str> = jobs
            .iter()
            .flat_map(|job| &job.replaces)
            .map(|piece| piece.path.as_str())
            .collect();
        splits_of(
            pieces
                .iter()
                .filter(|piece| !replaced.contains(piece.path.as_str())),
        )
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

    /// Cuts one song and books the outcome.
    fn one(&self, job: &Job, place: Place<'_>, output: &Output, shared: &Mutex<Shared>) {
        let outcome = self.cut_song(job, place, output);
        let mut shared = shared
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match outcome {
            Ok(pieces) => {
                shared.report.songs_cut += 1;
                shared.report.pieces_written += pieces.len();
                shared.report.sound_secs += pieces.iter().map(Piece::duration_secs).sum::<f64>();
                self.book(job, place.stem, pieces, &mut shared);
            }
            Err(SongError::Skip(reason)) => {
                // Where the settings leave nothing of a song, nothing is what replaces it.
                if reason.leaves_nothing() && !job.replaces.is_empty() {
                    self.book(job, place.stem, Vec::new(), &mut shared);
                }
                self.skip(&mut shared.skipped, job.song.source.path.clone(), reason);
            }
            Err(SongError::Fatal(error)) => {
                self.stopped.store(true, Ordering::Relaxed);
                shared.fatal.get_or_insert(error);
            }
            Err(SongError::Cancelled) => {}
        }
        if !self.request.dry_run
            && shared.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL
            && let Err(error) = checkpoint(&mut shared, output)
        {
            self.stopped.store(true, Ordering::Relaxed);
            shared.fatal.get_or_insert(error);
        }
    }

    fn book(&self, job: &Job, stem: &str, pieces: Vec<Piece>, shared: &mut Shared) {
        let replacement = Replacement {
            stem: stem.to_owned(),
            old: job.replaces.clone(),
            new: pieces,
        };
        if self.request.dry_run {
            shared.pieces = without(&shared.pieces, [&replacement]);
            shared.pieces.extend(replacement.new);
        } else if job.replaces.is_empty() {
            let count = replacement.new.len();
            shared.unlisted.push((replacement.stem, count));
            shared.pieces.extend(replacement.new);
        } else {
            shared.replacements.push(replacement);
        }
    }

    fn cut_song(
        &self,
        job: &Job,
        place: Place<'_>,
        output: &Output,
    ) -> Result<Vec<Piece>, SongError> {
        let settings = &self.request.settings;
        let song = &job.song;
        let path = &song.source.path;
        let tags = tags::of(path).map_err(SkipReason::from)?;
        let plan = song::analyse(path, settings, self.cancel)?;
        if plan.unused_times > 0 {
            self.progress.notice(&format!(
                "{}: {} of the times of --at lie behind its end",
                path.display(),
                plan.unused_times
            ));
        }
        let count = plan.pieces.len();
        let is_replacing = !job.replaces.is_empty();
        let folder = if self.request.dry_run {
            output.folder.clone()
        } else if is_replacing {
            output.stage(place.stem).map_err(SongError::Fatal)?
        } else {
            output
                .announce(place.stem, count)
                .map_err(SongError::Fatal)?;
            output.folder.clone()
        };
        let target = Target {
            folder: &folder,
            stem: place.stem,
            source: &song.source,
            source_hash: &song.hash,
            split: place.split,
            tags: &tags,
        };
        if self.request.dry_run {
            return Ok(song::described(&plan, &target, settings));
        }
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
                if is_replacing {
                    output.unstage(place.stem);
                } else if !matches!(error, SongError::Fatal(CutError::Foreign { .. })) {
                    // A file in the way is not ours to delete.
                    output.discard(place.stem, count);
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
        let exchanged = if self.request.dry_run {
            Ok(())
        } else {
            exchange(&mut shared, output)
        };
        // Once more, over the songs that could be cut: a broken one may have been the one held out.
        let hashes = hashes_of(&shared.pieces);
        let mut fixed = before.clone();
        fixed.retain(|hash, _| hashes.binary_search(hash).is_ok());
        let splits = self.splits(hashes.iter().map(String::as_str), &fixed);
        set_splits(&mut shared.pieces, &splits);
        if !self.request.dry_run
            && let Err(error) = self.list_all(exchanged, &mut shared, output)
        {
            shared.fatal.get_or_insert(error);
        }
        if let Some(error) = shared.fatal {
            return Err(error);
        }
        let held_out = held_out(&splits);
        if splits.len() == 1
            && !self.request.dry_run
            && self.request.settings.validation_fraction > 0.0
        {
            self.progress
                .notice("there is only one song: none is held out, so training cannot be judged on unheard music");
        }
        Ok(Report {
            train_songs: splits.len() - held_out,
            validation_songs: held_out,
            skipped: in_order(shared.skipped),
            is_interrupted: self.cancel.load(Ordering::Relaxed),
            ..shared.report
        })
    }

    /// Lists all finished pieces at the end of a run, also after an exchange that failed.
    fn list_all(
        &self,
        exchanged: Result<(), CutError>,
        shared: &mut Shared,
        output: &Output,
    ) -> Result<(), CutError> {
        if let Err(error) = list(shared, output) {
            // Nothing may stay that no manifest lists.
            for (stem, count) in shared.unlisted.drain(..) {
                output.discard(&stem, count);
            }
            return Err(error);
        }
        exchanged?;
        if shared.fatal.is_none() {
            output.withdraw_exchange();
        }
        let outdated = shared
            .pieces
            .iter()
            .filter(|piece| shared.outdated.contains(&piece.path))
            .map(|piece| piece.source_hash.clone())
            .collect();
        output.write_record(&self.request.settings, &outdated)
    }
}

fn splits_of<'p>(pieces: impl IntoIterator<Item = &'p Piece>) -> BTreeMap<String, Split> {
    pieces
        .into_iter()
        .map(|piece| (piece.source_hash.clone(), piece.split))
        .collect()
}

fn set_splits(pieces: &mut [Piece], splits: &BTreeMap<String, Split>) {
    for piece in pieces {
        if let Some(split) = splits.get(&piece.source_hash) {
            piece.split = *split;
        }
    }
}

fn held_out(splits: &BTreeMap<String, Split>) -> usize {
    splits
        .values()
        .filter(|split| **split == Split::Validation)
        .count()
}

/// The hashes of the recordings of some pieces, each once, in order.
fn hashes_of(pieces: &[Piece]) -> Vec<String> {
    let hashes: BTreeSet<&str> = pieces
        .iter()
        .map(|piece| piece.source_hash.as_str())
        .collect();
    hashes.into_iter().map(str::to_owned).collect()
}

/// The paths of pieces whose recordings have these hashes.
fn paths_of(pieces: &[Piece], hashes: &HashSet<String>) -> HashSet<String> {
    pieces
        .iter()
        .filter(|piece| hashes.contains(&piece.source_hash))
        .map(|piece| piece.path.clone())
        .collect()
}

fn in_order(mut skipped: Vec<Skipped>) -> Vec<Skipped> {
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    skipped
}

/// The pieces that some replacements leave.
fn without<'r>(
    pieces: &[Piece],
    replacements: impl IntoIterator<Item = &'r Replacement>,
) -> Vec<Piece> {
    let old: HashSet<&str> = replacements
        .into_iter()
        .flat_map(|replacement| &replacement.old)
        .map(|piece| piece.path.as_str())
        .collect();
    pieces
        .iter()
        .filter(|piece| !old.contains(piece.path.as_str()))
        .cloned()
        .collect()
}

/// Lists all finished pieces while a run lasts.
fn checkpoint(shared: &mut Shared, output: &Output) -> Result<(), CutError> {
    exchange(shared, output)?;
    list(shared, output)?;
    output.withdraw_exchange();
    shared.last_checkpoint = Instant::now();
    Ok(())
}

/// Lists all pieces in their places; the notes of new ones are not needed any more.
fn list(shared: &mut Shared, output: &Output) -> Result<(), CutError> {
    write_sorted(&mut shared.pieces, output)?;
    for (stem, _) in shared.unlisted.drain(..) {
        output.withdraw(&stem);
    }
    Ok(())
}

fn write_sorted(pieces: &mut [Piece], output: &Output) -> Result<(), CutError> {
    pieces.sort_by(|a, b| (&a.source, a.start_frame).cmp(&(&b.source, b.start_frame)));
    Ok(write_manifest(&output.folder, pieces)?)
}

/// Brings finished replacements to their places. The manifest does not list them yet, nor the
/// pieces that they replaced.
///
/// What fails is fatal; a song whose files have not been touched keeps its old pieces.
fn exchange(shared: &mut Shared, output: &Output) -> Result<(), CutError> {
    let replacements = std::mem::take(&mut shared.replacements);
    if replacements.is_empty() {
        return Ok(());
    }
    let mut remaining = without(&shared.pieces, &replacements);
    let is_off_the_list = output
        .announce_exchange(replacements.iter().map(|r| (&r.old[..], &r.new[..])))
        .and_then(|()| write_sorted(&mut remaining, output));
    if let Err(error) = is_off_the_list {
        for replacement in &replacements {
            output.unstage(&replacement.stem);
        }
        return Err(error);
    }
    shared.pieces = remaining;
    let mut outcome = Ok(());
    for Replacement { stem, old, new } in replacements {
        if outcome.is_err() {
            shared.pieces.extend(old);
            output.unstage(&stem);
            continue;
        }
        outcome = output.exchange(&stem, &old, &new);
        if let Err(error) = &outcome {
            // A file in the way is not ours to delete.
            if !matches!(error, CutError::Foreign { .. }) {
                output.discard(&stem, new.len());
            }
            output.unstage(&stem);
        } else {
            for piece in &old {
                shared.outdated.remove(&piece.path);
            }
            shared.unlisted.push((stem, new.len()));
            shared.pieces.extend(new);
        }
    }
    outcome
}
