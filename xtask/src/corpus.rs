//! `cargo xtask corpus`: a corpus of music that the project composes itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use corpus::{Options, Rendered, Score, Style, compose, render};
use rayon::prelude::*;
use serde::Serialize;

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
    write_index(&args.out_dir, &jobs)?;
    let done = AtomicUsize::new(0);
    jobs.par_iter().try_for_each(|job| -> Result<()> {
        let path = args.out_dir.join(&job.name);
        if !path.exists() {
            write_wav(
                &path,
                &quantise(&render(&job.score, SAMPLE_RATE_HZ), Some(job.score.seed)),
            )?;
        }
        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(50) || count == jobs.len() {
            eprintln!("{count} of {} pieces", jobs.len());
        }
        Ok(())
    })
}

/// Writes `corpus.jsonl` anew; lines of pieces that this call did not ask for are kept.
fn write_index(out_dir: &Path, jobs: &[Job]) -> Result<()> {
    let path = out_dir.join("corpus.jsonl");
    let mut lines: Vec<String> = Vec::new();
    let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    for line in fs::read_to_string(&path).unwrap_or_default().lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("reading {}", path.display()))?;
        if !value["path"]
            .as_str()
            .is_some_and(|name| names.contains(name))
        {
            lines.push(line.to_owned());
        }
    }
    for job in jobs {
        let score = &job.score;
        lines.push(serde_json::to_string(&Entry {
            path: &job.name,
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
        })?);
    }
    lines.push(String::new());
    let aside = out_dir.join("corpus.jsonl.part");
    fs::write(&aside, lines.join("\n")).with_context(|| format!("writing {}", aside.display()))?;
    fs::rename(&aside, &path).with_context(|| format!("renaming to {}", path.display()))
}

/// Interleaved stereo, written aside and renamed.
fn write_wav(path: &Path, samples: &[i16]) -> Result<()> {
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
    fs::rename(&aside, path).with_context(|| format!("renaming to {}", path.display()))
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
