//! `lora-train base`: a base model trained from scratch.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audio::SampleFormat;
use candle_core::{Device, Tensor};
use clap::{Args, Subcommand};
use features::Reconstruction;
use lora::base::BaseModel;
use lora::base_training::export::{self, FinishedAutoencoder, Naming};
use lora::base_training::{
    BaseSizes, Corpus, Course, Outcome, RunSettings, Start, autoencoder, transformer,
};
use lora::device::DeviceChoice;
use lora::progress::Progress;
use lora::terminal::{Terminal, catch_interrupts, open_device, print_lines, tell};
use serde::de::DeserializeOwned;
use vae::{Autoencoder, Tiling};

use crate::ending::Ended;

/// What is done with a base.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BaseCommand {
    /// Train the autoencoder on the sounds of a corpus.
    Vae(VaeArguments),
    /// Train the diffusion transformer on the latents of a corpus.
    Dit(DitArguments),
    /// Put a finished autoencoder and a finished transformer into one base file.
    Export(ExportArguments),
    /// Measure what an autoencoder gives back of sounds it never heard.
    Reconstruct(ReconstructArguments),
    /// Print the default sizes as a file for --sizes.
    PrintSizes,
}

/// What both trainings need.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrainingArguments {
    /// Folder with corpus.jsonl and the sounds it names (`cargo xtask corpus FOLDER --hours 9` renders one).
    #[arg(long, value_name = "FOLDER")]
    corpus: PathBuf,
    /// Folder of the run: checkpoint, figures, report, and in the end the result.
    #[arg(long, value_name = "FOLDER")]
    run_dir: PathBuf,
    /// JSON file with the sizes of the networks [default: those that `lora-train base print-sizes` shows].
    #[arg(long, value_name = "FILE")]
    sizes: Option<PathBuf>,
    /// Begin with the weights of an earlier base file, and not from nothing.
    #[arg(long, value_name = "FILE")]
    start_from: Option<PathBuf>,
    /// Seed of every draw.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Save and stop so many minutes after the start, preparations included; --resume goes on.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Go on with the run in that folder. --steps may be another number, nothing else.
    #[arg(long)]
    resume: bool,
    /// Replace the run in that folder.
    #[arg(long)]
    force: bool,
    /// Where it is trained: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
}

impl TrainingArguments {
    fn sizes(&self) -> Result<BaseSizes> {
        Ok(match &self.sizes {
            Some(path) => BaseSizes::from_file(path)?,
            None => BaseSizes::default(),
        })
    }

    fn start(&self) -> Result<Option<Start>> {
        Ok(self.start_from.as_deref().map(Start::open).transpose()?)
    }

    fn course(&self) -> Result<Course<'_>> {
        let until = self.minutes.map(|minutes| {
            let time = Duration::try_from_secs_f64(minutes * 60.0).ok();
            time.and_then(|time| Instant::now().checked_add(time))
                .with_context(|| format!("--minutes {minutes} is no length of time"))
        });
        Ok(Course {
            folder: &self.run_dir,
            resume: self.resume,
            force: self.force,
            until: until.transpose()?,
        })
    }

    fn ready(&self) -> Result<Device> {
        catch_interrupts().context("Ctrl-C cannot be caught")?;
        Ok(open_device(self.device)?)
    }
}

/// The autoencoder's run.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaeArguments {
    #[command(flatten)]
    training: TrainingArguments,
    /// Optimizer steps. The learning rate falls to zero over the last quarter.
    #[arg(long, default_value_t = 4000, value_name = "N")]
    steps: usize,
    /// Crops of 1.5 seconds in a step.
    #[arg(long, default_value_t = 16, value_name = "N")]
    batch_size: usize,
    /// Peak learning rate of AdamW.
    #[arg(long, default_value_t = 7e-4, value_name = "RATE")]
    learning_rate: f64,
    /// Pieces that are held in memory, 2.5 MB each for 40 seconds.
    #[arg(long, default_value_t = 800, value_name = "N")]
    pieces: usize,
}

/// The transformer's run.
#[derive(Debug, Clone, Args)]
pub(crate) struct DitArguments {
    #[command(flatten)]
    training: TrainingArguments,
    /// The finished autoencoder: autoencoder.safetensors of its run, or a base file, whose autoencoder stays as it is.
    #[arg(long, value_name = "FILE")]
    autoencoder: PathBuf,
    /// JSON list of the prompt vocabulary (`cargo xtask tags` prints the composer's) [default: the tags of the corpus].
    #[arg(long, value_name = "FILE")]
    tags: Option<PathBuf>,
    /// Optimizer steps. The learning rate falls to zero over the last quarter.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    steps: usize,
    /// Crops of 6 seconds in a step; longer crops are fewer.
    #[arg(long, default_value_t = 16, value_name = "N")]
    batch_size: usize,
    /// Peak learning rate of AdamW: embeddings, norms, biases.
    #[arg(long, default_value_t = 1e-3, value_name = "RATE")]
    learning_rate: f64,
    /// Peak learning rate of Muon: the blocks' matrices.
    #[arg(long, default_value_t = 2e-3, value_name = "RATE")]
    matrix_rate: f64,
}

/// The base file.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArguments {
    /// The finished autoencoder that the transformer was trained with: autoencoder.safetensors of its run, or a base file.
    #[arg(long, value_name = "FILE")]
    autoencoder: PathBuf,
    /// The finished transformer: transformer.safetensors of its run.
    #[arg(long, value_name = "FILE")]
    transformer: PathBuf,
    /// Name that adapters record.
    #[arg(long, default_value = "my-base", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// Version that adapters record.
    #[arg(long, value_name = "N")]
    version: u32,
    /// JSON list of `{"title": …, "tags": [ … ]}`, as editors are to show the tags (`cargo xtask tags --groups` prints the composer's) [default: none].
    #[arg(long, value_name = "FILE")]
    tag_groups: Option<PathBuf>,
    /// The base file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file of that name.
    #[arg(long)]
    force: bool,
}

/// Sounds and the autoencoder that is to give them back.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReconstructArguments {
    /// The base: embedded, or a base file.
    #[arg(long, default_value = "embedded", value_name = "MODEL")]
    model: String,
    /// A finished autoencoder that is in no base yet.
    #[arg(long, conflicts_with = "model", value_name = "FILE")]
    autoencoder: Option<PathBuf>,
    /// Also write what was given back into this folder, as WAV files named as the sounds; what is there already is refused.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Only so many seconds of each sound.
    #[arg(long, default_value_t = 12.0, value_name = "SECONDS")]
    seconds: f64,
    /// WAV, FLAC and other files.
    #[arg(required = true, value_name = "SOUND")]
    sounds: Vec<PathBuf>,
}

/// Runs one of them.
pub(crate) fn run(command: &BaseCommand) -> Result<Ended> {
    match command {
        BaseCommand::Vae(arguments) => train_autoencoder(arguments),
        BaseCommand::Dit(arguments) => train_transformer(arguments),
        BaseCommand::Export(arguments) => export_base(arguments),
        BaseCommand::Reconstruct(arguments) => reconstruct(arguments),
        BaseCommand::PrintSizes => {
            print_lines([serde_json::to_string_pretty(&BaseSizes::default())?])?;
            Ok(Ended::Done)
        }
    }
}

fn ended(outcome: Outcome, folder: &Path, result: &str) -> Ended {
    match outcome {
        Outcome::Finished => {
            tell(format_args!("{}", folder.join(result).display()));
            Ended::Done
        }
        Outcome::Stopped => {
            tell("saved; --resume goes on");
            Ended::Stopped
        }
    }
}

fn train_autoencoder(arguments: &VaeArguments) -> Result<Ended> {
    let course = arguments.training.course()?;
    let settings = RunSettings {
        steps: arguments.steps,
        batch_size: arguments.batch_size,
        learning_rate: arguments.learning_rate,
        matrix_rate: arguments.learning_rate,
        warmup_steps: 50,
        decay_share: 0.25,
        average_decay: 0.995,
        validation_steps: 250,
        seed: arguments.training.seed,
    };
    let start = arguments.training.start()?;
    let corpus = Corpus::open(&arguments.training.corpus)?;
    let device = arguments.training.ready()?;
    let run = autoencoder::AutoencoderRun {
        corpus: &corpus,
        config: &arguments.training.sizes()?.autoencoder,
        start: start.as_ref(),
        settings: &settings,
        pieces: arguments.pieces,
        course,
        device: &device,
    };
    let outcome = autoencoder::train(&run, &mut Terminal::default())?;
    Ok(ended(outcome, course.folder, autoencoder::AUTOENCODER_FILE))
}

fn train_transformer(arguments: &DitArguments) -> Result<Ended> {
    let course = arguments.training.course()?;
    let settings = RunSettings {
        steps: arguments.steps,
        batch_size: arguments.batch_size,
        learning_rate: arguments.learning_rate,
        matrix_rate: arguments.matrix_rate,
        warmup_steps: 150,
        decay_share: 0.25,
        average_decay: 0.998,
        validation_steps: 250,
        seed: arguments.training.seed,
    };
    let start = arguments.training.start()?;
    let corpus = Corpus::open(&arguments.training.corpus)?;
    let tags = match &arguments.tags {
        None => corpus.tags(),
        Some(path) => read_json(path, "a JSON list of tags, as `cargo xtask tags` prints it")?,
    };
    let autoencoder = FinishedAutoencoder::open(&arguments.autoencoder)?;
    let device = arguments.training.ready()?;
    let run = transformer::TransformerRun {
        corpus: &corpus,
        autoencoder: &autoencoder.model,
        sizes: &arguments.training.sizes()?,
        tags: &tags,
        start: start.as_ref(),
        settings: &settings,
        course,
        device: &device,
    };
    let outcome = transformer::train(&run, &mut Terminal::default())?;
    Ok(ended(outcome, course.folder, transformer::TRANSFORMER_FILE))
}

fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: expected {expected}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: expected {expected}", path.display()))
}

fn export_base(arguments: &ExportArguments) -> Result<Ended> {
    if arguments.out.exists() && !arguments.force {
        bail!(
            "{} exists already; choose another name or pass --force to replace it",
            arguments.out.display()
        );
    }
    let naming = Naming {
        name: arguments.name.clone(),
        version: arguments.version,
        tag_groups: match &arguments.tag_groups {
            Some(path) => read_json(
                path,
                "a JSON list of groups of tags, as `cargo xtask tags --groups` prints it",
            )?,
            None => Vec::new(),
        },
        tag_groups_file: arguments.tag_groups.clone().unwrap_or_default(),
    };
    export::write(
        &arguments.autoencoder,
        &arguments.transformer,
        naming,
        &arguments.out,
    )?;
    let base = BaseModel::open(&arguments.out.to_string_lossy(), &Device::Cpu)?;
    print_lines([format!(
        "{}: {} {}, sha256 {}",
        arguments.out.display(),
        base.identity().name,
        base.identity().version,
        base.identity().sha256
    )])?;
    Ok(Ended::Done)
}

/// Sound to latents and back, `[1, 2, frames]` both.
type Coder<'models> = dyn Fn(&Tensor) -> Result<Tensor> + 'models;

/// Where each sound's copy goes, all of them free; none if nothing is to be written.
fn copies(arguments: &ReconstructArguments) -> Result<Vec<PathBuf>> {
    let Some(folder) = &arguments.out else {
        return Ok(Vec::new());
    };
    let mut copies = Vec::with_capacity(arguments.sounds.len());
    for sound in &arguments.sounds {
        let name = sound.file_stem().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{name}.wav"));
        if path.exists() || copies.contains(&path) {
            bail!(
                "{} is there already or would be written twice; name another folder with --out",
                path.display()
            );
        }
        copies.push(path);
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(copies)
}

fn reconstruct(arguments: &ReconstructArguments) -> Result<Ended> {
    let copies = copies(arguments)?;
    let finished;
    let base;
    let (rate, coder): (u32, &Coder<'_>) = match &arguments.autoencoder {
        Some(path) => {
            finished = FinishedAutoencoder::open(path)?;
            (finished.model.sample_rate_hz(), &|sound| {
                let latents = finished.model.encode_tiled(sound, Tiling::EXACT)?.mean;
                Ok(finished.model.decode_tiled(&latents, Tiling::EXACT)?)
            })
        }
        None => {
            base = BaseModel::open(&arguments.model, &Device::Cpu)?;
            (base.sample_rate_hz(), &|sound| {
                let latents = base.encode(sound, Tiling::EXACT)?.mean;
                Ok(base.decode(&latents, Some(Tiling::EXACT))?)
            })
        }
    };
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    let mut progress = Terminal::default();
    progress.begin("listening", arguments.sounds.len());
    let mut lines = Vec::new();
    let mut sums = [0.0; 4];
    for (number, path) in arguments.sounds.iter().enumerate() {
        if progress.stop_requested() {
            return Ok(Ended::Stopped);
        }
        let mut sound = audio::read_at(path, rate)?.to_stereo();
        let most = (arguments.seconds * f64::from(rate)) as usize;
        for channel in &mut sound.channels {
            channel.truncate(most);
        }
        let planar = Tensor::from_vec(
            sound.channels.concat(),
            (1, 2, sound.frames()),
            &Device::Cpu,
        )?;
        let channels = coder(&planar)?.get(0)?.to_vec2::<f32>()?;
        let copy = audio::AudioBuffer::new(rate, channels)?;
        let found = Reconstruction::of(&sound, &copy)?;
        let values = [
            found.mel_l1,
            found.pitch_correlation,
            found.highs_db.abs(),
            found.channel_level_db,
        ];
        sums.iter_mut()
            .zip(values)
            .for_each(|(sum, value)| *sum += value);
        lines.push(line(&path.display().to_string(), values));
        if let Some(path) = copies.get(number) {
            audio::write_wav(path, &copy, SampleFormat::F32)?;
        }
        progress.advance();
    }
    progress.end();
    let count = arguments.sounds.len() as f64;
    lines.push(line("mean", sums.map(|sum| sum / count)));
    print_lines(["mel L1\tpitch correlation\thighs dB\tchannels dB\tsound".to_owned()])?;
    print_lines(lines)?;
    Ok(Ended::Done)
}

fn line(name: &str, [mel, pitch, highs, channels]: [f64; 4]) -> String {
    format!("{mel:.3}\t{pitch:.3}\t{highs:.1}\t{channels:.2}\t{name}")
}
