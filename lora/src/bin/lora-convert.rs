//! `lora-convert`: adapters and weights from one layout to another, and what is in a file.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use checkpoint::{ConvertOptions, Precision, TensorFile};
use clap::{Parser, ValueEnum};
use lora::LoraError;
use lora::adapter::{Adapter, MergeOptions, MergedPrecision, Target, layer_shapes, write_merged};
use lora::inspect;
use lora::models::Hub;
use lora::progress::Progress;
use lora::terminal::{Terminal, catch_interrupts, exit_with, log_to_stderr, print_lines, tell};

/// What bars count in.
const MEGABYTE: u64 = 1_000_000;

/// Convert adapters and weights from one layout to another, or say what is in a file.
///
/// Adapters are read in the layouts of PEFT (folder or file), the original project (.pt), ComfyUI and kohya, diffusers, LyCORIS (LoKr),
/// LoRAW, Stable Audio 3 and Lorelei; which one it is follows from the tensors' names. Tensors that belong to no known method are an
/// error. Nothing in a file is ever run. Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Adapter (file or PEFT folder), or model file.
    #[arg(
        value_name = "IN",
        required_unless_present = "inspect",
        requires = "output"
    )]
    input: Option<PathBuf>,
    /// What to write; "peft" writes a folder.
    #[arg(value_name = "OUT", requires = "to")]
    output: Option<PathBuf>,
    /// Layout to write.
    #[arg(long, value_enum, requires = "output")]
    to: Option<Layout>,
    /// Say what is in this file or folder, and stop.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "to", "base", "strength", "precision", "sha256", "force"])]
    inspect: Option<PathBuf>,
    /// The base: "embedded", the path of its weights or of their folder, or a released model's name. Needed for "merged", and for names
    /// that are written with underscores.
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Alpha of an adapter whose file does not say it [default: 16 for the original's .pt, else the rank].
    #[arg(long, value_name = "N")]
    alpha: Option<f64>,
    /// For "merged": how much of the adapter, from -10 to 10 [default: 1, as trained].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    strength: Option<f64>,
    /// For "merged" and "safetensors": what the weights become [default: keep].
    #[arg(long, value_enum)]
    precision: Option<Bits>,
    /// Stop if IN is not the file with this SHA-256.
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Folder that Python's PEFT loads
    Peft,
    /// Lorelei's file
    Single,
    /// File with ComfyUI's names
    Comfyui,
    /// The original project's .pt
    Original,
    /// The base's weights with the adapter folded in
    Merged,
    /// A model's weights, from any file
    Safetensors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bits {
    Keep,
    F16,
    Bf16,
    F32,
}

fn main() -> ExitCode {
    log_to_stderr();
    exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let device = Device::Cpu;
    if let Some(alpha) = arguments
        .alpha
        .filter(|alpha| !(alpha.is_finite() && *alpha > 0.0))
    {
        bail!("--alpha {alpha}: must be a number above 0");
    }
    if let Some(path) = &arguments.inspect {
        print_lines(inspect::describe(path, arguments.alpha, &device)?)?;
        return Ok(());
    }
    let (Some(input), Some(output), Some(layout)) =
        (&arguments.input, &arguments.output, arguments.to)
    else {
        bail!("say where to write and what: lora-convert IN OUT --to LAYOUT, or --inspect FILE");
    };
    refuse_idle_flags(arguments, layout)?;
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    if layout == Layout::Safetensors {
        return convert_weights(arguments, input, output);
    }
    if let Some(expected) = &arguments.sha256 {
        check_hash(input, expected)?;
    }
    let mut adapter = Adapter::load_with_alpha(input, arguments.alpha, &device)?;
    let open = |base| lora::base::weights(base, &Hub::from_env(), &mut Terminal::default());
    let base = arguments.base.as_deref().map(open).transpose()?;
    let read = base.as_ref().map(|base| Path::new(base.origin()));
    refuse_what_is_read(output, std::iter::once(input.as_path()).chain(read))?;
    if let (Some(base), Some(name)) = (&base, &arguments.base) {
        adapter = adapter.renamed_for(&layer_shapes(base), input, name)?;
    }
    let target = match (layout, &base) {
        (Layout::Merged, Some(base)) => return merge(arguments, &adapter, base, output),
        (Layout::Merged, None) => bail!(
            "--to merged needs the base: --base embedded, a file, a folder or a released model's name"
        ),
        (Layout::Peft, _) => Target::Peft,
        (Layout::Comfyui, _) => Target::ComfyUi,
        (Layout::Original, _) => Target::Original,
        (Layout::Single | Layout::Safetensors, _) => Target::Single,
    };
    adapter.write(output, target, arguments.force)?;
    print_lines([output.display()])?;
    Ok(())
}

/// Even --force does not replace what the output is made of.
fn refuse_what_is_read<'a>(output: &Path, read: impl Iterator<Item = &'a Path>) -> Result<()> {
    let Ok(place) = output.canonicalize() else {
        return Ok(());
    };
    for path in read {
        if path.canonicalize().is_ok_and(|path| path == place) {
            bail!(
                "{} is read for this, and would be replaced; name another output",
                output.display()
            );
        }
    }
    Ok(())
}

/// A flag that would change nothing is a mistake of whoever gave it.
fn refuse_idle_flags(arguments: &Arguments, layout: Layout) -> Result<()> {
    let (merged, weights) = (layout == Layout::Merged, layout == Layout::Safetensors);
    let idle = [
        ("--strength", arguments.strength.is_some() && !merged),
        (
            "--precision",
            arguments.precision.is_some() && !merged && !weights,
        ),
        ("--base", arguments.base.is_some() && weights),
        ("--alpha", arguments.alpha.is_some() && weights),
    ];
    match idle.iter().find(|(_, is_idle)| *is_idle) {
        Some((flag, _)) => {
            bail!(
                "{flag} means nothing for what --to asks for; leave it out (--help says what it is for)"
            )
        }
        None => Ok(()),
    }
}

fn merge(arguments: &Arguments, adapter: &Adapter, base: &TensorFile, output: &Path) -> Result<()> {
    let strength = arguments.strength.unwrap_or(1.0);
    if !(-10.0..=10.0).contains(&strength) {
        bail!("--strength {strength}: must be from -10 to 10");
    }
    let options = MergeOptions {
        strength,
        precision: match arguments.precision.unwrap_or(Bits::Keep) {
            Bits::Keep => MergedPrecision::Keep,
            Bits::F16 => MergedPrecision::F16,
            Bits::Bf16 => MergedPrecision::Bf16,
            Bits::F32 => MergedPrecision::F32,
        },
        replace: arguments.force,
    };
    if adapter.trigger.is_some() {
        tell("the adapter's trigger vector is no part of the weights and is left behind");
    }
    write_merged(adapter, base, output, options, &mut Terminal::default())?;
    print_lines([output.display()])?;
    Ok(())
}

fn convert_weights(arguments: &Arguments, input: &Path, output: &Path) -> Result<()> {
    if output.exists() && !arguments.force {
        return Err(LoraError::Exists {
            path: output.to_owned(),
        }
        .into());
    }
    if input.is_dir() {
        bail!(
            "{}: is a folder; name the file of weights in it, or the index of its shards (.index.json)",
            input.display()
        );
    }
    let source = TensorFile::open(input)?;
    if inspect::is_adapter(&source) {
        bail!(
            "{}: holds an adapter; --to peft, single, comfyui or original converts it",
            input.display()
        );
    }
    let options = ConvertOptions {
        precision: match arguments.precision.unwrap_or(Bits::Keep) {
            Bits::Keep => Precision::Keep,
            Bits::F16 => Precision::F16,
            Bits::Bf16 => Precision::BF16,
            Bits::F32 => Precision::F32,
        },
        overwrite: arguments.force,
        expected_sha256: arguments.sha256.clone(),
        ..ConvertOptions::default()
    };
    let converted = checkpoint::convert(&source, output, &options, &Bar::default())?;
    print_lines([format!(
        "{}: SHA-256 {}",
        output.display(),
        converted.sha256
    )])?;
    Ok(())
}

/// A bar in megabytes.
#[derive(Default)]
struct Bar(RefCell<(Terminal, u64)>);

impl checkpoint::Progress for Bar {
    fn begin(&self, phase: &str, total_bytes: u64) {
        let mut bar = self.0.borrow_mut();
        bar.1 = 0;
        bar.0.begin(phase, (total_bytes / MEGABYTE) as usize);
    }

    fn advance(&self, bytes: u64) {
        let mut bar = self.0.borrow_mut();
        bar.1 += bytes;
        while bar.1 >= MEGABYTE {
            bar.1 -= MEGABYTE;
            bar.0.advance();
        }
    }

    fn end(&self) {
        self.0.borrow_mut().0.end();
    }
}

fn check_hash(input: &Path, expected: &str) -> Result<()> {
    if input.is_dir() {
        bail!("--sha256 is for a file, {} is a folder", input.display());
    }
    let actual = inspect::sha256_of(input)?;
    if !actual.eq_ignore_ascii_case(expected) {
        bail!(
            "{}: its SHA-256 is {actual}, expected {expected}; download it again",
            input.display()
        );
    }
    Ok(())
}
