//! `cargo xtask check`: everything continuous integration runs, in the order that fails fastest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::architecture;
use crate::cuda;
use crate::devices;
use crate::example_clips;
use crate::headline;
use crate::hosts::{self, HostsArgs};
use crate::instructions;
use crate::workspace::Workspace;

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Runs all checks; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::enter()?;
    architecture::check()?;
    devices::check(&workspace.root)?;
    headline::check(&workspace.root)?;
    example_clips::check(&workspace.root)?;
    step("formatting", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo(&[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]),
    )?;
    step("types with CUDA", cuda::check(&workspace.target)?)?;
    hosts::prepare(&HostsArgs::of_environment())?;
    step("tests", tests(&[]))?;
    step("slow tests", tests(&["--", "--ignored"]))?;
    eprintln!("check: hosts");
    // Told and not fatal, until these programs of others have shown how steady they are on other machines; `cargo xtask hosts` fails.
    if let Err(error) = hosts::run(&HostsArgs::of_environment()) {
        eprintln!("check: hosts FAILED, which does not end the check yet: {error:#}");
    }
    step(
        "documentation tests",
        cargo(&["test", "--release", "--workspace", "--doc"]),
    )?;
    if instructions::can_count() {
        instructions::run(false)?;
    } else {
        eprintln!("check: instruction counts NOT compared, valgrind is not installed");
    }
    let mut documentation = cargo(&["doc", "--release", "--workspace", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", documentation)?;
    deny(&workspace.target, &["licenses", "bans", "sources"])
}

/// The types of the CUDA features alone.
pub(crate) fn cuda() -> Result<()> {
    step("types with CUDA", cuda::check(&Workspace::enter()?.target)?)
}

/// Known vulnerabilities, by the advisory database: needs the network.
pub(crate) fn advisories() -> Result<()> {
    deny(&Workspace::enter()?.target, &["advisories"])
}

fn deny(target: &Path, checks: &[&str]) -> Result<()> {
    let program = cargo_deny(target)?;
    let mut command = Command::new(program);
    command.args(["--workspace", "check"]).args(checks);
    step("dependencies", command)
}

/// cargo-deny from the path or from `tools` in the target folder, where it is installed once if it is nowhere.
fn cargo_deny(target: &Path) -> Result<PathBuf> {
    if Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let root = target.join("tools");
    let program = root
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let root = root
            .to_str()
            .context("the path of the target folder is not Unicode")?;
        let install = [
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            CARGO_DENY_VERSION,
            "--root",
            root,
        ];
        step(
            "installing cargo-deny (once, a few minutes)",
            cargo(&install),
        )?;
    }
    Ok(program)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Tests without the benchmarks, which the lints compile and nobody needs to run here.
fn tests(more: &[&str]) -> Command {
    let mut command = cargo(&[
        "test",
        "--release",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
    ]);
    command.args(more);
    command
}

fn step(name: &str, mut command: Command) -> Result<()> {
    eprintln!("check: {name}");
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{name}: {command:?} did not start"))?;
    if !status.success() {
        bail!("{name} failed: {command:?}");
    }
    eprintln!(
        "check: {name} passed in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
