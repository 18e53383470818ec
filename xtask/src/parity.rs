//! `cargo xtask parity`: models on golden cases. The crate `parity` does it, so that this program stays light.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct ParityArgs {
    /// Folders with golden.json, golden.safetensors and the model's files.
    #[arg(required = true, value_name = "CASE_DIR")]
    cases: Vec<PathBuf>,
    /// Where models run: auto, cpu, cuda or cuda:N. With cuda, and with auto where nvcc is installed, CUDA is built in.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Cases of kinds that are not known are no failure.
    #[arg(long)]
    skip_unknown: bool,
}

/// Builds and runs the program, and ends with its exit code: 1 if something is over its tolerance, 2 if a case is of a
/// kind that is not known.
pub(crate) fn run(args: &ParityArgs) -> Result<()> {
    let here = std::env::current_dir().context("there is no current folder")?;
    let workspace = Workspace::of(&here)
        .or_else(|_| Workspace::of(&PathBuf::from(env!("CARGO_MANIFEST_DIR"))))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["run", "--quiet", "--release", "--package", "parity"])
        .arg("--manifest-path")
        .arg(workspace.root.join("Cargo.toml"));
    if wants_cuda(&args.device) {
        command.args(["--features", "cuda"]);
    }
    command.arg("--").args(["--device", &args.device]);
    if args.skip_unknown {
        command.arg("--skip-unknown");
    }
    command.args(&args.cases);
    let status = command
        .status()
        .with_context(|| format!("{command:?} did not start"))?;
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

fn wants_cuda(device: &str) -> bool {
    let compiler = || Command::new("nvcc").arg("--version").output();
    match device {
        "auto" => compiler().is_ok_and(|output| output.status.success()),
        other => other.starts_with("cuda"),
    }
}
