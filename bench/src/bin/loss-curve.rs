//! Our side of `cargo xtask loss-curve`: trains an adapter on the embedded base as `lora-train` does, and leaves behind what the peer
//! (`xtask/peer/loss_curve.py`) needs to do the same: every batch, the initial values and the settings. Prints the losses on the
//! held-out songs as a line of JSON.
//!
//! | file | what |
//! |---|---|
//! | `settings.toml` | the resolved configuration, as `lora-train` saves it |
//! | `initial.safetensors` | the variables before the first step |
//! | `training.safetensors` | `N.PART`: what step N sees, counted from 0 |
//! | `validation.safetensors` | the same of the batches that measure the held-out songs |
//! | `run/` | the run |

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use candle_core::{Device, Tensor};
use clap::Parser;
use journal::{Record, read_records};
use lora::base::BaseModel;
use lora::progress::Silent;
use lora::train::{BaseDefaults, Batch, ConditionSource, TrainSettings, Trainer, TrainingSet};

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    /// Folder with pieces and manifest.jsonl, made by cut-music.
    segments: PathBuf,
    /// Folder for what the peer needs and for the run; what an earlier comparison left there is replaced.
    out_dir: PathBuf,
    /// Steps of the run.
    #[arg(long)]
    steps: usize,
    /// Crops in a batch.
    #[arg(long)]
    batch_size: usize,
    /// Length of a crop.
    #[arg(long)]
    crop_secs: f64,
}

fn main() -> Result<()> {
    nn::process::prepare();
    nn::process::use_threads(None);
    let args = Args::parse();
    // The backward pass walks the graph by recursion, which a main thread's stack may not hold.
    const STACK_BYTES: usize = 256 << 20;
    let worker = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || run(&args))?;
    let ended = worker.join();
    ended.map_err(|_| anyhow!("the training ended in a panic"))?
}

fn run(args: &Args) -> Result<()> {
    let config = settings(args).resolve(BaseDefaults::EMBEDDED)?;
    let base = BaseModel::embedded(&Device::Cpu)?;
    let tag_count = base.tags().names().len();
    let mut conditions = ConditionSource::new(None, Default::default());
    let augmentations = config.augmentations();
    let set = TrainingSet::open(
        &args.segments,
        &base,
        &mut conditions,
        &augmentations,
        &mut Silent,
    )?;
    let (run_dir, toml) = (config.run_dir.clone(), config.to_toml()?);
    let steps = config.steps;
    let trainer = Trainer::start(config, base, set, true)?;

    std::fs::write(args.out_dir.join("settings.toml"), toml)?;
    let initial: HashMap<_, _> = trainer.adapter().values()?.into_iter().collect();
    save(&args.out_dir, "initial", &initial)?;
    let mut training = HashMap::new();
    for step in 0..steps {
        put(&mut training, step, &trainer.batch(step)?, tag_count)?;
    }
    save(&args.out_dir, "training", &training)?;
    drop(training);
    let mut validation = HashMap::new();
    for (number, batch) in trainer.validation_batches().iter().enumerate() {
        put(&mut validation, number, batch, tag_count)?;
    }
    save(&args.out_dir, "validation", &validation)?;

    let started = Instant::now();
    trainer.run(&mut Silent)?;
    print_curve(&run_dir, started.elapsed().as_secs_f64())
}

/// The defaults, but for dropout, whose masks the two sides cannot share, and early stopping.
fn settings(args: &Args) -> TrainSettings {
    TrainSettings {
        data: Some(args.segments.clone()),
        out: Some(args.out_dir.join("style.safetensors")),
        run_dir: Some(args.out_dir.join("run")),
        steps: Some(args.steps),
        batch_size: Some(args.batch_size),
        crop_secs: Some(args.crop_secs),
        dropout: Some(0.0),
        patience_epochs: Some(args.steps),
        preview_steps: Some(0),
        ..TrainSettings::default()
    }
}

fn save(folder: &Path, name: &str, tensors: &HashMap<String, Tensor>) -> Result<()> {
    let path = folder.join(name).with_extension("safetensors");
    candle_core::safetensors::save(tensors, &path)
        .with_context(|| format!("writing {}", path.display()))
}

/// Adds a batch under its number. Tags are a row of 0 and 1 for each item.
fn put(
    tensors: &mut HashMap<String, Tensor>,
    number: usize,
    batch: &Batch,
    tag_count: usize,
) -> Result<()> {
    let items = batch.styles.len();
    let (mut tags, mut dropped) = (vec![0.0f32; items * tag_count], Vec::with_capacity(items));
    for (item, style) in batch.styles.iter().enumerate() {
        for tag in &style.tags {
            tags[item * tag_count + tag] = 1.0;
        }
        dropped.push(u8::from(style.dropped));
    }
    let valid: Vec<u32> = batch
        .valid_frames
        .iter()
        .map(|&frames| u32::try_from(frames))
        .collect::<Result<_, _>>()?;
    let parts = [
        ("data", batch.data.clone()),
        ("noise", batch.noise.clone()),
        ("time", batch.time.clone()),
        ("text", batch.text.clone()),
        ("start_time", batch.start_time.clone()),
        (
            "valid_frames",
            Tensor::from_vec(valid, items, &Device::Cpu)?,
        ),
        (
            "tags",
            Tensor::from_vec(tags, (items, tag_count), &Device::Cpu)?,
        ),
        ("dropped", Tensor::from_vec(dropped, items, &Device::Cpu)?),
    ];
    tensors.extend(parts.map(|(part, tensor)| (format!("{number}.{part}"), tensor)));
    Ok(())
}

/// What the run wrote down, as pairs of step and loss.
#[expect(clippy::print_stdout, reason = "the result is the program's output")]
fn print_curve(run_dir: &Path, seconds: f64) -> Result<()> {
    let validation: Vec<(usize, f64)> = read_records(run_dir)?
        .into_iter()
        .filter_map(|record| match record {
            Record::Validation(record) => Some((record.step, record.loss)),
            _ => None,
        })
        .collect();
    let report = serde_json::json!({ "seconds": seconds, "validation": validation });
    println!("{report}");
    Ok(())
}
