//! `cargo xtask bench`: whole jobs, ours and a peer's in turn, as a table with the marks they must reach.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::workspace::Workspace;

/// Seconds of sound at which growth is measured.
const GROWTH_SECONDS: [usize; 4] = [5, 10, 30, 95];
const GROWTH_BATCHES: [usize; 3] = [1, 2, 4];
/// Latent frames a second at 44.1 kHz and 2048 samples a frame.
const FRAMES_PER_SECOND: f64 = 44_100.0 / 2048.0;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A Python with torch, diffusers, peft, transformers and librosa: the peer's side of each job, in turn with ours.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// Only these jobs.
    #[arg(long, value_delimiter = ',', value_name = "JOB")]
    only: Vec<String>,
    /// How often the two sides take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Timed runs of a job in each turn, after one that is not counted.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Threads of both sides; all cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How our cost grows with length (5, 10, 30, 95 s) and batch (1, 2, 4), instead of the marks.
    #[arg(long)]
    growth: bool,
}

/// A job, and what the peer's cost over ours must reach at least.
struct Job {
    name: &'static str,
    what: &'static str,
    time_mark: Option<f64>,
    memory_mark: Option<MemoryMark>,
}

/// Our peak over the peer's at most.
#[derive(Clone, Copy)]
struct MemoryMark {
    at_most: f64,
    /// The peer's job that it is compared with.
    peer: &'static str,
}

const fn job(name: &'static str, what: &'static str, time_mark: f64) -> Job {
    Job {
        name,
        what,
        time_mark: Some(time_mark),
        memory_mark: None,
    }
}

const JOBS: [Job; 11] = [
    job(
        "transformer-forward",
        "transformer 16 x 1024, 256 frames, forward",
        1.15,
    ),
    job("lora-step", "LoRA step on it", 1.1),
    job(
        "lora-step-checkpointed",
        "the same, checkpointing on both sides",
        1.2,
    ),
    job("lora-step-wide", "LoRA step, 24 x 1536, 256 frames", 1.0),
    Job {
        name: "lora-step-wide-checkpointed",
        what: "the same, checkpointing; memory against the peer's without",
        time_mark: None,
        memory_mark: Some(MemoryMark {
            at_most: 0.7,
            peer: "lora-step-wide",
        }),
    },
    job(
        "embedded-step",
        "embedded base: LoRA step, 8 crops of 6 s",
        1.5,
    ),
    job("embedded-clip", "embedded base: 6 s generated", 1.5),
    Job {
        name: "oobleck-decode",
        what: "Oobleck, full size: decode 10 s of stereo",
        time_mark: Some(3.0),
        memory_mark: Some(MemoryMark {
            at_most: 1.0 / 3.0,
            peer: "oobleck-decode",
        }),
    },
    job(
        "oobleck-encode",
        "Oobleck, full size: encode 10 s of stereo",
        1.5,
    ),
    job("features", "spectrum and features of 60 s of stereo", 5.0),
    job(
        "start",
        "program start to first network output; import diffusers",
        50.0,
    ),
];

/// What either side prints.
#[derive(Debug, Clone, Default, Deserialize)]
struct Measured {
    seconds: Vec<f64>,
    peak_bytes: u64,
    #[serde(default)]
    floating_point_operations: f64,
    #[serde(default)]
    bytes: f64,
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.seconds.extend(other.seconds);
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        self.floating_point_operations = other.floating_point_operations;
        self.bytes = other.bytes;
    }

    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
        }
    }

    fn peak_megabytes(&self) -> f64 {
        self.peak_bytes as f64 / 1e6
    }
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    if args.rounds == 0 || args.runs == 0 {
        bail!("--rounds and --runs must be at least 1");
    }
    for name in &args.only {
        if !JOBS.iter().any(|job| job.name == name) {
            let names: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
            bail!("there is no job {name}; there are {}", names.join(", "));
        }
    }
    let sides = Sides::new(args)?;
    if args.growth {
        return growth(&sides, args);
    }
    let floor = Floor::measure(&sides, args)?;
    let mut peers: Vec<(&str, Measured)> = Vec::new();
    let mut rows = Vec::new();
    for job in JOBS.iter().filter(|job| wanted(args, job.name)) {
        progress(&format!("{} ...", job.name));
        let (mut ours, mut peer) = (Measured::default(), Measured::default());
        for _ in 0..args.rounds {
            ours.add(sides.ours(job.name, &run_count(args))?);
            if let Some(measured) = sides.peers(job.name, &run_count(args))? {
                peer.add(measured);
            }
        }
        peers.push((job.name, peer));
        rows.push((job, ours));
    }
    print_table(&rows, &peers, &floor);
    Ok(())
}

fn wanted(args: &BenchArgs, name: &str) -> bool {
    args.only.is_empty() || args.only.iter().any(|only| only == name)
}

fn run_count(args: &BenchArgs) -> [String; 2] {
    ["--runs".to_owned(), args.runs.to_string()]
}

/// How both sides are started.
struct Sides {
    ours: PathBuf,
    peer: Option<PathBuf>,
    script: PathBuf,
    threads: usize,
}

impl Sides {
    fn new(args: &BenchArgs) -> Result<Self> {
        let workspace = Workspace::enter()?;
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--package", "bench"])
            .status()
            .context("cargo did not start")?;
        if !status.success() {
            bail!("the crate bench does not build");
        }
        let program = format!("bench-job{}", std::env::consts::EXE_SUFFIX);
        Ok(Self {
            ours: workspace.target.join("release").join(program),
            peer: args.peer.clone(),
            script: workspace.root.join("bench").join("peer").join("peer.py"),
            threads: match args.threads {
                Some(threads) => threads,
                None => std::thread::available_parallelism()?.get(),
            },
        })
    }

    fn ours(&self, job: &str, options: &[String]) -> Result<Measured> {
        self.measure(&self.ours, &[], job, options)
    }

    fn peers(&self, job: &str, options: &[String]) -> Result<Option<Measured>> {
        let Some(python) = &self.peer else {
            return Ok(None);
        };
        self.measure(python, &[&self.script], job, options)
            .map(Some)
    }

    fn measure(
        &self,
        program: &Path,
        before: &[&Path],
        job: &str,
        options: &[String],
    ) -> Result<Measured> {
        let output = Command::new(program)
            .args(before)
            .arg(job)
            .args(options)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .env("OMP_NUM_THREADS", self.threads.to_string())
            .output()
            .with_context(|| format!("{} did not start", program.display()))?;
        if !output.status.success() {
            bail!(
                "{} {job} failed ({}):\n{}",
                program.display(),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.trim().lines().next_back().unwrap_or_default();
        serde_json::from_str(last)
            .with_context(|| format!("{} {job} printed {last:?}", program.display()))
    }
}

/// What the machine can do at most.
struct Floor {
    operations_per_second: f64,
    bytes_per_second: f64,
}

impl Floor {
    fn measure(sides: &Sides, args: &BenchArgs) -> Result<Self> {
        let best = |job: &str| -> Result<Measured> {
            let mut measured = sides.ours(job, &run_count(args))?;
            measured.seconds.sort_by(f64::total_cmp);
            measured.seconds.truncate(1);
            Ok(measured)
        };
        let (product, copy) = (best("matrix-product")?, best("memory-copy")?);
        Ok(Self {
            operations_per_second: product.floating_point_operations / product.median(),
            bytes_per_second: copy.bytes / copy.median(),
        })
    }

    fn seconds(&self, measured: &Measured) -> f64 {
        let arithmetic = measured.floating_point_operations / self.operations_per_second;
        arithmetic.max(measured.bytes / self.bytes_per_second)
    }
}

#[expect(clippy::print_stdout, reason = "the table is the command's output")]
fn growth(sides: &Sides, args: &BenchArgs) -> Result<()> {
    println!("| work | length | batch | seconds | per second of sound | peak MB |");
    println!("|---|---|---|---|---|---|");
    for job in [
        "transformer-forward",
        "lora-step",
        "oobleck-decode",
        "oobleck-encode",
    ] {
        if !wanted(args, job) {
            continue;
        }
        let lengths = GROWTH_SECONDS.map(|seconds| (seconds, 1));
        let batches = GROWTH_BATCHES.map(|batch| (GROWTH_SECONDS[0], batch));
        for (seconds, batch) in lengths.into_iter().chain(batches.into_iter().skip(1)) {
            let frames = (seconds as f64 * FRAMES_PER_SECOND).ceil() as usize;
            let mut options = run_count(args).to_vec();
            options.extend(["--frames".to_owned(), frames.to_string()]);
            options.extend(["--batch".to_owned(), batch.to_string()]);
            let measured = sides.ours(job, &options)?;
            let median = measured.median();
            println!(
                "| {job} | {seconds} s | {batch} | {median:.2} | {:.3} | {:.0} |",
                median / (seconds * batch) as f64,
                measured.peak_megabytes()
            );
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the command's output")]
fn print_table(rows: &[(&Job, Measured)], peers: &[(&str, Measured)], floor: &Floor) {
    println!(
        "matrix products {:.0} GFLOP/s, memory copies {:.1} GB/s",
        floor.operations_per_second / 1e9,
        floor.bytes_per_second / 1e9
    );
    println!();
    println!(
        "| work | ours s | peer s | peer / ours | mark | floor / ours | ours MB | peer MB | ours / peer | mark |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (job, ours) in rows {
        let peer_of = |name: &str| {
            let found = peers.iter().find(|(other, _)| *other == name);
            found
                .map(|(_, measured)| measured)
                .filter(|measured| !measured.seconds.is_empty())
        };
        let peer = peer_of(job.name);
        let memory_peer = peer_of(job.memory_mark.map_or(job.name, |mark| mark.peer));
        let median = ours.median();
        let cells = [
            job.what.to_owned(),
            seconds(median),
            peer.map_or_else(nothing, |peer| seconds(peer.median())),
            peer.map_or_else(nothing, |peer| format!("{:.2}", peer.median() / median)),
            job.time_mark.map_or_else(nothing, |mark| mark.to_string()),
            match floor.seconds(ours) {
                floor if floor > 0.0 => format!("{:.2}", floor / median),
                _ => nothing(),
            },
            format!("{:.0}", ours.peak_megabytes()),
            memory_peer.map_or_else(nothing, |peer| format!("{:.0}", peer.peak_megabytes())),
            memory_peer.map_or_else(nothing, |peer| {
                format!("{:.2}", ours.peak_megabytes() / peer.peak_megabytes())
            }),
            job.memory_mark
                .map_or_else(nothing, |mark| format!("{:.2}", mark.at_most)),
        ];
        println!("| {} |", cells.join(" | "));
    }
}

fn seconds(value: f64) -> String {
    match value {
        value if value < 0.1 => format!("{value:.4}"),
        value => format!("{value:.3}"),
    }
}

fn nothing() -> String {
    "-".to_owned()
}

fn progress(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        let median = |seconds: &[f64]| {
            let measured = Measured {
                seconds: seconds.to_vec(),
                ..Measured::default()
            };
            measured.median()
        };
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_floor_is_the_slower_of_arithmetic_and_memory() {
        let floor = Floor {
            operations_per_second: 100.0,
            bytes_per_second: 10.0,
        };
        let measured = |floating_point_operations, bytes| Measured {
            floating_point_operations,
            bytes,
            ..Measured::default()
        };
        assert_eq!(floor.seconds(&measured(200.0, 1.0)), 2.0);
        assert_eq!(floor.seconds(&measured(200.0, 30.0)), 3.0);
    }
}
