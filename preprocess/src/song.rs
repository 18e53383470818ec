//! One recording, from file to pieces.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use audio::loudness::{Measure, Meter, from_db, limit_gain_db};
use audio::{AudioError, PartFile, SampleFormat, StereoStream, WavSpec, WavWriteError, WavWriter};
use dataset::{ContentHasher, MANIFEST_VERSION, Piece, Split};

use crate::analysis::Analysis;
use crate::analysis::energy::{Energy, Envelope};
use crate::analysis::loudness::SongLoudness;
use crate::names::piece_name;
use crate::sources::Source;
use crate::{CutError, Settings, SkipReason, boundaries, silence};

/// Most gain that a loudness target gives: a piece of near-silence stays quiet.
const MAX_GAIN_DB: f64 = 20.0;

/// Why a recording was not cut.
#[derive(Debug)]
pub(crate) enum SongError {
    /// It is at fault itself.
    Skip(SkipReason),
    /// The run cannot go on.
    Fatal(CutError),
    /// The user asked to stop.
    Cancelled,
}

impl From<SkipReason> for SongError {
    fn from(reason: SkipReason) -> Self {
        Self::Skip(reason)
    }
}

impl From<AudioError> for SongError {
    fn from(error: AudioError) -> Self {
        Self::Skip(error.into())
    }
}

/// What the first pass found out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The pieces, in order, in frames at the output rate.
    pub(crate) pieces: Vec<Range<u64>>,
    /// Times of `--at` that lie behind the end.
    pub(crate) unused_times: usize,
    frames: u64,
    format: SampleFormat,
}

/// Decodes a recording to its end and decides on its pieces.
pub(crate) fn analyse(
    path: &Path,
    settings: &Settings,
    cancel: &AtomicBool,
) -> Result<Plan, SongError> {
    let rate = settings.sample_rate_hz;
    let mut stream = StereoStream::open(path, rate)?;
    let format = settings
        .bit_depth
        .format_for(stream.info(), stream.is_exact());
    let mut energy = Energy::new(rate);
    while let Some(block) = stream.next_block()? {
        check_cancel(cancel)?;
        energy.block(block)?;
    }
    let envelope = energy.finish();
    let (pieces, unused_times) = decide(path, &envelope, settings)?;
    Ok(Plan {
        pieces,
        unused_times,
        frames: envelope.frames,
        format,
    })
}

fn decide(
    path: &Path,
    envelope: &Envelope,
    settings: &Settings,
) -> Result<(Vec<Range<u64>>, usize), SkipReason> {
    let path = path.to_owned();
    let whole = 0..envelope.frames;
    if let Some(times) = &settings.at_secs {
        let frame_of = |secs: &f64| (secs * f64::from(settings.sample_rate_hz)).round() as u64;
        let unused = times
            .iter()
            .filter(|secs| frame_of(secs) >= whole.end)
            .count();
        return Ok((
            boundaries::at_frames(&whole, times.iter().map(frame_of)),
            unused,
        ));
    }
    let stretches = if settings.trim_silence {
        silence::sounding_stretches(envelope)
    } else {
        vec![whole]
    };
    // A piece without sound would teach nothing, and as a held-out one falsify what is measured.
    if stretches.is_empty() || silence::is_empty(envelope) {
        return Err(SkipReason::Silence { path });
    }
    let (min_frames, max_frames) = (settings.min_frames(), settings.max_frames());
    let mut pieces: Vec<Range<u64>> = stretches
        .iter()
        .flat_map(|stretch| boundaries::divide(envelope, stretch, min_frames, max_frames))
        .collect();
    if settings.drop_short {
        pieces.retain(|piece| piece.end - piece.start >= min_frames);
    }
    if pieces.is_empty() {
        let min_secs = settings.min_secs;
        return Err(SkipReason::Short { path, min_secs });
    }
    Ok((pieces, 0))
}

/// Where the pieces of a recording go, and what is known of it.
pub(crate) struct Target<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) stem: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) source_hash: &'a str,
    pub(crate) split: Split,
    pub(crate) tags: &'a [String],
}

/// Pieces on disk.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) clipped_samples: u64,
}

/// Cuts a recording as planned.
pub(crate) fn write(
    plan: &Plan,
    target: &Target<'_>,
    settings: &Settings,
    cancel: &AtomicBool,
) -> Result<Written, SongError> {
    let levels = match settings.loudness_lufs {
        Some(lufs) => Some(measure(plan, target, settings, lufs, cancel)?),
        None => None,
    };
    let mut written = Written {
        pieces: Vec::with_capacity(plan.pieces.len()),
        clipped_samples: 0,
    };
    let mut current: Option<PieceFile<'_>> = None;
    for_each_piece(
        plan,
        target.source.path.as_path(),
        settings,
        cancel,
        |index, block| {
            if current.as_ref().is_none_or(|file| file.index != index) {
                if let Some(done) = current.take() {
                    done.commit(&mut written)?;
                }
                let level = levels
                    .as_ref()
                    .and_then(|levels| levels.get(index))
                    .copied();
                current = Some(PieceFile::create(plan, target, settings, index, level)?);
            }
            current.as_mut().map_or(Ok(()), |file| file.write(block))
        },
    )?;
    if let Some(done) = current.take() {
        done.commit(&mut written)?;
    }
    Ok(written)
}

/// Loudness and peak of a piece before its gain, and the gain.
#[derive(Debug, Clone, Copy)]
struct Level {
    lufs: Option<f64>,
    sample_peak: f64,
    gain_db: f64,
}

/// Measures every piece and decides on its gain.
fn measure(
    plan: &Plan,
    target: &Target<'_>,
    settings: &Settings,
    target_lufs: f64,
    cancel: &AtomicBool,
) -> Result<Vec<Level>, SongError> {
    let path = target.source.path.as_path();
    let mut meters: Vec<Measured> = Vec::with_capacity(plan.pieces.len());
    let mut current: Option<(usize, Meter)> = None;
    for_each_piece(plan, path, settings, cancel, |index, block| {
        match &mut current {
            Some((of, meter)) if *of == index => return Ok(meter.add(&block)?),
            current => {
                meters.extend(current.take().map(|(_, meter)| Measured::of(&meter)));
                let mut meter =
                    Meter::new(2, settings.sample_rate_hz, Measure::LoudnessAndTruePeak)?;
                meter.add(&block)?;
                *current = Some((index, meter));
            }
        }
        Ok(())
    })?;
    meters.extend(current.take().map(|(_, meter)| Measured::of(&meter)));
    // Only pieces that are too short or too quiet to be measured need the whole song's loudness.
    let song_lufs = if meters.iter().any(|measured| measured.lufs.is_none()) {
        song_loudness(path, settings, cancel)?
    } else {
        None
    };
    let level = |measured: Measured| {
        let gain_db = measured
            .lufs
            .or(song_lufs)
            .map_or(0.0, |lufs| target_lufs - lufs);
        let gain_db = limit_gain_db(
            gain_db.min(MAX_GAIN_DB),
            measured.true_peak,
            settings.peak_ceiling_dbfs,
        );
        Level {
            lufs: measured.lufs,
            sample_peak: measured.sample_peak,
            // Rounded down, so that the manifest says exactly what was applied and peaks stay safe.
            gain_db: (gain_db * 100.0).floor() / 100.0,
        }
    };
    Ok(meters.into_iter().map(level).collect())
}

/// What a meter read.
struct Measured {
    lufs: Option<f64>,
    sample_peak: f64,
    true_peak: f64,
}

impl Measured {
    fn of(meter: &Meter) -> Self {
        Self {
            lufs: meter.integrated_lufs(),
            sample_peak: meter.sample_peak(),
            true_peak: meter.true_peak(),
        }
    }
}

/// Integrated loudness of a whole recording.
fn song_loudness(
    path: &Path,
    settings: &Settings,
    cancel: &AtomicBool,
) -> Result<Option<f64>, SongError> {
    let mut stream = StereoStream::open(path, settings.sample_rate_hz)?;
    let mut loudness = SongLoudness::new(settings.sample_rate_hz)?;
    while let Some(block) = stream.next_block()? {
        check_cancel(cancel)?;
        loudness.block(block)?;
    }
    Ok(loudness.finish())
}

/// Decodes again and hands out the frames of each piece.
fn for_each_piece(
    plan: &Plan,
    path: &Path,
    settings: &Settings,
    cancel: &AtomicBool,
    mut visit: impl FnMut(usize, [&[f64]; 2]) -> Result<(), SongError>,
) -> Result<(), SongError> {
    let mut stream = StereoStream::open(path, settings.sample_rate_hz)?;
    let mut position = 0;
    let mut index = 0;
    while let Some([left, right]) = stream.next_block()? {
        check_cancel(cancel)?;
        let end = position + left.len() as u64;
        while let Some(piece) = plan.pieces.get(index).filter(|piece| piece.start < end) {
            let from = (piece.start.max(position) - position) as usize;
            let to = (piece.end.min(end) - position) as usize;
            visit(index, [&left[from..to], &right[from..to]])?;
            if piece.end > end {
                break;
            }
            index += 1;
        }
        position = end;
    }
    if position != plan.frames {
        return Err(SkipReason::Moving {
            path: path.to_owned(),
        }
        .into());
    }
    Ok(())
}

fn check_cancel(cancel: &AtomicBool) -> Result<(), SongError> {
    if cancel.load(Ordering::Relaxed) {
        return Err(SongError::Cancelled);
    }
    Ok(())
}

/// A piece being written.
struct PieceFile<'a> {
    index: usize,
    name: String,
    range: Range<u64>,
    target: &'a Target<'a>,
    spec: WavSpec,
    writer: WavWriter<Hashed>,
    level: Option<Level>,
    /// Measures what is written, where `level` does not say it already.
    meter: Option<Meter>,
    scaled: [Vec<f64>; 2],
}

impl<'a> PieceFile<'a> {
    fn create(
        plan: &Plan,
        target: &'a Target<'a>,
        settings: &Settings,
        index: usize,
        level: Option<Level>,
    ) -> Result<Self, SongError> {
        let range = plan.pieces[index].clone();
        let name = piece_name(target.stem, index + 1);
        let path = target.folder.join(&name);
        let spec = WavSpec {
            sample_rate_hz: settings.sample_rate_hz,
            channels: 2,
            format: plan.format,
        };
        if path.symlink_metadata().is_ok() {
            return Err(SongError::Fatal(CutError::Foreign { path }));
        }
        let hashed = Hashed::create(&path).map_err(|error| unwritable(&path, error))?;
        let writer = WavWriter::new(hashed, spec, range.end - range.start)
            .map_err(|error| stopped(&path, error))?;
        let meter = match level {
            Some(_) => None,
            None => Some(Meter::new(2, settings.sample_rate_hz, Measure::Loudness)?),
        };
        Ok(Self {
            index,
            name,
            range,
            target,
            spec,
            writer,
            level,
            meter,
            scaled: Default::default(),
        })
    }

    fn write(&mut self, block: [&[f64]; 2]) -> Result<(), SongError> {
        if let Some(meter) = &mut self.meter {
            meter.add(&block)?;
        }
        let gain_db = self.level.map_or(0.0, |level| level.gain_db);
        let outcome = if gain_db == 0.0 {
            self.writer.write(&block)
        } else {
            let gain = from_db(gain_db);
            for (scaled, plane) in self.scaled.iter_mut().zip(block) {
                scaled.clear();
                scaled.extend(plane.iter().map(|sample| sample * gain));
            }
            self.writer.write(&[&self.scaled[0], &self.scaled[1]])
        };
        outcome.map_err(|error| unwritable(&self.target.folder.join(&self.name), error))
    }

    fn commit(self, written: &mut Written) -> Result<(), SongError> {
        let path = self.target.folder.join(&self.name);
        written.clipped_samples += self.writer.clipped_samples();
        let hashed = self
            .writer
            .finish()
            .map_err(|error| stopped(&path, error))?;
        let content_hash = hashed.commit().map_err(|error| unwritable(&path, error))?;
        let gain_db = self.level.map_or(0.0, |level| level.gain_db);
        let (lufs, sample_peak) = match (&self.level, &self.meter) {
            (Some(level), _) => (level.lufs, level.sample_peak),
            (None, Some(meter)) => (meter.integrated_lufs(), meter.sample_peak()),
            (None, None) => (None, 0.0),
        };
        let peak = sample_peak * from_db(gain_db);
        let peak = if self.spec.format.is_float() {
            peak
        } else {
            peak.min(1.0)
        };
        let rate = f64::from(self.spec.sample_rate_hz);
        written.pieces.push(Piece {
            version: MANIFEST_VERSION,
            path: self.name,
            source: self.target.source.label.clone(),
            source_hash: self.target.source_hash.to_owned(),
            start_secs: self.range.start as f64 / rate,
            end_secs: self.range.end as f64 / rate,
            start_frame: self.range.start,
            end_frame: self.range.end,
            sample_rate_hz: self.spec.sample_rate_hz,
            channels: self.spec.channels,
            loudness_lufs: lufs.map(|lufs| rounded(lufs + gain_db, 100.0)),
            gain_db,
            peak: rounded(peak, 1e6),
            split: self.target.split,
            content_hash,
            tags: self.target.tags.to_vec(),
        });
        Ok(())
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// A full disk ends the run; a piece beyond WAV's sizes only this song.
fn stopped(path: &Path, error: WavWriteError) -> SongError {
    match error {
        WavWriteError::Io(error) => unwritable(path, error),
        WavWriteError::TooLong(frames) => AudioError::TooLong { frames }.into(),
        WavWriteError::FrameCount { .. } => SkipReason::Moving {
            path: path.to_owned(),
        }
        .into(),
    }
}

fn unwritable(path: &Path, source: io::Error) -> SongError {
    SongError::Fatal(CutError::Output {
        path: path.to_owned(),
        source,
    })
}

/// A file that is hashed while it is written.
struct Hashed {
    part: PartFile,
    hasher: ContentHasher,
}

impl Hashed {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            part: PartFile::create(path)?,
            hasher: ContentHasher::default(),
        })
    }

    /// Completes the file; gives its hash.
    fn commit(self) -> io::Result<String> {
        self.part.commit()?;
        Ok(self.hasher.finish())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.part.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// The pieces as planned, for a run that writes nothing.
pub(crate) fn described(plan: &Plan, target: &Target<'_>, settings: &Settings) -> Vec<Piece> {
    let rate = f64::from(settings.sample_rate_hz);
    (1..)
        .zip(&plan.pieces)
        .map(|(number, range)| Piece {
            version: MANIFEST_VERSION,
            path: piece_name(target.stem, number),
            source: target.source.label.clone(),
            source_hash: target.source_hash.to_owned(),
            start_secs: range.start as f64 / rate,
            end_secs: range.end as f64 / rate,
            start_frame: range.start,
            end_frame: range.end,
            sample_rate_hz: settings.sample_rate_hz,
            channels: 2,
            loudness_lufs: None,
            gain_db: 0.0,
            peak: 0.0,
            split: target.split,
            content_hash: String::new(),
            tags: target.tags.to_vec(),
        })
        .collect()
}
