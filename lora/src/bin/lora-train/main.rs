//! `lora-train`: a folder of pieces becomes a style adapter.

mod asked;
mod base;
mod described;
mod ending;
mod printed_config;

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use candle_core::Device;
use clap::{CommandFactory, Parser};
use lora::LoraError;
use lora::base::{BaseModel, Outline};
use lora::models::{EMBEDDED_NAME, Hub, KnownModel, ModelFiles};
use lora::style::StyleEncoder;
use lora::terminal::{
    Terminal, be_quiet, catch_interrupts, exit_with, log_to_stderr, open_device, print_lines,
    spoken_duration, tell,
};
use lora::train::{
    Alone, BaseDefaults, ConditionSource, Ensemble, Outcome, TrainConfig, TrainSettings, Trainer,
    TrainingSet, fit, in_turns, join, launched_rank, plan, with_cards,
};
use lyrics::TokenizerSettings;

use asked::{Arguments, Command};
use described::{describe_plan, describe_set, megabytes};
use ending::{Ended, end};

fn main() -> ExitCode {
    nn::process::prepare();
    if launched_rank().is_some_and(|rank| rank > 0) {
        be_quiet();
    }
    log_to_stderr();
    // The backward pass walks the graph by recursion, which a main thread's stack may not hold for deep models.
    const STACK_BYTES: usize = 256 << 20;
    let arguments = Arguments::parse();
    let worker = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || run_together(arguments));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

/// One of the processes that `mpirun` started, or the only one.
fn run_together(arguments: Arguments) -> ExitCode {
    let tells = arguments.only_tells();
    if tells && launched_rank().is_some_and(|rank| rank > 0) {
        return ExitCode::SUCCESS;
    }
    let joined = match tells {
        true => Ok(Rc::new(Alone) as Rc<dyn Ensemble>),
        false => join(),
    };
    let ensemble = match joined {
        Ok(ensemble) => ensemble,
        Err(error) => return exit_with(Err(error.into())),
    };
    if let Some(Command::Base(command)) = &arguments.command {
        nn::process::use_threads_beside(None, ensemble.size_on_host());
        let result = match ensemble.size() {
            1 => base::run(command),
            _ => Err(anyhow::anyhow!(
                "a base is trained by one process; run it without mpirun"
            )),
        };
        return end(&*ensemble, result);
    }
    end(&*ensemble, run(arguments, &ensemble))
}

fn run(arguments: Arguments, ensemble: &Rc<dyn Ensemble>) -> Result<Ended> {
    if arguments.manual.print(Arguments::command())? {
        return Ok(Ended::Done);
    }
    let hub = Hub::from_env();
    let mut progress = Terminal::default();
    // The file and the saved run may name the base, and the base has defaults of its own: hence this order.
    let settings = arguments.gather(&**ensemble)?;
    nn::process::use_threads_beside(settings.checked_threads()?, ensemble.size_on_host());
    let needs_weights = !arguments.dry_run && !arguments.print_config;
    let known = KnownModel::named(settings.model_choice().model);
    let mut base = match known {
        // Nothing needs to be here for a look at a model with a name.
        Some(known) if !needs_weights => Base::OnPaper(known),
        _ => Base::Files(in_turns(&**ensemble, || {
            ModelFiles::find(&settings.model_choice(), &hub, &mut progress)
        })?),
    };
    // A configuration may be for another machine.
    let device = match !arguments.print_config && !arguments.list_tags {
        true => open_device(
            settings
                .device
                .unwrap_or_default()
                .for_process(ensemble.rank_on_host()),
        )?,
        false => Device::Cpu,
    };
    let outline = base.outline(&settings, &device)?;
    let given = settings.clone();
    let settings = within_memory(settings, &outline)?;
    let config = settings.resolve(BaseDefaults::of(&outline))?;
    if arguments.print_config {
        printed_config::print(&given, &config)?;
        return Ok(Ended::Done);
    }
    let plan = plan(&outline, &config);
    let description = describe_plan(&plan, &outline, &config, arguments.dry_run)?;
    if arguments.dry_run {
        print_lines([description.trim_end()])?;
        plan.check(&config)?;
        if !config.data.as_os_str().is_empty() {
            TrainingSet::check_visits(&config.data, &config.repeats)?;
        }
        return Ok(Ended::Done);
    }
    if arguments.list_tags {
        let base = base.load(&config, &Device::Cpu, &mut progress)?;
        print_lines(base.tags().names())?;
        return Ok(Ended::Done);
    }
    arguments.check(&config);
    let config = config.of_all(ensemble.size())?;
    tell(description.trim_end());
    plan.check(&config)?;
    // Asked here too: opening the base and encoding the pieces first would be time lost.
    if ensemble.is_first() {
        if !arguments.resume && !arguments.force {
            Trainer::check_free(&config)?;
        }
        Trainer::check_out(&config)?;
        arguments.check_out(&config)?;
        TrainingSet::check_visits(&config.data, &config.repeats)?;
    }
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    let ensemble = with_cards(Rc::clone(ensemble), &device)?;
    let base = base.load(&config, &device, &mut progress)?;
    let set = in_turns(&*ensemble, || {
        training_set(&config, &base, &hub, &mut progress)
    })?;
    describe_set(&set, &mut progress);
    tell(format_args!("\nconfiguration:\n{}", config.to_toml()?));
    let planned_bytes = plan.memory_bytes;
    let heard_with = model_flags(&config);
    tell_processes(&config, &*ensemble);
    let force = arguments.force;
    let trainer = match arguments.resume {
        true => Trainer::resume_in(ensemble, config, base, set, force, &mut progress)?,
        false => Trainer::start_in(ensemble, config, base, set, force)?,
    };
    let Some(outcome) = train(trainer, &mut progress)? else {
        return Ok(Ended::Stopped);
    };
    tell_outcome(&outcome, planned_bytes, &heard_with);
    print_lines([outcome.adapter.display()])?;
    Ok(Ended::Done)
}

fn tell_processes(config: &TrainConfig, ensemble: &dyn Ensemble) {
    let (processes, here) = (ensemble.size(), ensemble.size_on_host());
    if processes > 1 {
        let (parts, items) = (config.accumulate, config.batch_size);
        tell(format_args!(
            "{processes} processes, {here} on this host: a step is {parts} batches of {items} crops, {} for each",
            parts / processes
        ));
    }
}

/// The base as far as it is opened.
enum Base {
    OnPaper(&'static KnownModel),
    Files(ModelFiles),
    /// Small ones are opened at once, to look at them.
    Loaded(ModelFiles, Box<BaseModel>),
}

impl Base {
    fn outline(&mut self, settings: &TrainSettings, device: &Device) -> Result<Outline, LoraError> {
        match self {
            Self::OnPaper(known) => Outline::of_known(known, settings.causal, settings.weights),
            Self::Files(files @ ModelFiles::DiffRhythm(_)) => {
                Outline::of_files(files, settings.weights, device)
            }
            Self::Files(files) => {
                let silent = &mut lora::progress::Silent;
                let mut base = BaseModel::load(files, &Device::Cpu, settings.weights, silent)?;
                let outline = Outline::of(&mut base);
                *self = Self::Loaded(files.clone(), Box::new(base));
                Ok(outline)
            }
            Self::Loaded(_, base) => Ok(Outline::of(base)),
        }
    }

    /// The base as the run has it, opened once only where that is possible.
    fn load(
        self,
        config: &TrainConfig,
        device: &Device,
        progress: &mut Terminal,
    ) -> Result<BaseModel> {
        let files = match self {
            Self::Loaded(_, base) if device.is_cpu() && base.precision() == config.weights => {
                return Ok(*base);
            }
            Self::Loaded(files, _) | Self::Files(files) => files,
            Self::OnPaper(_) => anyhow::bail!("the model's files were not looked for"),
        };
        Ok(BaseModel::load(
            &files,
            device,
            Some(config.weights),
            progress,
        )?)
    }
}

/// The settings, with what the memory that was asked for leaves of those that are not set.
fn within_memory(settings: TrainSettings, outline: &Outline) -> Result<TrainSettings> {
    let Some(memory) = settings.memory else {
        return Ok(settings);
    };
    let fitted = fit(outline, &settings, memory)?;
    for change in &fitted.changes {
        tell(format_args!("to fit into {memory}: {change}"));
    }
    Ok(fitted.settings)
}

fn training_set(
    config: &TrainConfig,
    base: &BaseModel,
    hub: &Hub,
    progress: &mut Terminal,
) -> Result<TrainingSet> {
    let encoder = match (base.songs(), &config.style_encoder) {
        (None, _) => None,
        (Some(_), Some(folder)) => Some(StyleEncoder::open(Some(folder), hub, progress)?),
        (Some(_), None) => StyleEncoder::at_hand(hub)?,
    };
    let lyrics = TokenizerSettings {
        espeak: None,
        chinese_folder: config.lyrics_data.clone(),
    };
    // Encoder and lexicon are not needed any more behind this, and large.
    let mut conditions = ConditionSource::new(encoder, lyrics);
    Ok(TrainingSet::open(
        &config.data,
        base,
        &mut conditions,
        &config.augmentations(),
        progress,
    )?)
}

/// None if the run was stopped, which all processes agreed on, and saved.
fn train(trainer: Trainer, progress: &mut Terminal) -> Result<Option<Outcome>> {
    tell(format_args!(
        "{} steps, about {}",
        trainer.total_steps() - trainer.steps_done().min(trainer.total_steps()),
        spoken_duration(trainer.estimate_secs()?)
    ));
    let run_dir = trainer.run_dir().to_owned();
    match trainer.run(progress) {
        Err(LoraError::Stopped) => {
            tell(format_args!(
                "stopped; the run is saved in {}, --resume goes on",
                run_dir.display()
            ));
            Ok(None)
        }
        other => Ok(Some(other?)),
    }
}

fn tell_outcome(outcome: &Outcome, planned_bytes: usize, heard_with: &str) {
    if outcome.stopped_early {
        tell(format_args!(
            "stopped early after {} steps: the held-out songs gained no more",
            outcome.steps
        ));
    }
    if let Some(loss) = outcome.best_validation_loss {
        let initial = outcome
            .first_validation_loss
            .map_or_else(|| "not measured".to_owned(), |loss| format!("{loss:.4}"));
        tell(format_args!(
            "best loss on the held-out songs {loss:.4} (before training {initial})"
        ));
    }
    if let Some(peak) = nn::process::peak_memory_bytes() {
        tell(format_args!(
            "memory: {} MB at most (planned {} MB)",
            megabytes(peak),
            megabytes(planned_bytes)
        ));
    }
    tell(format_args!("report: {}", outcome.report.display()));
    tell(format_args!(
        "listen: lora-infer --lora {}{heard_with}",
        as_one_word(&outcome.adapter)
    ));
}

/// A path as a shell takes it.
fn as_one_word(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+~".contains(letter);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
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
