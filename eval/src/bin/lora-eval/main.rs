//! `lora-eval`: distances of generated clips to real ones.

mod generated;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, CommandFactory, Parser, Subcommand};
use eval::corpus_statistics::{Crops, of_folder};
use eval::report::Sets;
use eval::{EvalError, Folders, Memorisation, Report, Skipped, picture, table};
use features::Bootstrap;
use generated::Generation;
use indicatif::{ProgressBar, ProgressStyle};
use lora::terminal::{Manual, STOPPED_EXIT_CODE};
use tracing_subscriber::EnvFilter;

/// Some files were skipped; the result stands for the others.
const SOME_SKIPPED: u8 = 2;

/// Did the adapter work? Compares generated clips with real ones; with --lora it makes them first.
///
/// Exit codes: 0 all is well, 1 no result, 2 a result but some files were skipped (or the arguments are wrong).
#[derive(Debug, Parser)]
#[command(
    name = "lora-eval",
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(flatten)]
    evaluation: Option<Evaluation>,
    #[command(flatten)]
    generation: Generation,
    #[command(flatten)]
    manual: Manual,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Evaluation {
    /// Folder of real clips of the style that the adapter was not trained on
    #[arg(long, value_name = "DIR")]
    reference: PathBuf,
    /// Folder of clips generated with the adapter
    #[arg(long, value_name = "DIR", required_unless_present = "lora")]
    candidate: Option<PathBuf>,
    /// Folder of clips generated without the adapter; files of the same name are paired
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Folder of the pieces the adapter was trained on, to look for copies; if it has a manifest, only pieces that
    /// this gives to the training
    #[arg(long, value_name = "DIR")]
    training: Option<PathBuf>,
    /// Write the result as JSON to FILE, or to standard output if FILE is "-"
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw mel spectrograms of the sets side by side into FILE (PNG)
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of bootstrap draws for each interval
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    bootstrap: u32,
    /// Replace files of earlier results
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute the feature statistics on whose scale distances are measured (once for each version)
    Statistics(Statistics),
}

#[derive(Debug, Args)]
struct Statistics {
    /// Folder of the base corpus
    folder: PathBuf,
    /// Where to write the statistics
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The most pieces that are used
    #[arg(long, value_name = "N", default_value_t = Crops::default().pieces)]
    pieces: usize,
    /// Length of the crop of each piece, in seconds
    #[arg(long, value_name = "SECS", default_value_t = Crops::default().secs)]
    crop_secs: f64,
    /// Seed of the choice of pieces and crops
    #[arg(long, default_value_t = Crops::default().seed)]
    seed: u64,
    /// What the corpus is; kept in the file
    #[arg(long, value_name = "TEXT", default_value = "base corpus")]
    description: String,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(skipped) if skipped.is_empty() => ExitCode::SUCCESS,
        Ok(skipped) => {
            for file in &skipped {
                tracing::warn!("skipped: {}", file.reason);
            }
            let count = skipped.len();
            tracing::warn!(
                "{count} {} skipped",
                if count == 1 { "file was" } else { "files were" }
            );
            ExitCode::from(SOME_SKIPPED)
        }
        Err(error) if is_stop(&error) => STOPPED_EXIT_CODE.into(),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The files that were passed over.
fn run(arguments: &Arguments) -> Result<Vec<Skipped>> {
    if arguments.manual.print(Arguments::command())? {
        return Ok(Vec::new());
    }
    match (&arguments.command, &arguments.evaluation) {
        (Some(Command::Statistics(statistics)), _) => compute_statistics(statistics),
        (None, Some(evaluation)) => evaluate(evaluation, &arguments.generation),
        (None, None) => Err(unreachable_by_clap()),
    }
}

fn is_stop(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(lora::LoraError::Stopped))
}

/// clap asks for the evaluation's arguments unless there is a subcommand.
fn unreachable_by_clap() -> anyhow::Error {
    anyhow::anyhow!("--reference and --candidate or --lora are needed")
}

/// Refuses to replace a file unasked; told before the work, not after it.
fn check_absent(path: &Path, force: bool) -> Result<()> {
    let is_there = !force && path.symlink_metadata().is_ok();
    ensure!(
        !is_there,
        EvalError::Exists {
            path: path.to_owned()
        }
    );
    Ok(())
}

/// What is probably not meant.
fn warn_of_mixtures(arguments: &Folders) {
    for folder in [Some(&arguments.candidate), arguments.baseline.as_ref()]
        .into_iter()
        .flatten()
    {
        if folder.join("adapter").is_dir() && folder.join("base").is_dir() {
            tracing::warn!(
                "{} holds clips with and without the adapter, which are taken as one set; name {} as the candidate and {} as the baseline",
                folder.display(),
                folder.join("adapter").display(),
                folder.join("base").display()
            );
        }
    }
    if arguments.baseline.as_ref() == Some(&arguments.candidate) {
        tracing::warn!("the baseline is the candidate itself: their difference says nothing");
    }
    if arguments.reference == arguments.candidate {
        tracing::warn!("the candidate is the reference itself: its distance says nothing");
    }
}

fn evaluate(arguments: &Evaluation, generation: &Generation) -> Result<Vec<Skipped>> {
    let json_file = arguments
        .json
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    if json_file.is_some() && json_file == arguments.picture.as_deref() {
        anyhow::bail!(
            "--json and --picture name the same file; the picture would replace the figures"
        );
    }
    for path in json_file.into_iter().chain(arguments.picture.as_deref()) {
        check_absent(path, arguments.force)?;
    }
    let folders = folders(arguments, generation)?;
    warn_of_mixtures(&folders);
    let bootstrap = Bootstrap {
        seed: arguments.seed,
        resamples: arguments.bootstrap as usize,
        ..Bootstrap::default()
    };
    let progress = progress("measuring");
    let sets = Sets::measure(&folders, &|| progress.inc(1))?;
    progress.set_message("comparing");
    let nearest = folders
        .training
        .as_deref()
        .map(|training| {
            Memorisation::measure(
                training,
                &sets.reference,
                &sets.candidate,
                sets.baseline.as_ref(),
                &bootstrap,
            )
        })
        .transpose()?;
    let report = Report::new(&sets, nearest, &bootstrap)?;
    progress.finish_and_clear();
    tell(&report, &folders, arguments.json.as_deref())?;
    if let Some(path) = &arguments.picture {
        picture::write(path, &sets)?;
        tracing::info!("picture: {}", path.display());
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    Ok(report.skipped)
}

/// The folders to compare; clips are made first if an adapter was named instead of them.
fn folders(arguments: &Evaluation, generation: &Generation) -> Result<Folders> {
    let (candidate, baseline) = match (&arguments.candidate, &generation.lora) {
        (_, Some(adapter)) => {
            let made = generated::make(generation, adapter, arguments.force)?;
            (made.0, Some(made.1))
        }
        (Some(candidate), None) => (candidate.clone(), arguments.baseline.clone()),
        (None, None) => return Err(unreachable_by_clap()),
    };
    Ok(Folders {
        reference: arguments.reference.clone(),
        candidate,
        baseline,
        training: arguments.training.clone(),
    })
}

/// The table to standard output, unless that is where the JSON goes: then to standard error.
fn tell(report: &Report, folders: &Folders, json: Option<&Path>) -> Result<()> {
    let table = table::render(report, folders);
    match json {
        Some(path) if path == Path::new("-") => {
            std::io::stderr().write_all(table.as_bytes())?;
            return std::io::stdout()
                .write_all(report.to_json()?.as_bytes())
                .context("standard output");
        }
        Some(path) => write_file(path, &report.to_json()?)?,
        None => {}
    }
    std::io::stdout()
        .write_all(table.as_bytes())
        .context("standard output")
}

fn compute_statistics(arguments: &Statistics) -> Result<Vec<Skipped>> {
    let secs = arguments.crop_secs;
    ensure!(
        (1.0..=600.0).contains(&secs),
        "--crop-secs is {secs}, expected 1 to 600"
    );
    check_absent(&arguments.out, arguments.force)?;
    let crops = Crops {
        pieces: arguments.pieces,
        secs,
        seed: arguments.seed,
    };
    let progress = progress("measuring");
    let (statistics, skipped) =
        of_folder(&arguments.folder, &crops, &arguments.description, &|| {
            progress.inc(1)
        })?;
    progress.finish_and_clear();
    write_file(&arguments.out, &statistics.to_json())?;
    let told = format!(
        "{} from {} pieces\n",
        arguments.out.display(),
        statistics.clips()
    );
    std::io::stdout().write_all(told.as_bytes())?;
    Ok(skipped)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let failed = |source| EvalError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = audio::PartFile::create(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(file.commit().map_err(failed)?)
}

/// A counter on standard error; indicatif hides it where that is no terminal.
fn progress(message: &'static str) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {pos} files, {elapsed}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(std::time::Duration::from_millis(100));
    progress
}
