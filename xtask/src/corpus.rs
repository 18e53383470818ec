//! `cargo xtask corpus`: a corpus of music that the project composes itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use corpus::{Options, Rendered, Score, Style, compose, render};
use rayon::prelude::*;
use serde::Serialize;

/// Pieces between two writings of the index: what a run that is stopped does at most in vain.
const PIECES_PER_CHECKPOINT: usize = 50;
pub(crate) const SAMPLE_RATE_HZ: u32 = 44_100;

/// Renders a corpus of pieces in turn over the styles.
#[derive(Debug, clap::Args)]
pub(crate) struct CorpusArgs {
    /// Folder for the pieces and `corpus.jsonl`.
    out_dir: PathBuf,
    /// Hours of music.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// Seed of the whole corpus; with the style and the index it gives each piece's own.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Styles to render, separated by commas; all base styles if absent.
    #[arg(long, value_delimiter = ',')]
    styles: Vec<Style>,
    /// Render the held-out styles instead of the base styles.
    #[arg(long, conflicts_with = "styles")]
    held_out: bool,
    /// Only the first so many pieces.
    #[arg(long)]
    first: Option<usize>,
    /// Length to aim at for each piece.
    #[arg(long, default_value_t = 40.0)]
    duration_secs: f64,
}

impl CorpusArgs {
    /// So many pieces in turn over these styles.
    pub(crate) fn of_styles(
        out_dir: PathBuf,
        seed: u64,
        pieces: usize,
        duration_secs: f64,
        styles: Vec<Style>,
    ) -> Self {
        Self {
            out_dir,
            // The number of pieces is the limit.
            hours: f64::MAX,
            seed,
            styles,
            held_out: false,
            first: Some(pieces),
            duration_secs,
        }
    }
}

/// Everything known of one piece, a line of `corpus.jsonl`.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    path: &'a str,
    style: &'a str,
    seed: u64,
    tempo_bpm: f64,
    beats_per_bar: usize,
    first_beat_secs: f64,
    tags: &'a [&'static str],
    duration_secs: f64,
    key: Option<&'a str>,
    form: &'a str,
    phrase_bars: usize,
    /// The composer's and renderer's version: pieces of another one are rendered again.
    version: u32,
}

struct Job {
    name: String,
    score: Score,
}

/// The seed of a style's piece: it depends on nothing else that is asked for.
fn piece_seed(corpus_seed: u64, index: usize) -> u64 {
    corpus_seed
        .wrapping_mul(1_000_003)
        .wrapping_add(index as u64)
}

/// Pieces in turn over `styles` until they last `hours`.
fn plan(args: &CorpusArgs, styles: &[Style]) -> Vec<Job> {
    let options = Options {
        duration_secs: args.duration_secs,
    };
    let most = args.first.unwrap_or(usize::MAX);
    let mut jobs = Vec::new();
    let mut total_secs = 0.0;
    while total_secs < args.hours * 3600.0 && jobs.len() < most {
        let (style, index) = (styles[jobs.len() % styles.len()], jobs.len() / styles.len());
        let score = compose(style, piece_seed(args.seed, index), &options);
        total_secs += score.duration_secs;
        jobs.push(Job {
            name: format!("{style}-{index:05}.wav"),
            score,
        });
    }
    jobs
}

/// Runs `cargo xtask corpus`.
///
/// A piece is rendered unless it is there and its line in the index is what it would be now: names tell neither seed
/// nor length. The lines of pieces to render leave the index before any of them is written, so that at no
/// time it describes another sound than the one that is there.
pub(crate) fn run(args: &CorpusArgs) -> Result<()> {
    ensure!(
        args.hours > 0.0 && args.hours.is_finite(),
        "--hours must be positive, not {}",
        args.hours
    );
    ensure!(
        args.duration_secs >= 1.0,
        "--duration-secs must be at least 1, not {}",
        args.duration_secs
    );
    let styles = if args.held_out {
        Style::held_out()
    } else if args.styles.is_empty() {
        Style::base()
    } else {
        &args.styles
    };
    fs::create_dir_all(&args.out_dir)
        .with_context(|| format!("creating {}", args.out_dir.display()))?;
    let jobs = plan(args, styles);
    let index = Index::read(&args.out_dir, &jobs)?;
    index.write()?;
    let due = index.due();
    eprintln!(
        "{} of {} pieces are there",
        jobs.len() - due.len(),
        jobs.len()
    );
    let shared = Mutex::new((index, 0_usize));
    let outcome = due.par_iter().try_for_each(|&number| -> Result<()> {
        let job = &jobs[number];
        let samples = quantise(&render(&job.score, SAMPLE_RATE_HZ), Some(job.score.seed));
        write_wav(&args.out_dir.join(&job.name), &samples)?;
        let line = job.line()?;
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, done) = &mut *shared;
        index.lines[number] = Some(line);
        *done += 1;
        if done.is_multiple_of(PIECES_PER_CHECKPOINT) {
            eprintln!("{done} of {} rendered", due.len());
            index.write()?;
        }
        Ok(())
    });
    // Also after a failure: what is there is listed.
    let (index, done) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    index.write()?;
    eprintln!("{done} of {} rendered", due.len());
    outcome
}

/// `corpus.jsonl`: a line for each piece that is there.
struct Index {
    path: PathBuf,
    /// Lines of pieces that this run did not ask for, which come first.
    others: Vec<String>,
    /// For each piece that it asked for its line, if it is there.
    lines: Vec<Option<String>>,
}

impl Index {
    /// What the index of a folder says that is true for these pieces.
    fn read(out_dir: &Path, jobs: &[Job]) -> Result<Self> {
        let path = out_dir.join("corpus.jsonl");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        let numbers: BTreeMap<&str, usize> = jobs
            .iter()
            .enumerate()
            .map(|(number, job)| (job.name.as_str(), number))
            .collect();
        let mut others = Vec::new();
        let mut lines = vec![None; jobs.len()];
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line)
                .with_context(|| format!("reading {}", path.display()))?;
            let number = value["path"].as_str().and_then(|name| numbers.get(name));
            match number.map(|number| (*number, &jobs[*number])) {
                None => others.push(line.to_owned()),
                Some((number, job)) => {
                    let is_current = job.line()? == line && out_dir.join(&job.name).is_file();
                    lines[number] = is_current.then(|| line.to_owned());
                }
            }
        }
        Ok(Self {
            path,
            others,
            lines,
        })
    }

    /// The numbers of the pieces to render.
    fn due(&self) -> Vec<usize> {
        let missing = self.lines.iter().enumerate();
        missing
            .filter(|(_, line)| line.is_none())
            .map(|(number, _)| number)
            .collect()
    }

    /// Replaces the file in one step.
    fn write(&self) -> Result<()> {
        let mut text = String::new();
        for line in self.others.iter().chain(self.lines.iter().flatten()) {
            text.push_str(line);
            text.push('\n');
        }
        let aside = self.path.with_extension("jsonl.part");
        fs::write(&aside, text).with_context(|| format!("writing {}", aside.display()))?;
        put_in_place(&aside, &self.path)
    }
}

impl Job {
    /// The piece's line in the index.
    fn line(&self) -> Result<String> {
        let score = &self.score;
        Ok(serde_json::to_string(&Entry {
            path: &self.name,
            style: score.style.name(),
            seed: score.seed,
            tempo_bpm: score.tempo_bpm,
            beats_per_bar: score.beats_per_bar,
            first_beat_secs: 0.0,
            tags: &score.tags,
            duration_secs: score.duration_secs,
            key: score.key.tag().and_then(|tag| tag.strip_prefix("key:")),
            form: &score.form,
            phrase_bars: score.phrase_bars,
            version: corpus::VERSION,
        })?)
    }
}

/// Brings a finished file to the disk, then to its name.
fn put_in_place(aside: &Path, path: &Path) -> Result<()> {
    fs::OpenOptions::new()
        .append(true)
        .open(aside)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("syncing {}", aside.display()))?;
    fs::rename(aside, path).with_context(|| format!("renaming to {}", path.display()))
}

/// Interleaved stereo, written aside and renamed.
pub(crate) fn write_wav(path: &Path, samples: &[i16]) -> Result<()> {
    let aside = path.with_extension("wav.part");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: SAMPLE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let file = BufWriter::new(
        fs::File::create(&aside).with_context(|| format!("creating {}", aside.display()))?,
    );
    let mut writer = hound::WavWriter::new(file, spec)
        .with_context(|| format!("writing {}", aside.display()))?;
    let mut fast = writer.get_i16_writer(samples.len() as u32);
    for sample in samples {
        fast.write_sample(*sample);
    }
    fast.flush()
        .with_context(|| format!("writing {}", aside.display()))?;
    writer
        .finalize()
        .with_context(|| format!("finishing {}", aside.display()))?;
    put_in_place(&aside, path)
}

/// Interleaved samples; with a seed, triangular dither that spans two steps.
pub(crate) fn quantise(piece: &Rendered, dither_seed: Option<u64>) -> Vec<i16> {
    let mut state = dither_seed.unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let mut samples = Vec::with_capacity(2 * piece.left.len());
    for (left, right) in piece.left.iter().zip(&piece.right) {
        for value in [*left, *right] {
            let dither = if dither_seed.is_some() {
                uniform() - uniform()
            } else {
                0.0
            };
            samples.push(
                (value * 32_767.0 + dither)
                    .round()
                    .clamp(-32_768.0, 32_767.0) as i16,
            );
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(hours: f64) -> CorpusArgs {
        CorpusArgs {
            out_dir: PathBuf::new(),
            hours,
            seed: 3,
            styles: Vec::new(),
            held_out: false,
            first: None,
            duration_secs: 10.0,
        }
    }

    #[test]
    fn a_longer_corpus_begins_with_the_shorter_one() {
        let names = |hours: f64| -> Vec<(String, u64)> {
            plan(&args(hours), Style::base())
                .iter()
                .map(|job| (job.name.clone(), job.score.seed))
                .collect()
        };
        let (short, long) = (names(0.05), names(0.1));
        assert!(short.len() >= 15 && long.len() > short.len());
        assert_eq!(short, long[..short.len()]);
    }

    /// Renders two short pieces; gives the index, and for each piece its bytes and when they were written.
    fn rendered(folder: &Path, seed: u64) -> (String, Vec<(Vec<u8>, std::time::SystemTime)>) {
        let mut args = args(1.0);
        args.out_dir = folder.to_owned();
        (args.seed, args.first, args.duration_secs) = (seed, Some(2), 1.0);
        args.styles = Style::base()[..1].to_vec();
        run(&args).unwrap();
        let index = fs::read_to_string(folder.join("corpus.jsonl")).unwrap();
        let pieces = index.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let path = folder.join(line["path"].as_str().unwrap());
            let modified = path.metadata().unwrap().modified().unwrap();
            (fs::read(path).unwrap(), modified)
        });
        let pieces = pieces.collect();
        (index, pieces)
    }

    #[test]
    fn pieces_are_kept_only_when_they_are_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = rendered(folder.path(), 3);
        assert_eq!(rendered(folder.path(), 3), first, "nothing is done twice");
        let other = rendered(folder.path(), 4);
        assert_ne!(other.0, first.0);
        let fresh = tempfile::tempdir().unwrap();
        let expected = rendered(fresh.path(), 4);
        let bytes = |pieces: &[(Vec<u8>, std::time::SystemTime)]| -> Vec<Vec<u8>> {
            pieces.iter().map(|(bytes, _)| bytes.clone()).collect()
        };
        assert_eq!(other.0, expected.0);
        assert_eq!(bytes(&other.1), bytes(&expected.1));
        // Pieces that no line describes may be anything.
        fs::remove_file(folder.path().join("corpus.jsonl")).unwrap();
        let again = rendered(folder.path(), 3);
        assert_eq!((&again.0, bytes(&again.1)), (&first.0, bytes(&first.1)));
    }

    #[test]
    fn the_number_of_threads_changes_no_sample() {
        let of = |threads: usize| {
            let folder = tempfile::tempdir().unwrap();
            let mut args = args(1.0);
            args.out_dir = folder.path().to_owned();
            (args.first, args.duration_secs) = (Some(6), 1.0);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| run(&args)).unwrap();
            let index = fs::read_to_string(folder.path().join("corpus.jsonl")).unwrap();
            let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap()))
                .collect();
            files.sort();
            (index, files)
        };
        let one = of(1);
        assert_eq!(one.1.len(), 7, "six pieces and the index");
        assert!(one == of(3));
    }

    #[test]
    fn pieces_of_another_version_are_rendered_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = rendered(folder.path(), 3);
        let path = folder.path().join("corpus.jsonl");
        let now = format!("\"version\":{}", corpus::VERSION);
        assert!(first.0.contains(&now));
        fs::write(&path, first.0.replace(&now, "\"version\":1")).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let piece = entry.unwrap().path();
            if piece
                .extension()
                .is_some_and(|extension| extension == "wav")
            {
                fs::write(piece, "an older sound").unwrap();
            }
        }
        let again = rendered(folder.path(), 3);
        assert_eq!(again.0, first.0);
        let bytes = |pieces: &[(Vec<u8>, std::time::SystemTime)]| -> Vec<Vec<u8>> {
            pieces.iter().map(|(bytes, _)| bytes.clone()).collect()
        };
        assert_eq!(bytes(&again.1), bytes(&first.1));
    }

    #[test]
    fn an_index_that_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("corpus.jsonl"), "no JSON").unwrap();
        assert!(Index::read(folder.path(), &[]).is_err());
        fs::write(folder.path().join("corpus.jsonl"), b"\xff").unwrap();
        assert!(Index::read(folder.path(), &[]).is_err());
    }

    #[test]
    fn quantised_peaks_stay_within_sixteen_bits() {
        let piece = Rendered {
            left: vec![1.0, -1.0, 0.0],
            right: vec![0.5, 2.0, 0.0],
        };
        assert_eq!(
            quantise(&piece, None),
            [32_767, 16_384, -32_767, 32_767, 0, 0]
        );
    }
}
