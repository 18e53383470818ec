//! `lora-convert`: adapters and weights from one layout to another, and what is in a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use checkpoint::diffrhythm::StateDict;
use checkpoint::{ConvertOptions, Converted, ElementType, Precision, TensorFile};
use clap::{CommandFactory, Parser, ValueEnum};
use lora::LoraError;
use lora::adapter::{Adapter, MergeOptions, Target, layer_shapes, write_merged};
use lora::inspect;
use lora::models::Hub;
use lora::progress::{InBytes, Progress};
use lora::terminal::{
    Manual, Terminal, Written, catch_interrupts, check_ending, check_free, exit_with,
    log_to_stderr, make_folder, print_lines, refuse_what_is_read, tell,
};

/// Convert adapters and weights from one layout to another, or say what is in a file.
///
/// Adapters are read in the layouts of PEFT (folder or file), the original project (.pt), ComfyUI and kohya, diffusers, LyCORIS (LoKr),
/// LoRAW, Stable Audio 3 and Lorelei; which one it is follows from the tensors' names. Tensors that belong to no known method are an
/// error. Nothing in a file is ever run. Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(name = "lora-convert", version)]
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
    /// For "merged" and "safetensors": what the weights become; f16 and bf16 halve a file of f32 [default: keep].
    #[arg(long, value_enum)]
    precision: Option<Bits>,
    /// Stop if IN is not the file with this SHA-256: 64 digits, with or without "sha256:" before them.
    #[arg(long, value_name = "HASH", value_parser = checkpoint::sha256_digits)]
    sha256: Option<String>,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    manual: Manual,
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
    /// A model's weights, from any file; of a training checkpoint of DiffRhythm the transformer alone
    Safetensors,
}

impl Layout {
    fn written(self) -> Written {
        match self {
            Self::Peft => Written::Folder,
            Self::Original => Written::Torch,
            Self::Single | Self::Comfyui | Self::Merged | Self::Safetensors => Written::Safetensors,
        }
    }
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
    if arguments.manual.print(Arguments::command())? {
        return Ok(());
    }
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
    check_ending(output, layout.written())?;
    check_free(output, arguments.force)?;
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    if layout == Layout::Safetensors {
        make_folder(output)?;
        return convert_weights(arguments, input, output);
    }
    let mut terminal = Terminal::default();
    if let Some(expected) = &arguments.sha256 {
        check_hash(input, expected, &mut terminal)?;
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
        (Layout::Merged, Some(base)) => {
            make_folder(output)?;
            return merge(arguments, (&adapter, input), base, output);
        }
        (Layout::Merged, None) => bail!(
            "--to merged needs the base: --base embedded, a file, a folder or a released model's name"
        ),
        (Layout::Peft, _) => Target::Peft,
        (Layout::Comfyui, _) => Target::ComfyUi,
        (Layout::Original, _) => Target::Original,
        (Layout::Single | Layout::Safetensors, _) => Target::Single,
    };
    if terminal.stop_requested() {
        return Err(LoraError::Stopped.into());
    }
    make_folder(output)?;
    adapter.write(output, target, arguments.force)?;
    print_lines([output.display()])?;
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

fn merge(
    arguments: &Arguments,
    (adapter, input): (&Adapter, &Path),
    base: &TensorFile,
    output: &Path,
) -> Result<()> {
    let strength = arguments.strength.unwrap_or(1.0);
    if !(-10.0..=10.0).contains(&strength) {
        bail!("--strength {strength}: must be from -10 to 10");
    }
    let options = MergeOptions {
        strength,
        precision: precision(arguments),
        replace: arguments.force,
    };
    if adapter.trigger.is_some() {
        tell("the adapter's trigger vector is no part of the weights and is left behind");
    }
    let mut terminal = Terminal::default();
    let written = write_merged(adapter, input, base, output, &options, &mut terminal)?;
    report(output, &written)
}

fn precision(arguments: &Arguments) -> Precision {
    match arguments.precision.unwrap_or(Bits::Keep) {
        Bits::Keep => Precision::Keep,
        Bits::F16 => Precision::F16,
        Bits::Bf16 => Precision::BF16,
        Bits::F32 => Precision::F32,
    }
}

fn convert_weights(arguments: &Arguments, input: &Path, output: &Path) -> Result<()> {
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
    if source.names().next().is_none() {
        bail!(
            "{}: holds no tensors; download or save it again",
            input.display()
        );
    }
    let model = model_of(source);
    let options = ConvertOptions {
        precision: precision(arguments),
        overwrite: arguments.force,
        expected_sha256: arguments.sha256.clone(),
        ..ConvertOptions::default()
    };
    let mut terminal = Terminal::default();
    let progress = InBytes::new(&mut terminal);
    let converted = checkpoint::convert(&model, output, &options, &progress);
    let converted = converted.map_err(LoraError::from)?;
    if converted.other_values > 0 {
        tell(format_args!(
            "{} values that are no tensors (steps, rates, settings) are left behind: safetensors has no place for them",
            converted.other_values
        ));
    }
    if arguments.precision.is_none() && has_wide_floats(&model) {
        tell("its 32-bit numbers are kept; --precision f16 halves the file");
    }
    report(output, &converted)
}

/// Of a training checkpoint of DiffRhythm the transformer that the reference's inference takes, under its own names; else everything.
fn model_of(source: TensorFile) -> TensorFile {
    match checkpoint::diffrhythm::weights(&source) {
        Ok(found) if found.taken_from != StateDict::Bare => {
            tell(format_args!(
                "{}: the weights of {}, without {} other tensors",
                source.origin(),
                found.taken_from,
                found.left_out.len()
            ));
            found.tensors
        }
        _ => source,
    }
}

fn has_wide_floats(weights: &TensorFile) -> bool {
    let mut entries = weights.names().filter_map(|name| weights.entry(name));
    entries.any(|entry| matches!(entry.dtype, ElementType::F32 | ElementType::F64))
}

fn report(output: &Path, written: &Converted) -> Result<()> {
    print_lines([format!("{}: SHA-256 {}", output.display(), written.sha256)])?;
    Ok(())
}

fn check_hash(input: &Path, expected: &str, progress: &mut dyn Progress) -> Result<()> {
    if input.is_dir() {
        bail!("--sha256 is for a file, {} is a folder", input.display());
    }
    let source = TensorFile::open(input)?;
    let checked = checkpoint::check_sha256(&source, Some(expected), &InBytes::new(progress));
    checked.map_err(LoraError::from)?;
    Ok(())
}
