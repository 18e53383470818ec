//! `lora-infer`: sound from a base model, with or without style adapters.

mod adapters;
mod asked;
mod clips;
mod given;
mod listing;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use audio::{AudioBuffer, SampleFormat};
use clap::{CommandFactory, Parser};
use lora::adapter::detach_all;
use lora::base::BaseModel;
use lora::device::DeviceChoice;
use lora::generate::bars::{self, Length};
use lora::generate::{Request, generate_over_time};
use lora::models::{EMBEDDED_NAME, Hub, ModelChoice, ModelFiles};
use lora::progress::Progress;
use lora::style::{self, LaterStyle, Trigger};
use lora::terminal::{
    Manual, Terminal, catch_interrupts, exit_with, log_to_stderr, open_device, print_lines, tell,
    threads_from_text,
};
use nn::WeightPrecision;

use adapters::{LoadedAdapter, describe_clip, load_adapters, tell_of_idle};
use asked::Asked;
use clips::{Clip, name_clips};
use given::Given;

/// Generate music, with style adapters if you have some.
///
/// Without --prompt an adapter speaks for itself through the vector it learned. The same seed gives the same bytes with the same --batch
/// and --threads (with others sums are rounded in another order: samples differ, by at most 0.6 % of full scale where it was tried). The names of the clips go to standard output; a reader that closes it early (`| head -1`) is no error.
/// Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(name = "lora-infer", version, allow_negative_numbers = true)]
struct Arguments {
    /// Tags separated by commas, such as "lofi, piano, tempo:92, bars:4"; --list-tags shows them all. For a released song model, any
    /// words: MuQ-MuLan makes a style of them.
    #[arg(long, default_value = "")]
    prompt: String,
    /// A recording whose style is asked for, by the ten seconds in its middle (released song models, with MuQ-MuLan).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["style", "prompt"])]
    style_audio: Option<PathBuf>,
    /// A ready style vector, .npy or .safetensors (released song models).
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    style: Option<PathBuf>,
    /// A ready style vector to go away from [default: zeros] (released song models).
    #[arg(long, value_name = "FILE")]
    negative_style: Option<PathBuf>,
    /// Folder with MuQ-MuLan [default: the one in the Hugging Face cache, fetched if it is needed].
    #[arg(long, value_name = "DIR")]
    style_encoder: Option<PathBuf>,
    /// Lyrics with times (released song models); without, the music is instrumental.
    #[arg(long, value_name = "FILE.lrc")]
    lyrics: Option<PathBuf>,
    /// DiffRhythm's folder g2p/sources, for Chinese lyrics.
    #[arg(long, value_name = "DIR")]
    lyrics_data: Option<PathBuf>,
    /// A recording that is kept but for --spans: sample by sample; by released models as their autoencoder gives it back.
    #[arg(long, value_name = "FILE", requires = "spans")]
    edit: Option<PathBuf>,
    /// Stretches to make anew, in seconds, such as "-12.5,30-45,80-"; an open end is the clip's.
    #[arg(
        long,
        value_name = "SPANS",
        requires = "edit",
        allow_hyphen_values = true
    )]
    spans: Option<String>,
    /// A recording that is kept and continued: sample by sample; by released models as their autoencoder gives it back.
    #[arg(long, value_name = "FILE", conflicts_with = "edit")]
    r#continue: Option<PathBuf>,
    /// Adapter and, after colons, its strength from -10 to 10 (0: not at all, 1: as trained), the times of the flow at which it acts (0:
    /// noise, 1: sound), and layers that act or do not, by patterns as for lora-train; several adapters add up. Such as
    /// style.safetensors:0.8:time=0.2-0.7:exclude=self_attn.q_proj,proj_out.
    #[arg(
        long,
        value_name = "FILE[:STRENGTH][:time=FROM-TO][:include=LAYERS][:exclude=LAYERS]"
    )]
    lora: Vec<String>,
    /// Base model: "embedded", a released model's name (--list-models shows them), or the path of a base file or of a released model.
    #[arg(long, default_value = EMBEDDED_NAME)]
    model: String,
    /// The released model's autoencoder, a file or its folder, if it is not beside the model.
    #[arg(long, value_name = "PATH")]
    vae: Option<PathBuf>,
    /// Whether the released model's attention is causal, if its name does not tell.
    #[arg(long, value_name = "BOOL")]
    causal: Option<bool>,
    /// Length in seconds, from 0.1 [default: 8, or as many bars as the prompt asks for; the longest a released model makes].
    #[arg(long)]
    seconds: Option<f64>,
    /// Length in bars, 1 to 64: a loop without a seam, to the sample as long as the tempo says. The prompt gives the tempo (tempo:N) and, if
    /// it is not four quarters, the metre (metre:N).
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "edit", "continue", "lyrics", "chunked"],
        value_parser = clap::value_parser!(u16).range(1..=64))]
    bars: Option<u16>,
    /// Steps from noise to sound: more are finer and slower; one less than what DiffRhythm's own scripts call steps, which counts the
    /// points of the time grid [default: 12, or those of the released model's own pipeline].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: Option<u16>,
    /// Guidance: how far beyond the unstyled prediction to go, at most 100; 0 turns it off [default: 1.25, or that of the released model's
    /// own pipeline].
    #[arg(long)]
    cfg: Option<f64>,
    /// Decode in the overlapping chunks of the released models' own pipeline (128 latent frames, 32 of them shared); otherwise the sound
    /// is what decoding at once gives.
    #[arg(long)]
    chunked: bool,
    /// Clips that are made side by side: more need more memory, and on a card less time each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
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
    /// Keep the base's weights in f32, f16, bf16 or int8 [default: f32, or on the CPU the 16 bits of a released model's
    /// file].
    #[arg(long, value_name = "PRECISION")]
    weights: Option<WeightPrecision>,
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
    /// Print the released models that have a name, with their licences and where their files are, and stop.
    #[arg(long)]
    list_models: bool,
    #[command(flatten)]
    manual: Manual,
}

fn main() -> ExitCode {
    nn::process::prepare();
    log_to_stderr();
    let arguments = Arguments::parse();
    nn::process::use_threads(arguments.threads);
    exit_with(run(&arguments))
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.manual.print(Arguments::command())? {
        return Ok(());
    }
    let hub = Hub::from_env();
    if arguments.list_models {
        print_lines(listing::lines(&hub))?;
        return Ok(());
    }
    let mut progress = Terminal::default();
    if arguments.list_tags {
        let files = ModelFiles::find(&choice(arguments), &hub, &mut progress)?;
        let device = open_device(arguments.device)?;
        let base = BaseModel::load(&files, &device, arguments.weights, &mut progress)?;
        print_lines(base.tags().names())?;
        return Ok(());
    }
    // What is cheap to refuse comes before models are fetched and loaded.
    let given = Given::of(arguments)?;
    let clips = name_clips(arguments)?;
    let device = open_device(arguments.device)?;
    let adapters = load_adapters(&arguments.lora, &device)?;
    let files = ModelFiles::find(&choice(arguments), &hub, &mut progress)?;
    // Before the model, so that the encoder of styles is gone when that comes.
    let vector = asked::style_of_encoder(arguments, &files, &hub, &mut progress)?;
    let mut base = BaseModel::load(&files, &device, arguments.weights, &mut progress)?;
    let asked = Asked::of(arguments, given, &base, vector, &adapters)?;
    tell_style(&base, &asked, &adapters);
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    let request = asked.request(arguments, &base)?;
    tell_of_idle(&adapters, request.steps);
    let arms = if arguments.base_too {
        &[true, false][..]
    } else {
        &[true][..]
    };
    for adapted in arms {
        detach_all(&mut base.transformer);
        let adapters = match adapted {
            true => adapters.as_slice(),
            false => &[],
        };
        let (style, later_styles) = attach(&mut base, adapters, &asked)?;
        let request = Request {
            style,
            ..request.clone()
        };
        let way = Way {
            request,
            later_styles,
            length: asked.length,
        };
        for group in clips.chunks(usize::from(arguments.batch)) {
            make(&base, &way, group, adapters, *adapted, &mut progress)?;
        }
    }
    progress.end();
    Ok(())
}

fn choice(arguments: &Arguments) -> ModelChoice<'_> {
    ModelChoice {
        model: &arguments.model,
        autoencoder: arguments.vae.as_deref(),
        causal: arguments.causal,
    }
}

/// The words of adapters that bring a style, or that there is none.
fn tell_style(base: &BaseModel, asked: &Asked, adapters: &[LoadedAdapter]) {
    let with_trigger = || {
        adapters
            .iter()
            .filter(|(adapter, ..)| adapter.trigger.is_some())
    };
    let names = with_trigger()
        .map(|(adapter, ..)| adapter.description.trigger_words.join(" "))
        // They come from a file, and go to a terminal.
        .map(|words| words.replace(char::is_control, " "))
        .filter(|words| !words.is_empty())
        .collect::<Vec<_>>();
    if !names.is_empty() {
        tell(format_args!("style: {}", names.join(" + ")));
    }
    if base.songs().is_some() && asked.vector.is_none() && with_trigger().next().is_none() {
        tell("style: none asked for; --style-audio, --prompt or --style ask for one");
    }
}

/// What is asked for.
struct Way {
    request: Request,
    /// What takes the place of its style from a time on.
    later_styles: Vec<LaterStyle>,
    /// For a loop.
    length: Option<Length>,
}

/// Puts the adapters on the base, and gives the styles that all clips are asked with.
fn attach(
    base: &mut BaseModel,
    adapters: &[LoadedAdapter],
    asked: &Asked,
) -> Result<(Vec<f32>, Vec<LaterStyle>)> {
    let mut triggers = Vec::new();
    for (adapter, placement, path) in adapters {
        let attachment = adapter.place_on(base, placement, path)?;
        tell(format_args!(
            "{}: applied {} of {} tensors at {placement}",
            path.display(),
            attachment.applied,
            attachment.total
        ));
        triggers.extend(adapter.trigger.as_ref().map(|vector| Trigger {
            vector,
            strength: placement.strength,
            times: placement.times,
        }));
    }
    let styles = style::over_time(&triggers, |triggers| match base.songs() {
        Some(_) => style::of_vector(base, asked.vector.as_deref(), triggers),
        None => style::of_tags(base, &asked.prompt.tags, triggers),
    });
    Ok(styles?)
}

/// Loops, one after the other.
fn make_bars(
    base: &BaseModel,
    way: &Way,
    length: Length,
    seeds: &[u64],
    progress: &mut dyn Progress,
) -> Result<Vec<lora::generate::Clip>, lora::LoraError> {
    let request = bars::Request {
        length,
        steps: way.request.steps,
        guidance: way.request.guidance,
        style: way.request.style.clone(),
        negative_style: way.request.negative_style.clone(),
        variation: None,
    };
    let make = |&seed: &u64| bars::make(base, &request, &way.later_styles, seed, progress);
    seeds.iter().map(make).collect()
}

/// Makes clips in one batch and writes them.
fn make(
    base: &BaseModel,
    way: &Way,
    clips: &[Clip],
    adapters: &[LoadedAdapter],
    adapted: bool,
    progress: &mut dyn Progress,
) -> Result<()> {
    let seeds: Vec<u64> = clips.iter().map(|clip| clip.seed).collect();
    let first = seeds.first().copied().unwrap_or_default();
    // A terminal has its bar.
    if !std::io::stderr().is_terminal() {
        tell(format_args!(
            "making {}, {} steps{}",
            describe_clip(first, if adapted { adapters } else { &[] }),
            way.request.steps,
            match seeds.len() {
                1 => String::new(),
                count => format!(", {count} clips side by side"),
            }
        ));
    }
    let made = match way.length {
        None => generate_over_time(base, &way.request, &way.later_styles, &seeds, progress),
        Some(length) => make_bars(base, way, length, &seeds, progress),
    };
    let made = made.with_context(|| describe_clip(first, adapters))?;
    for (clip, [left, right]) in clips.iter().zip(made) {
        let sound = AudioBuffer {
            sample_rate_hz: base.sample_rate_hz(),
            channels: vec![left, right],
        };
        let path = match adapted {
            true => &clip.path,
            false => &clip.base_path,
        };
        audio::write_wav(path, &sound, SampleFormat::I16)?;
        if let Some(rhythm) = way.request.rhythm.as_ref().filter(|_| way.length.is_none()) {
            let tempo_bpm = rhythm.tempo_bpm(clip.seed);
            tell(format_args!("{}: {tempo_bpm} BPM", path.display()));
        }
        print_lines([path.display()])?;
    }
    Ok(())
}
