//! `cargo xtask loss-curve`: the same training here and in a peer, from the same batches, noise and initial values.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::workspace::Workspace;

const RECORDINGS: &str = "examples/village";
/// What every second piece is said to be, so that tags take part.
const TAGS: &str = "lute, reed, hand-drum, energetic";
const BASE: &str = "lora/base/lorelei-base.safetensors";
const PEER: &str = "xtask/peer/loss_curve.py";
/// Losses may be this far from the peer's, as a share of them.
const TOLERANCE: f64 = 0.01;
/// Steps from one comparison to the next; a multiple of every epoch that validates at each of its ends.
const EVERY_STEPS: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct LossCurveArgs {
    /// A Python with torch, peft and safetensors, for the peer's side.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// Steps of the training.
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Crops in a batch; an epoch must divide 50 steps.
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Length of a crop in seconds.
    #[arg(long, default_value_t = 3.0)]
    crop_secs: f64,
}

/// What either side prints.
#[derive(Debug, Deserialize)]
struct Curve {
    seconds: f64,
    /// Step, and loss on the held-out songs behind it.
    validation: Vec<(usize, f64)>,
}

/// A row of the table.
#[derive(Debug, PartialEq)]
struct Row {
    step: usize,
    ours: f64,
    peer: Option<f64>,
}

impl Row {
    /// Relative to the peer's loss.
    fn difference(&self) -> Option<f64> {
        self.peer.map(|peer| (self.ours - peer) / peer)
    }

    fn is_over(&self) -> bool {
        self.difference()
            .is_some_and(|difference| difference.is_nan() || difference.abs() > TOLERANCE)
    }
}

/// Runs `cargo xtask loss-curve`: exits with 1 if the curves part.
pub(crate) fn run(args: &LossCurveArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    build()?;
    let folder = workspace.empty_folder("loss-curve")?;
    let segments = folder.join("segments");
    let program = |name: &str| workspace.program(name);
    output(program("cut-music").arg(RECORDINGS).arg(&segments))?;
    tag_every_second(&segments)?;
    eprintln!("training here ...");
    let numbers = |flag: &str, number: String| [flag.to_owned(), number];
    let ours: Curve = curve(
        program("loss-curve")
            .args([&segments, &folder])
            .args(numbers("--steps", args.steps.to_string()))
            .args(numbers("--batch-size", args.batch_size.to_string()))
            .args(numbers("--crop-secs", args.crop_secs.to_string())),
    )?;
    let peer = args.peer.as_ref().map(|python| {
        eprintln!("training with {} ...", python.display());
        curve(
            Command::new(python)
                .arg(PEER)
                .arg(&folder)
                .args(["--base", BASE])
                .args(numbers("--every", EVERY_STEPS.to_string())),
        )
    });
    let peer = peer.transpose()?;
    let rows = rows(args.steps, &ours, peer.as_ref())?;
    print_table(&rows, ours.seconds, peer.map(|peer| peer.seconds));
    if rows.iter().any(Row::is_over) {
        eprintln!("the curves differ by more than {} %", 100.0 * TOLERANCE);
        std::process::exit(1);
    }
    Ok(())
}

fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--bins"])
        .args(["--package=preprocess", "--package=bench"])
        .status()?;
    ensure!(status.success(), "the programs do not build");
    Ok(())
}

/// Puts tags beside the sound, as a user does.
fn tag_every_second(segments: &Path) -> Result<()> {
    let mut pieces: Vec<PathBuf> = std::fs::read_dir(segments)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    pieces.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
    pieces.sort();
    for piece in pieces.iter().step_by(2) {
        std::fs::write(piece.with_extension("txt"), TAGS)?;
    }
    Ok(())
}

/// What a program prints; what it tells besides is seen at once.
fn output(command: &mut Command) -> Result<String> {
    let shown = command.get_program().to_owned();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} did not start", Path::new(&shown).display()))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}",
            Path::new(&shown).display(),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn curve(command: &mut Command) -> Result<Curve> {
    let text = output(command)?;
    let last = text.trim().lines().next_back().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{command:?} printed {last:?}"))
}

/// The losses of the steps that are compared.
fn rows(steps: usize, ours: &Curve, peer: Option<&Curve>) -> Result<Vec<Row>> {
    let row = |step| {
        let of = |curve: &Curve, whose: &str| {
            let mut found = curve.validation.iter().filter(|(at, _)| *at == step);
            found.next().map(|(_, loss)| *loss).with_context(|| {
                format!("no loss of {whose} at step {step}: does an epoch divide {EVERY_STEPS} steps? --batch-size changes it")
            })
        };
        Ok(Row {
            step,
            ours: of(ours, "ours")?,
            peer: peer.map(|peer| of(peer, "the peer")).transpose()?,
        })
    };
    (0..=steps).step_by(EVERY_STEPS).map(row).collect()
}

#[expect(clippy::print_stdout, reason = "the table is the command's output")]
fn print_table(rows: &[Row], our_seconds: f64, peer_seconds: Option<f64>) {
    println!("| step | ours | peer | difference |");
    println!("|---|---|---|---|");
    for row in rows {
        let (peer, difference) = match (row.peer, row.difference()) {
            (Some(peer), Some(difference)) => (
                format!("{peer:.6}"),
                format!("{:+.4} %", 100.0 * difference),
            ),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        println!("| {} | {:.6} | {peer} | {difference} |", row.step, row.ours);
    }
    let peer = peer_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0}"));
    println!("| seconds | {our_seconds:.0} | {peer} | |");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(validation: &[(usize, f64)]) -> Curve {
        Curve {
            seconds: 1.0,
            validation: validation.to_vec(),
        }
    }

    #[test]
    fn every_fiftieth_step_is_compared() {
        let ours = curve(&[(0, 2.0), (10, 1.5), (50, 1.005), (100, 0.9)]);
        let peer = curve(&[(0, 2.0), (50, 1.0), (100, 0.92)]);
        let rows = rows(100, &ours, Some(&peer)).unwrap();
        let steps: Vec<usize> = rows.iter().map(|row| row.step).collect();
        assert_eq!(steps, [0, 50, 100]);
        let over: Vec<bool> = rows.iter().map(Row::is_over).collect();
        // Half a percent is within, two are not.
        assert_eq!(over, [false, false, true]);
    }

    #[test]
    fn a_missing_loss_and_one_that_is_no_number_are_told() {
        let ours = curve(&[(0, 2.0), (60, 1.0)]);
        assert!(rows(50, &ours, None).is_err());
        let (ours, peer) = (curve(&[(0, f64::NAN)]), curve(&[(0, 1.0)]));
        assert!(rows(0, &ours, Some(&peer)).unwrap()[0].is_over());
    }
}
