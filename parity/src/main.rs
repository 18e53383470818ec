//! `cargo xtask parity`: see the library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use clap::Parser;
use lora::device::DeviceChoice;
use parity::{Case, Kind};

/// Some tensor is over its tolerance, or a case cannot be run.
const OVER: u8 = 1;
/// A case is of a kind that is not known.
const UNKNOWN: u8 = 2;

/// Runs models on golden cases of the reference implementations and prints how far every output tensor lies from theirs.
///
/// Exits with 1 if something is over its tolerance or cannot be run, with 2 if a case is of a kind that is not known.
#[derive(Debug, Parser)]
#[command(name = "parity")]
struct Args {
    /// Folders with golden.json and golden.safetensors.
    #[arg(required = true, value_name = "CASE_DIR")]
    cases: Vec<PathBuf>,
    /// Where models run: auto, cpu, cuda or cuda:N. On cards in f32, without TF32, with ten times the tolerances.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Cases of kinds that are not known are no failure.
    #[arg(long)]
    skip_unknown: bool,
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Over,
    Unknown,
}

fn main() -> Result<ExitCode> {
    nn::process::prepare();
    let args = Args::parse();
    nn::process::use_threads(None);
    let (device, line) = args.device.open()?;
    if let Some(line) = line {
        eprintln!("{line}");
    }
    #[cfg(feature = "cuda")]
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(false);
    let mut out = std::io::stdout().lock();
    let mut verdicts = Vec::new();
    for folder in &args.cases {
        verdicts.push(run(folder, &device, &mut out)?);
    }
    let count = |verdict| verdicts.iter().filter(|&&one| one == verdict).count();
    let (over, unknown) = (count(Verdict::Over), count(Verdict::Unknown));
    writeln!(
        out,
        "{} cases: {} within tolerances, {over} not, {unknown} of kinds that are not supported yet",
        verdicts.len(),
        count(Verdict::Passed)
    )?;
    Ok(match (over, unknown) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) if args.skip_unknown => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(UNKNOWN),
        _ => ExitCode::from(OVER),
    })
}

/// Runs one case and prints what came of it.
fn run(folder: &Path, device: &Device, out: &mut impl Write) -> Result<Verdict> {
    let case = match Case::open(folder, device) {
        Ok(case) => case,
        Err(error) => {
            writeln!(out, "{}\n  OVER {error}", folder.display())?;
            return Ok(Verdict::Over);
        }
    };
    let Some(kind) = Kind::of(&case) else {
        writeln!(
            out,
            "{}: a case of this kind is not supported yet",
            folder.display()
        )?;
        return Ok(Verdict::Unknown);
    };
    writeln!(out, "{}: {}", folder.display(), kind.name())?;
    for (what, allowed) in kind.tolerances() {
        writeln!(
            out,
            "  allowed for {what}: {allowed:.0e} of the largest expected value"
        )?;
    }
    match kind.run(&case) {
        Ok(outcome) => {
            writeln!(out, "{outcome}")?;
            Ok(if outcome.passed() {
                Verdict::Passed
            } else {
                Verdict::Over
            })
        }
        Err(error) => {
            writeln!(out, "  OVER the case cannot be run: {error}")?;
            Ok(Verdict::Over)
        }
    }
}
