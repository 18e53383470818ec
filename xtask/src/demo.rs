//! `cargo demo`: the main job on the example recordings, with the same commands a user types.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const RECORDINGS: &str = "examples/village";
const HELD_OUT: &str = "examples/village-held-out";
/// Clips made with and without the adapter, from the same seeds.
const CLIPS: &str = "16";
const CLIP_SECS: &str = "6";

/// Builds the programs, then cuts, trains, generates and measures. All paths are relative to the project's root, where
/// the commands run.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::enter()?;
    build()?;
    let started = Instant::now();
    let folder = free_folder(Path::new("demo"))?;
    let inside = |name: &str| folder.join(name);
    let (segments, style, clips) = (
        inside("segments"),
        inside("style.safetensors"),
        inside("clips"),
    );

    let program = |name: &str, arguments: Vec<OsString>| program(&workspace, name, arguments);
    headline("1 of 4: cut the recordings");
    program(
        "cut-music",
        vec![RECORDINGS.into(), segments.clone().into_os_string()],
    )?;
    headline("2 of 4: train a style adapter");
    let run_dir = inside("run");
    program(
        "lora-train",
        flags(&[
            ("--data", &segments),
            ("--out", &style),
            ("--run-dir", &run_dir),
        ]),
    )?;
    headline("3 of 4: generate with and without it, from the same seeds");
    let mut generate = flags(&[("--lora", &style), ("--out", &clips)]);
    generate.extend(["--base-too", "--count", CLIPS, "--seconds", CLIP_SECS].map(Into::into));
    program("lora-infer", generate)?;
    headline("4 of 4: measure against songs that the training never saw");
    let (adapted, base) = (clips.join("adapter"), clips.join("base"));
    let measured = flags(&[
        ("--reference", Path::new(HELD_OUT)),
        ("--candidate", &adapted),
        ("--baseline", &base),
        ("--training", &segments),
        ("--json", &inside("evaluation.json")),
        ("--picture", &inside("spectrograms.png")),
    ]);
    program("lora-eval", measured)?;

    eprintln!("\nin {}:", workspace.root.display());
    eprintln!("with the adapter:    {}", adapted.display());
    eprintln!("without, same seeds: {}", base.display());
    eprintln!(
        "report:              {}",
        run_dir.join("report.html").display()
    );
    eprintln!(
        "spectrograms:        {}",
        inside("spectrograms.png").display()
    );
    eprintln!(
        "took {:.0} s after the build",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn build() -> Result<()> {
    headline("building the programs");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = ["preprocess", "lora", "eval"].map(|package| format!("--package={package}"));
    let status = Command::new(cargo)
        .args(["build", "--release", "--bins"])
        .args(packages)
        .status()?;
    if !status.success() {
        bail!("the programs do not build");
    }
    Ok(())
}

fn headline(text: &str) {
    eprintln!("\n== {text}");
}

fn flags<P: AsRef<Path>>(pairs: &[(&str, P)]) -> Vec<OsString> {
    pairs
        .iter()
        .flat_map(|(flag, path)| [(*flag).into(), path.as_ref().into()])
        .collect()
}

/// Shows the command as it would be typed in the project's root, runs it there, and fails with it.
fn program(workspace: &Workspace, name: &str, arguments: Vec<OsString>) -> Result<()> {
    let mut command = workspace.program(name);
    command.args(arguments);
    let shown: Vec<String> = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    eprintln!("$ {name} {}", shown.join(" "));
    let status = command.status().with_context(|| {
        format!(
            "{} did not start",
            Path::new(command.get_program()).display()
        )
    })?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// `demo`, or `demo-2` and so on: an earlier demo is kept.
fn free_folder(first: &Path) -> Result<PathBuf> {
    let numbered = |number: u32| match number {
        1 => first.to_owned(),
        _ => first.with_file_name(format!("demo-{number}")),
    };
    let folder = (1..1000)
        .map(numbered)
        .find(|folder| !folder.exists())
        .context("a thousand demos are enough: delete some")?;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
