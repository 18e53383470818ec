//! `lora-infer`: sound from a base model, with or without style adapters.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use audio::{AudioBuffer, SampleFormat};
use candle_core::Device;
use clap::Parser;
use lora::LoraError;
use lora::adapter::{Adapter, detach_all};
use lora::base::{BaseModel, PulseGrid};
use lora::device::DeviceChoice;
use lora::generate::{Request, generate, style_vector};
use lora::progress::Progress;
use lora::terminal::{
    Terminal, catch_interrupts, exit_with, log_to_stderr, open_device, print_lines, tell,
    threads_from_text,
};
use nn::WeightPrecision;

/// Longest clip that is made in one piece.
const MOST_SECS: f64 = 95.0;
/// Where --seconds and bars say nothing.
const DEFAULT_SECS: f64 = 8.0;
const DEFAULT_BEATS_PER_BAR: usize = 4;

/// Generate music, with style adapters if you have some.
///
/// Without --prompt an adapter speaks for itself through the vector it learned. The same seed gives the same bytes. The names of the
/// clips go to standard output; a reader that closes it early (`| head -1`) is no error.
/// Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Tags separated by commas, such as "lofi, piano, tempo:92, bars:4"; --list-tags shows them all.
    #[arg(long, default_value = "")]
    prompt: String,
    /// Adapter and, after a colon, its strength from -10 to 10 (0: not at all, 1: as trained); several adapters add up.
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<String>,
    /// Base model: "embedded", or a base file (.safetensors).
    #[arg(long, default_value = "embedded")]
    model: String,
    /// Length in seconds, 0.1 to 95 [default: 8, or as many bars as the prompt asks for].
    #[arg(long)]
    seconds: Option<f64>,
    /// Steps from noise to sound: more are finer and slower.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Guidance: how far beyond the unstyled prediction to go, at most 100; 0 turns it off.
    #[arg(long, default_value_t = 2.0)]
    cfg: f64,
    /// Seed of the first clip; further clips count up.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many clips.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Make each clip without the adapters too, from the same seed.
    #[arg(long, requires = "lora")]
    base_too: bool,
    /// WAV file (its name ends in .wav), or a folder for clips named after adapter and seed [default: free names in this folder].
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Keep the base's weights in f32, f16, bf16 or int8.
    #[arg(long, default_value = "f32", value_name = "PRECISION")]
    weights: WeightPrecision,
    /// Where the transformer runs: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Threads [default: RAYON_NUM_THREADS, or as many as there are physical cores].
    #[arg(long, value_name = "N", value_parser = threads_from_text)]
    threads: Option<usize>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
    /// Print the tags the base knows, and stop.
    #[arg(long)]
    list_tags: bool,
}

fn main() -> ExitCode {
    nn::process::prepare();
    log_to_stderr();
    let arguments = Arguments::parse();
    nn::process::use_threads(arguments.threads);
    exit_with(run(&arguments))
}

fn run(arguments: &Arguments) -> Result<()> {
    let device = open_device(arguments.device)?;
    let mut base = BaseModel::open_in(&arguments.model, &device, arguments.weights)?;
    if arguments.list_tags {
        print_lines(base.tags().names())?;
        return Ok(());
    }
    let prompt = base.tags().parse(&arguments.prompt)?;
    let pulse = match (prompt.tempo_bpm, prompt.beats_per_bar) {
        (Some(tempo_bpm), beats) => Some(PulseGrid {
            tempo_bpm,
            beats_per_bar: beats.unwrap_or(DEFAULT_BEATS_PER_BAR),
        }),
        (None, _) => None,
    };
    let seconds = length_secs(arguments.seconds, prompt.bars, pulse)?;
    if !(0.0..=100.0).contains(&arguments.cfg) {
        bail!("--cfg {}: must be from 0 to 100", arguments.cfg);
    }
    let adapters = load_adapters(&arguments.lora, &device)?;
    let names = adapters
        .iter()
        .map(|(adapter, ..)| adapter.description.trigger_words.join(" "))
        // They come from a file, and go to a terminal.
        .map(|words| words.replace(char::is_control, " "))
        .filter(|words| !words.is_empty())
        .collect::<Vec<_>>();
    if !names.is_empty() {
        tell(format_args!("style: {}", names.join(" + ")));
    }
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    let clips = name_clips(arguments)?;
    let mut progress = Terminal::default();
    let arms = if arguments.base_too {
        &[true, false][..]
    } else {
        &[true][..]
    };
    for adapted in arms {
        detach_all(&mut base.transformer);
        let mut triggers = Vec::new();
        if *adapted {
            for (adapter, strength, path) in &adapters {
                let attachment = adapter.attach_to(&mut base, *strength, path)?;
                tell(format_args!(
                    "{}: applied {} of {} tensors at strength {strength}",
                    path.display(),
                    attachment.applied,
                    attachment.total
                ));
                triggers.extend(adapter.trigger.as_ref().map(|trigger| (trigger, *strength)));
            }
        }
        let style = style_vector(&base, &prompt.tags, &triggers)?;
        for clip in &clips {
            let request = Request {
                seconds,
                steps: usize::from(arguments.steps),
                guidance: arguments.cfg,
                seed: clip.seed,
                style: style.clone(),
                pulse,
            };
            let [left, right] = generate(&base, &request, &mut progress)
                .with_context(|| describe_clip(clip.seed, adapted.then_some(&adapters)))?;
            let sound = AudioBuffer {
                sample_rate_hz: base.sample_rate_hz(),
                channels: vec![left, right],
            };
            let path = if *adapted {
                &clip.path
            } else {
                &clip.base_path
            };
            audio::write_wav(path, &sound, SampleFormat::I16)?;
            print_lines([path.display()])?;
        }
    }
    progress.end();
    Ok(())
}

fn length_secs(seconds: Option<f64>, bars: Option<usize>, pulse: Option<PulseGrid>) -> Result<f64> {
    let secs = match (seconds, bars, pulse) {
        (Some(seconds), ..) => seconds,
        (None, Some(bars), Some(pulse)) => pulse.bars_secs(bars),
        (None, Some(_), None) => {
            bail!("bars need a tempo: add tempo:N to the prompt, or give --seconds")
        }
        (None, None, _) => DEFAULT_SECS,
    };
    if !(0.1..=MOST_SECS).contains(&secs) {
        bail!("a clip of {secs} s cannot be made: ask for 0.1 to {MOST_SECS} s");
    }
    Ok(secs)
}

type LoadedAdapter = (Adapter, f64, PathBuf);

fn load_adapters(arguments: &[String], device: &Device) -> Result<Vec<LoadedAdapter>> {
    let load = |argument: &String| {
        let (path, strength) = split_strength(argument)?;
        Ok((Adapter::load(&path, device)?, strength, path))
    };
    arguments.iter().map(load).collect()
}

/// For messages: what the clip was made with.
fn describe_clip(seed: u64, adapters: Option<&Vec<LoadedAdapter>>) -> String {
    let adapters = adapters.into_iter().flatten();
    let with: Vec<String> = adapters
        .map(|(_, strength, path)| format!("{} at strength {strength}", path.display()))
        .collect();
    match with.as_slice() {
        [] => format!("the clip of seed {seed} without adapters"),
        with => format!("the clip of seed {seed} with {}", with.join(" and ")),
    }
}

/// `FILE` or `FILE:STRENGTH`; a file whose own name ends in a colon and a number is found by its whole name.
fn split_strength(argument: &str) -> Result<(PathBuf, f64)> {
    let whole = Path::new(argument);
    if let Some((file, number)) = argument
        .rsplit_once(':')
        .filter(|(file, _)| !whole.exists() && !file.is_empty())
    {
        let strength: f64 = number.parse().with_context(|| {
            format!("--lora {argument}: the strength {number:?} is not a number")
        })?;
        if !strength.is_finite() || strength.abs() > 10.0 {
            bail!("--lora {argument}: a strength is from -10 to 10");
        }
        return Ok((PathBuf::from(file), strength));
    }
    Ok((whole.to_owned(), 1.0))
}

struct Clip {
    seed: u64,
    path: PathBuf,
    base_path: PathBuf,
}

/// Names for all clips, none of which replaces a file unless --force is given. In a folder, with --base-too, the two arms get a folder
/// each and equal names, as lora-eval pairs them.
fn name_clips(arguments: &Arguments) -> Result<Vec<Clip>> {
    let first_adapter = arguments
        .lora
        .first()
        .map(|argument| split_strength(argument))
        .transpose()?;
    let stem = first_adapter
        .and_then(|(path, _)| {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "base".to_owned());
    let out = arguments.out.as_deref();
    let file = out
        .map(|out| names_a_file(out, arguments.count))
        .transpose()?;
    let file = out.filter(|_| file == Some(true));
    let folders = match out {
        Some(folder) if file.is_none() && arguments.base_too => {
            Some((folder.join("adapter"), folder.join("base")))
        }
        Some(folder) if file.is_none() => Some((folder.to_owned(), folder.to_owned())),
        _ => None,
    };
    arguments
        .seed
        .checked_add(u64::from(arguments.count) - 1)
        .context("--seed and --count go beyond the largest seed")?;
    if let Some(folder) = file.and_then(Path::parent) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: the output folder cannot be made", folder.display()))?;
    }
    if let Some((folder, base_folder)) = &folders {
        for folder in [Some(folder), arguments.base_too.then_some(base_folder)]
            .into_iter()
            .flatten()
        {
            std::fs::create_dir_all(folder).with_context(|| {
                format!("{}: the output folder cannot be made", folder.display())
            })?;
        }
    }
    let mut clips = Vec::new();
    for offset in 0..u64::from(arguments.count) {
        let seed = arguments.seed + offset;
        let name = format!("{stem}-seed{seed}.wav");
        let (path, base_path) = match (file, &folders) {
            (Some(file), _) => (file.to_owned(), with_suffix(file, "-base")),
            (None, Some((folder, base_folder))) => (folder.join(&name), base_folder.join(&name)),
            (None, None) if arguments.force => {
                (PathBuf::from(&name), with_suffix(Path::new(&name), "-base"))
            }
            (None, None) => free_names(Path::new(&name)),
        };
        for path in [Some(&path), arguments.base_too.then_some(&base_path)]
            .into_iter()
            .flatten()
        {
            if path.exists() && !arguments.force {
                return Err(LoraError::Exists { path: path.clone() }.into());
            }
        }
        clips.push(Clip {
            seed,
            path,
            base_path,
        });
    }
    Ok(clips)
}

/// Whether `--out` is one WAV file (otherwise it is a folder). Names that can only be meant as other sound files are refused.
fn names_a_file(out: &Path, count: u32) -> Result<bool> {
    const OTHER_SOUNDS: [&str; 12] = [
        "aac", "aif", "aifc", "aiff", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "wma",
    ];
    let ending = out.extension().map(|ending| ending.to_string_lossy());
    // A folder that is there is one, whatever its name.
    let ending = ending.filter(|_| !out.is_dir()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    if OTHER_SOUNDS.contains(&ending.as_str()) {
        bail!(
            "--out {}: clips are written as WAV only; name a .wav file or a folder",
            out.display()
        );
    }
    if ending == "wav" && count > 1 {
        bail!(
            "--out {}: one file cannot hold the {count} clips of --count; name a folder",
            out.display()
        );
    }
    Ok(ending == "wav")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{suffix}.wav"))
}

fn free_names(name: &Path) -> (PathBuf, PathBuf) {
    let numbered = |number: u32| {
        let path = if number == 1 {
            name.to_owned()
        } else {
            with_suffix(name, &format!("-{number}"))
        };
        let base_path = with_suffix(&path, "-base");
        (path, base_path)
    };
    let free = (1..u32::MAX)
        .map(numbered)
        .find(|(path, base_path)| !path.exists() && !base_path.exists());
    free.unwrap_or_else(|| numbered(1))
}
