//! `lora-train`: a folder of pieces becomes a style adapter.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lora::LoraError;
use lora::base::{BaseModel, Outline};
use lora::device::DeviceChoice;
use lora::models::{EMBEDDED_NAME, Hub, KnownModel, ModelFiles};
use lora::progress::Progress;
use lora::style::StyleEncoder;
use lora::terminal::{
    Terminal, catch_interrupts, exit_with, log_to_stderr, open_device, print_lines,
    spoken_duration, tell, threads_from_text,
};
use lora::train::{
    BaseDefaults, ConditionSource, Plan, Preset, TrainConfig, TrainSettings, Trainer, TrainingSet,
    plan, saved_config,
};
use lyrics::TokenizerSettings;

/// Train a style adapter on the pieces that cut-music made.
///
/// Writes the adapter that was best on the held-out songs, and a run folder with the configuration, one line of figures an epoch,
/// the loss curves and a checkpoint. Ctrl-C saves; --resume goes on. Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder with pieces and manifest.jsonl, made by cut-music.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "list_tags", "dry_run"])]
    data: Option<PathBuf>,
    /// TOML file with any of the settings below; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on with a run that was stopped; --run-dir or --out say which, unless they are the defaults.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the adapter of that name and the run in that run folder.
    #[arg(long)]
    force: bool,
    /// Print all layers of the base with the targets marked, counts and memory, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print the tags the base knows, and stop.
    #[arg(long)]
    list_tags: bool,
    /// Settings of a known training, below those of flags and file: diffrhythm-opera, the original LoRA project's with its defects mended.
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,
    /// Folder with MuQ-MuLan, which gives each piece its style vector for a released song model [default: the one in the Hugging Face
    /// cache, if it is there].
    #[arg(long, value_name = "DIR")]
    style_encoder: Option<PathBuf>,
    /// DiffRhythm's folder g2p/sources, for Chinese lyrics.
    #[arg(long, value_name = "DIR")]
    lyrics_data: Option<PathBuf>,
    /// Where the transformer runs: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Threads [default: RAYON_NUM_THREADS, or as many as there are physical cores].
    #[arg(long, value_name = "N", value_parser = threads_from_text)]
    threads: Option<usize>,
    #[command(flatten)]
    settings: TrainSettings,
}

fn main() -> ExitCode {
    nn::process::prepare();
    log_to_stderr();
    // The backward pass walks the graph by recursion, which a main thread's stack may not hold for deep models.
    const STACK_BYTES: usize = 256 << 20;
    let arguments = Arguments::parse();
    nn::process::use_threads(arguments.threads);
    let worker = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || exit_with(run(arguments)));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let (resume, force, dry_run) = (arguments.resume, arguments.force, arguments.dry_run);
    let (list_tags, device) = (arguments.list_tags, arguments.device);
    let (style_encoder, lyrics_data) = (
        arguments.style_encoder.clone(),
        arguments.lyrics_data.clone(),
    );
    // The file and the saved run may name the base, and the base has defaults of its own: hence this order.
    let (settings, data) = gather(arguments)?;
    let hub = Hub::from_env();
    let mut progress = Terminal::default();
    let outline = match KnownModel::named(settings.model_choice().model) {
        // Nothing needs to be here for a look at a model with a name.
        Some(known) if dry_run => Outline::of_known(known, settings.causal, settings.weights)?,
        _ => {
            let files = ModelFiles::find(&settings.model_choice(), &hub, &mut progress)?;
            Outline::of_files(&files, settings.weights)?
        }
    };
    let config = settings.resolve(data, BaseDefaults::of(&outline))?;
    let plan = plan(&outline, &config);
    let description = describe_plan(&plan, &outline, &config, dry_run)?;
    if dry_run {
        print_lines([description.trim_end()])?;
        return Ok(plan.check(&config.targets)?);
    }
    let files = ModelFiles::find(&config.model_choice(), &hub, &mut progress)?;
    let device = open_device(device)?;
    let base = BaseModel::load(&files, &device, Some(config.weights), &mut progress)?;
    if list_tags {
        print_lines(base.tags().names())?;
        return Ok(());
    }
    tell(description.trim_end());
    plan.check(&config.targets)?;
    // Asked here too: encoding the pieces first would be time lost.
    if !resume && !force {
        Trainer::check_free(&config)?;
    }
    Trainer::check_out(&config)?;
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    let encoder = match (base.songs(), &style_encoder) {
        (None, _) => None,
        (Some(_), Some(folder)) => Some(StyleEncoder::open(Some(folder), &hub, &mut progress)?),
        (Some(_), None) => StyleEncoder::at_hand(&hub)?,
    };
    let lyrics = TokenizerSettings {
        espeak: None,
        chinese_folder: lyrics_data,
    };
    let mut conditions = ConditionSource::new(encoder, lyrics);
    let set = TrainingSet::open(&config.data, &base, &mut conditions, &mut progress)?;
    // Encoder and lexicon are not needed any more, and large.
    drop(conditions);
    describe_set(&set, &mut progress);
    let config_text = toml::to_string(&config)?;
    let heard_with = model_flags(&config);
    let trainer = if resume {
        Trainer::resume(config, base, set)?
    } else {
        Trainer::start(config, base, set, force)?
    };
    tell(format_args!("\nconfiguration:\n{config_text}"));
    tell(format_args!(
        "{} steps, about {}",
        trainer.total_steps(),
        spoken_duration(trainer.estimate_secs()?)
    ));
    let run_dir = trainer.run_dir().to_owned();
    let outcome = match trainer.run(&mut progress) {
        Err(LoraError::Stopped) => {
            tell(format_args!(
                "stopped; the run is saved in {}, --resume goes on",
                run_dir.display()
            ));
            return Err(LoraError::Stopped.into());
        }
        other => other?,
    };
    if outcome.stopped_early {
        tell(format_args!(
            "stopped early after {} steps: the held-out songs gained no more",
            outcome.steps
        ));
    }
    if let Some(loss) = outcome.best_validation_loss {
        tell(format_args!(
            "best loss on the held-out songs {loss:.4} (before training {})",
            initial(outcome.first_validation_loss)
        ));
    }
    tell(format_args!("curves: {}", outcome.curves.display()));
    tell(format_args!(
        "listen: lora-infer --lora {}{heard_with}",
        outcome.adapter.display()
    ));
    print_lines([outcome.adapter.display()])?;
    Ok(())
}

/// The flags by which `lora-infer` opens the base of a run.
fn model_flags(config: &TrainConfig) -> String {
    let mut flags = String::new();
    if config.model != EMBEDDED_NAME {
        flags = format!(" --model {}", config.model);
    }
    if let Some(path) = &config.vae {
        flags = format!("{flags} --vae {}", path.display());
    }
    if let Some(causal) = config.causal {
        flags = format!("{flags} --causal {causal}");
    }
    flags
}

fn initial(loss: Option<f64>) -> String {
    loss.map_or_else(|| "not measured".to_owned(), |loss| format!("{loss:.4}"))
}

/// Flags over the file over the saved run, and the prepared folder; no defaults yet.
fn gather(arguments: Arguments) -> Result<(TrainSettings, PathBuf)> {
    let mut settings = arguments.settings;
    if let Some(path) = &arguments.config {
        settings = settings.or(TrainSettings::from_file(path)?);
    }
    let mut data = arguments.data;
    if arguments.resume {
        let saved = saved_config(&settings)?;
        data = data.or_else(|| Some(saved.data.clone()));
        settings = settings.or(saved.into());
    }
    if let Some(preset) = arguments.preset {
        settings = settings.or(preset.settings());
    }
    Ok((settings, data.unwrap_or_default()))
}

/// `all_layers` lists the base's layers and marks the targets with a star.
fn describe_plan(
    plan: &Plan,
    base: &Outline,
    config: &TrainConfig,
    all_layers: bool,
) -> Result<String> {
    use std::fmt::Write;
    let mut text = String::new();
    writeln!(text, "base: {}", base.title)?;
    writeln!(
        text,
        "layers to adapt: {} of {}{}",
        plan.targets().count(),
        plan.layers.len(),
        if all_layers {
            ", marked *"
        } else {
            " (--dry-run lists them)"
        }
    )?;
    for layer in plan.layers.iter().filter(|_| all_layers) {
        let mark = if layer.is_target { '*' } else { ' ' };
        let (name, inputs, outputs) = (&layer.name, layer.inputs, layer.outputs);
        writeln!(text, "{mark} {name} [{inputs} -> {outputs}]")?;
    }
    let share = 100.0 * plan.trainable as f64 / plan.total as f64;
    writeln!(
        text,
        "trainable: {} of {} parameters ({share:.4} %), and {} of {}",
        grouped(plan.trainable),
        grouped(plan.total),
        plan.trigger,
        match base.is_for_songs {
            true => "a style vector if the pieces have none",
            false => "the trigger vector",
        }
    )?;
    writeln!(
        text,
        "memory: about {} MB at batch {}{}",
        plan.memory_bytes >> 20,
        config.batch_size,
        if plan.checkpointed {
            ", blocks computed twice to save more"
        } else {
            ""
        }
    )?;
    Ok(text)
}

/// A count with commas between thousands.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

fn describe_set(set: &TrainingSet, progress: &mut Terminal) {
    progress.note(&format!(
        "{} pieces to train on, {} held out",
        set.training.len(),
        set.validation.len()
    ));
    if set.validation.is_empty() {
        progress.note("no song is held out: early stopping is off and the last weights are kept; cut two songs or more");
    }
    if !set.changed.is_empty() {
        const SHOWN: usize = 8;
        let more = match set.changed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let shown = &set.changed[..set.changed.len().min(SHOWN)];
        progress.note(&format!(
            "changed since cut-music wrote them, used as they are now: {}{more}",
            shown.join(", ")
        ));
    }
    for note in &set.notes {
        progress.note(note);
    }
    for skipped in &set.skipped {
        progress.note(&format!("left out: {skipped}"));
    }
    if !set.unknown_tags.is_empty() {
        progress.note(&format!(
            "tags the base does not know, left out: {}",
            set.unknown_tags.join(", ")
        ));
    }
}
