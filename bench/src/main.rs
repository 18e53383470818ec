//! Runs one job a few times and prints its times and the process's peak memory as a line of JSON. `cargo xtask bench` runs every job
//! in a process of its own, and a peer's side of it (`bench/peer/peer.py`) in turn.
//!
//! A job is set up, run once to warm up, and then timed.

mod autoencoder;
mod embedded;
mod features_job;
mod hot;
mod machine;
mod made_up;
mod released;
mod start;
mod transformer;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    /// What to time.
    job: Job,
    /// How often, after one run that is not counted.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Latent frames, where a job has a length.
    #[arg(long)]
    frames: Option<usize>,
    /// Items at once, where a job has a batch.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// The operation, where the job is `hot`.
    operation: Option<hot::Hot>,
    /// Set up and stop: what starting costs.
    #[arg(long)]
    idle: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Stable Audio's transformer, 16 blocks of 8 heads of 128, forward.
    TransformerForward,
    /// Forward, backward and AdamW on its attention's adapters of rank 8.
    LoraStep,
    /// The same with gradient checkpointing.
    LoraStepCheckpointed,
    /// 24 blocks of 24 heads of 64.
    LoraStepWide,
    /// The same with gradient checkpointing.
    LoraStepWideCheckpointed,
    /// A step of the default adapter on the embedded base, 8 crops of 6 s.
    EmbeddedStep,
    /// A step of the default adapter on DiffRhythm's 1B model, with gradient checkpointing.
    ReleasedStep,
    /// The embedded base's network for a clip of 6 s: 24 guided steps and the decoder.
    EmbeddedClip,
    /// The full-size Oobleck decoder on 10 s of stereo.
    OobleckDecode,
    /// The full-size Oobleck encoder on 10 s of stereo.
    OobleckEncode,
    /// Everything `lora-eval` measures of 60 s of stereo in memory.
    Features,
    /// A whole process that loads the embedded base and computes one step of a clip.
    Start,
    /// What that process does.
    FirstStep,
    /// One hot operation at a small size, for counting instructions.
    Hot,
    /// A large matrix product on all threads: what the machine can compute.
    MatrixProduct,
    /// A copy of a large block on all threads: how fast memory is.
    MemoryCopy,
}

/// One job, ready to run, and what it costs at least.
struct Run {
    work: Box<dyn FnMut() -> Result<()>>,
    /// Of the matrix products and convolutions, by their definition.
    floating_point_operations: f64,
    /// That must pass between memory and processor, where that is the job.
    bytes: f64,
}

impl Run {
    fn new(work: impl FnMut() -> Result<()> + 'static) -> Self {
        Self {
            work: Box::new(work),
            floating_point_operations: 0.0,
            bytes: 0.0,
        }
    }

    fn costing(self, floating_point_operations: f64) -> Self {
        Self {
            floating_point_operations,
            ..self
        }
    }
}

fn main() -> Result<()> {
    nn::process::prepare();
    nn::process::use_threads(None);
    let args = Args::parse();
    let mut run = set_up(&args)?;
    if args.idle {
        return Ok(());
    }
    (run.work)()?;
    let mut seconds = Vec::new();
    for _ in 0..args.runs {
        let started = Instant::now();
        (run.work)()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let report = serde_json::json!({
        "seconds": seconds,
        "peak_bytes": nn::process::peak_memory_bytes(),
        "floating_point_operations": run.floating_point_operations,
        "bytes": run.bytes,
    });
    println_json(&report);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result is the program's output")]
fn println_json(report: &serde_json::Value) {
    println!("{report}");
}

fn set_up(args: &Args) -> Result<Run> {
    use transformer::Size;
    let frames = args.frames.unwrap_or(256);
    let step = |size, checkpointed| transformer::step(size, args.batch, frames, checkpointed);
    match args.job {
        Job::TransformerForward => transformer::forward(Size::Small, args.batch, frames),
        Job::LoraStep => step(Size::Small, false),
        Job::LoraStepCheckpointed => step(Size::Small, true),
        Job::LoraStepWide => step(Size::Wide, false),
        Job::LoraStepWideCheckpointed => step(Size::Wide, true),
        Job::EmbeddedStep => embedded::step(),
        Job::ReleasedStep => released::step(args.batch, frames),
        Job::EmbeddedClip => embedded::clip(),
        Job::OobleckDecode => autoencoder::decode(args.frames.unwrap_or(216), args.batch),
        Job::OobleckEncode => autoencoder::encode(args.frames.unwrap_or(216), args.batch),
        Job::Features => features_job::set_up(),
        Job::Start => start::process(),
        Job::FirstStep => embedded::first_step(),
        Job::Hot => hot::run(args.operation.context("which operation?")?),
        Job::MatrixProduct => machine::matrix_product(),
        Job::MemoryCopy => machine::memory_copy(),
    }
}
