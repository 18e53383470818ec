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
use lora::models::Hub;
use lora::terminal::{
    Terminal, Written, catch_interrupts, check_ending, check_free, exit_with, log_to_stderr,
    make_folder, print_completions, print_lines, print_man_page, refuse_what_is_read, tell,
};

/// Names shown of tensors that one file alone has: a training checkpoint has its optimizer's too.
const UNPAIRED_SHOWN: usize = 5;

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
    /// Print what a shell needs to complete the flags, and stop.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<clap_complete::Shell>,
    /// Print the manual page, and stop.
    #[arg(long, exclusive = true)]
    man_page: bool,
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
    Sum(SumArguments),
    /// Take the adapter out of a fine-tuned checkpoint: its difference from the base, at a rank
    ///
    /// Layers without a difference are left out. What differs and is no weight of a linear layer (norms, biases, tables) is named: no
    /// adapter can change it. One tensor of each file is in memory at a time.
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
        Ok(rank) if rank > 0 => Ok(rank),
        _ => Err("a rank is a whole number above 0".to_owned()),
    }
}

fn main() -> ExitCode {
    nn::process::prepare();
    log_to_stderr();
    exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(shell) = arguments.completions {
        return Ok(print_completions(shell, Arguments::command())?);
    }
    if arguments.man_page {
        return Ok(print_man_page(Arguments::command())?);
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
    fn check(&self) -> Result<()> {
        check_ending(&self.out, self.to.target().1)?;
        check_free(&self.out, self.force)?;
        catch_interrupts().context("Ctrl-C cannot be caught")
    }

    fn write(&self, adapter: &Adapter, read: &[&Path]) -> Result<()> {
        refuse_what_is_read(&self.out, read.iter().copied())?;
        make_folder(&self.out)?;
        adapter.write(&self.out, self.to.target().0, self.force)?;
        print_lines([self.out.display()])?;
        Ok(())
    }
}

fn run_sum(arguments: &SumArguments) -> Result<()> {
    arguments.output.check()?;
    let added = arguments.adapters.iter().map(|text| weighted(text, 1.0));
    let subtracted = arguments.subtract.iter().map(|text| weighted(text, -1.0));
    let files: Vec<(PathBuf, f64)> = added.chain(subtracted).collect::<Result<_>>()?;
    let load = |(path, _): &(PathBuf, f64)| Adapter::load(path, &Device::Cpu);
    let adapters: Vec<Adapter> = files.iter().map(load).collect::<Result<_, _>>()?;
    let base = arguments.base.as_deref().map(open).transpose()?;
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
    let base = base.as_ref().map(|base| Path::new(base.origin()));
    let read: Vec<&Path> = files
        .iter()
        .map(|(path, _)| path.as_path())
        .chain(base)
        .collect();
    arguments.output.write(&adapter, &read)
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
    arguments.output.check()?;
    let base = open(&arguments.base)?;
    let tuned = open(&arguments.tuned)?;
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
    let read = [Path::new(base.origin()), Path::new(tuned.origin())];
    arguments.output.write(&found.adapter, &read)
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
