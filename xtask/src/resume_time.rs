//! `cargo xtask resume-time`: from a program's start to the first step of a fresh and of a resumed run on the embedded base.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::workspace::Workspace;

const RECORDINGS: &str = "examples/village";
/// Resuming may take so many times as long as a fresh start.
const MOST_RATIO: f64 = 1.2;
/// The step whose checkpoint is resumed from.
const SAVED_STEP: usize = 5;
const METRICS: &str = "metrics.jsonl";
/// How finely the first step is waited for.
const PAUSE: Duration = Duration::from_millis(2);
/// A step that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(crate) struct ResumeTimeArgs {
    /// Starts of each kind, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Runs `cargo xtask resume-time`: exits with 1 if resuming takes too long.
pub(crate) fn run(args: &ResumeTimeArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let workspace = Workspace::enter()?;
    build()?;
    let folder = workspace.empty_folder("resume-time")?;
    let segments = folder.join("segments");
    let program = |name: &str| workspace.program(name);
    let cut = program("cut-music")
        .arg(RECORDINGS)
        .arg(&segments)
        .output()?;
    ensure!(cut.status.success(), "cut-music ended with {}", cut.status);
    let start = |run_dir: &Path, resume: bool| {
        let mut command = program("lora-train");
        command
            .arg("--data")
            .arg(&segments)
            .arg("--run-dir")
            .arg(run_dir)
            .arg("--out")
            .arg(folder.join("style.safetensors"))
            .args(["--log-steps", "1", "--checkpoint-steps"])
            .arg(SAVED_STEP.to_string());
        if resume {
            command.arg("--resume");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    // All in one folder: a run knows where it lies. The first also encodes the pieces; its checkpoint is what others resume from.
    let (run_dir, saved) = (folder.join("run"), folder.join("saved"));
    until_step(start(&run_dir, false)?, &run_dir, SAVED_STEP + 2)?;
    std::fs::rename(&run_dir, &saved)?;
    // A resumed run's first step must not be found before it is made.
    drop_later_steps(&saved.join(METRICS))?;
    let (mut fresh, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        fresh.push(until_step(start(&run_dir, false)?, &run_dir, 1)?);
        std::fs::remove_dir_all(&run_dir)?;
        copy(&saved, &run_dir)?;
        let next = SAVED_STEP + 1;
        resumed.push(until_step(start(&run_dir, true)?, &run_dir, next)?);
        std::fs::remove_dir_all(&run_dir)?;
    }
    eprintln!("fresh {fresh:.2?}, resumed {resumed:.2?}");
    let (fresh, resumed) = (median(fresh), median(resumed));
    print_result(fresh, resumed);
    if resumed > MOST_RATIO * fresh {
        std::process::exit(1);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result is the command's output")]
fn print_result(fresh: f64, resumed: f64) {
    println!(
        "to the first step: fresh {fresh:.3} s, resumed {resumed:.3} s, {:.2} times",
        resumed / fresh
    );
}

fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--bins"])
        .args(["--package=preprocess", "--package=lora"])
        .status()?;
    ensure!(status.success(), "the programs do not build");
    Ok(())
}

/// Seconds until a run that was just started has written down `step`; then it is ended.
fn until_step(mut child: Child, run_dir: &Path, step: usize) -> Result<f64> {
    let started = Instant::now();
    let metrics = run_dir.join(METRICS);
    let found = loop {
        let text = std::fs::read_to_string(&metrics).unwrap_or_default();
        if text.lines().any(|line| step_of(line) >= step) {
            break Ok(started.elapsed().as_secs_f64());
        }
        if let Some(status) = child.try_wait()? {
            bail!("lora-train ended with {status} before step {step}");
        }
        if started.elapsed() > PATIENCE {
            break Err(anyhow::anyhow!("no step {step} after {PATIENCE:?}"));
        }
        std::thread::sleep(PAUSE);
    };
    child.kill()?;
    child.wait()?;
    found
}

/// Of a line of figures; 0 of any other.
fn step_of(line: &str) -> usize {
    let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    match record["kind"].as_str() {
        Some("step") => record["step"].as_u64().unwrap_or(0) as usize,
        _ => 0,
    }
}

fn drop_later_steps(metrics: &Path) -> Result<()> {
    let text = std::fs::read_to_string(metrics)?;
    let kept = text.lines().filter(|line| step_of(line) <= SAVED_STEP);
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    Ok(std::fs::write(metrics, kept)?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let target: PathBuf = to.join(entry.path().strip_prefix(from)?);
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(&target)?,
            false => std::fs::copy(entry.path(), &target).map(|_| ())?,
        }
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    match seconds.len() % 2 {
        1 => seconds[middle],
        _ => (seconds[middle - 1] + seconds[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_figures_count_as_steps() {
        assert_eq!(step_of(r#"{"kind":"step","step":6,"loss":0.5}"#), 6);
        assert_eq!(step_of(r#"{"kind":"validation","step":10}"#), 0);
        assert_eq!(step_of(r#"{"kind":"step","#), 0);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
