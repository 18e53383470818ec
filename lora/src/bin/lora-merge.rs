//! `lora-merge`: one adapter out of several, or out of two checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use checkpoint::{TensorFile, shorten};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use lora::adapter::combine::{Combined, Energy, Part, SumOptions, extract, sum, total_energy};
use lora::adapter::{Adapter, Placement, Target};
use lora::inspect;
use lora::models::Hub;
use lora::terminal::{
    Manual, Terminal, Written, catch_interrupts, check_ending, check_free, exit_with,
    log_to_stderr, make_folder, print_lines, refuse_what_is_read, tell,
};

/// Names shown of tensors that one file alone has: a training checkpoint has its optimizer's too.
const UNPAIRED_SHOWN: usize = 5;

/// As in training: above the width of any layer, where a low-rank change would be none.
const HIGHEST_RANK: usize = 4096;

/// A sum whose norm is below this share of its parts' is what rounding left of them.
const NOTHING_LEFT: f64 = 1e-6;

/// Make one adapter of several, or of two checkpoints.
///
/// Adapters are read in every layout that lora-convert reads; lora-convert --to merged folds one into its base. Nothing in a file is ever
/// run. Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(
    name = "lora-merge",
    version,
    allow_negative_numbers = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(flatten)]
    manual: Manual,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add adapters up, each by its weight
    ///
    /// Sums of LoRA are exact: their ranks add up. With --rank each layer is brought to a rank by its singular value decomposition, and the
    /// part of the squared norm that it keeps is told. LoKr needs --rank; DoRA needs --rank and --base. Trigger vectors are added up by the
    /// same weights.
    #[command(allow_negative_numbers = true)]
    Sum(SumArguments),
    /// Take the adapter out of a fine-tuned checkpoint: its difference from the base, at a rank
    ///
    /// Layers without a difference are left out. What differs and is no weight of a linear layer (norms, biases, tables) is named: no
    /// adapter can change it. One tensor of each file is in memory at a time.
    #[command(allow_negative_numbers = true)]
    Extract(ExtractArguments),
}

#[derive(Debug, Args)]
struct SumArguments {
    /// Adapters and, after a colon, their weights from -10 to 10 [default: 1].
    #[arg(value_name = "FILE[:WEIGHT]", required = true)]
    adapters: Vec<String>,
    /// Adapter to subtract, and how much of it.
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    subtract: Vec<String>,
    /// Rank to bring each layer to [default: exact].
    #[arg(long, value_name = "N", value_parser = rank_from_text)]
    rank: Option<usize>,
    /// The base: "embedded", the path of its weights or of their folder, or a released model's name. Needed for DoRA, and for names that
    /// are written with underscores beside others.
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct ExtractArguments {
    /// The fine-tuned model's weights, in any format: a file, or the folder that holds it.
    #[arg(value_name = "TUNED")]
    tuned: String,
    /// The base that it began with: "embedded", a path, or a released model's name.
    #[arg(long, value_name = "MODEL")]
    base: String,
    /// Rank to bring each layer's difference to.
    #[arg(long, value_name = "N", value_parser = rank_from_text)]
    rank: usize,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// What to write.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Layout to write.
    #[arg(long, value_enum, default_value = "single")]
    to: Layout,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Lorelei's file
    Single,
    /// Folder that Python's PEFT loads
    Peft,
    /// File with ComfyUI's names
    Comfyui,
    /// The original project's .pt
    Original,
}

impl Layout {
    fn target(self) -> (Target, Written) {
        match self {
            Self::Single => (Target::Single, Written::Safetensors),
            Self::Peft => (Target::Peft, Written::Folder),
            Self::Comfyui => (Target::ComfyUi, Written::Safetensors),
            Self::Original => (Target::Original, Written::Torch),
        }
    }
}

fn rank_from_text(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rank @ 1..=HIGHEST_RANK) => Ok(rank),
        _ => Err(format!("a rank is a whole number from 1 to {HIGHEST_RANK}")),
    }
}

fn main() -> ExitCode {
    nn::process::prepare();
    log_to_stderr();
    exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.manual.print(Arguments::command())? {
        return Ok(());
    }
    match &arguments.command {
        Some(Command::Sum(arguments)) => run_sum(arguments),
        Some(Command::Extract(arguments)) => run_extract(arguments),
        // Without any argument there was help.
        None => Ok(()),
    }
}

impl Output {
    /// What can be refused before any work.
    fn check<'a>(&self, read: impl Iterator<Item = &'a Path>) -> Result<()> {
        refuse_what_is_read(&self.out, read)?;
        check_ending(&self.out, self.to.target().1)?;
        check_free(&self.out, self.force)?;
        catch_interrupts().context("Ctrl-C cannot be caught")
    }

    /// The same once it is known which files a model's name or folder stands for.
    fn check_origins(&self, read: &[&TensorFile]) -> Result<()> {
        let origins = read.iter().map(|file| Path::new(file.origin()));
        refuse_what_is_read(&self.out, origins)
    }

    fn write(&self, adapter: &Adapter) -> Result<()> {
        make_folder(&self.out)?;
        adapter.write(&self.out, self.to.target().0, self.force)?;
        print_lines([self.out.display()])?;
        Ok(())
    }
}

fn run_sum(arguments: &SumArguments) -> Result<()> {
    let added = arguments.adapters.iter().map(|text| weighted(text, 1.0));
    let subtracted = arguments.subtract.iter().map(|text| weighted(text, -1.0));
    let files: Vec<(PathBuf, f64)> = added.chain(subtracted).collect::<Result<_>>()?;
    let base = arguments.base.as_deref().map(Path::new);
    let read = files.iter().map(|(path, _)| path.as_path());
    arguments.output.check(read.chain(base))?;
    let load = |(path, _): &(PathBuf, f64)| Adapter::load(path, &Device::Cpu);
    let adapters: Vec<Adapter> = files.iter().map(load).collect::<Result<_, _>>()?;
    let base = arguments.base.as_deref().map(open).transpose()?;
    arguments
        .output
        .check_origins(&base.iter().collect::<Vec<_>>())?;
    let parts: Vec<Part<'_>> = adapters
        .iter()
        .zip(&files)
        .map(|(adapter, (path, weight))| Part {
            adapter,
            weight: *weight,
            path,
        })
        .collect();
    let options = SumOptions {
        rank: arguments.rank,
        base: base.as_ref(),
    };
    let Combined { adapter, energies } = sum(&parts, &options, &mut Terminal::default())?;
    tell_energies(&energies);
    if adapter.trigger.is_some() {
        tell("trigger vectors: added up by the same weights");
    }
    warn_of_no_effect(&adapter, &adapters)?;
    arguments.output.write(&adapter)
}

/// Parts that cancel each other out, or are all taken at 0, are allowed and hardly meant.
fn warn_of_no_effect(sum: &Adapter, parts: &[Adapter]) -> Result<()> {
    let left = size(sum)?;
    let mut of_parts = 0.0;
    for part in parts {
        of_parts += size(part)?;
    }
    if left <= NOTHING_LEFT * of_parts {
        tell(
            "warning: the result has no effect: its parts cancel each other out, or their weights are 0",
        );
    }
    Ok(())
}

/// The norm of all that an adapter changes, its trigger vector included.
fn size(adapter: &Adapter) -> Result<f64> {
    let layers = inspect::norms(adapter)?;
    let mut square: f64 = layers.iter().map(|(_, norm)| norm * norm).sum();
    if let Some(trigger) = &adapter.trigger {
        square += f64::from(trigger.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(square.sqrt())
}

/// A file and its weight.
fn weighted(text: &str, sign: f64) -> Result<(PathBuf, f64)> {
    let placed = Placement::parse(text);
    let (path, placement) = placed.map_err(|problem| anyhow!("{text}: {problem}"))?;
    if placement.is_limited() {
        bail!(
            "{text}: times and layers are for lora-infer --lora; here an adapter has a weight alone, as in {}:0.5",
            path.display()
        );
    }
    Ok((path, sign * placement.strength))
}

fn open(base: &str) -> Result<TensorFile> {
    let hub = Hub::from_env();
    Ok(lora::base::weights(base, &hub, &mut Terminal::default())?)
}

fn run_extract(arguments: &ExtractArguments) -> Result<()> {
    let named = [&arguments.tuned, &arguments.base];
    arguments.output.check(named.into_iter().map(Path::new))?;
    let base = open(&arguments.base)?;
    let tuned = open(&arguments.tuned)?;
    arguments.output.check_origins(&[&base, &tuned])?;
    let mut terminal = Terminal::default();
    let found = extract(
        &tuned,
        &base,
        &arguments.base,
        arguments.rank,
        &mut terminal,
    )?;
    tell_energies(&found.energies);
    if found.unchanged > 0 {
        tell(format_args!(
            "{} layers are the same in both and left out",
            found.unchanged
        ));
    }
    tell_names(
        "differ and are no weights of linear layers, so that no adapter can change them",
        &found.not_representable,
        usize::MAX,
    );
    tell_names(
        "are in one of the files alone",
        &found.unpaired,
        UNPAIRED_SHOWN,
    );
    arguments.output.write(&found.adapter)
}

/// What ranks keep, layer by layer and in all.
fn tell_energies(energies: &BTreeMap<String, Energy>) {
    if energies.is_empty() {
        return;
    }
    let percent = |energy: &Energy| energy.share() * 100.0;
    for (layer, energy) in energies {
        tell(format_args!("{}: {:.2} %", shorten(layer), percent(energy)));
    }
    tell(format_args!(
        "kept of the squared norm, {} layers: {:.2} %",
        energies.len(),
        percent(&total_energy(energies))
    ));
}

/// How many there are, and the first ones.
fn tell_names(what: &str, names: &[String], most: usize) {
    if names.is_empty() {
        return;
    }
    let mut lines: Vec<String> = names.iter().take(most).map(|name| shorten(name)).collect();
    if names.len() > most {
        lines.push(format!("{} more", names.len() - most));
    }
    tell(format_args!(
        "{} tensors {what}:\n  {}",
        names.len(),
        lines.join("\n  ")
    ));
}
