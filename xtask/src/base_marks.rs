//! `cargo xtask base-marks`: how well a base keeps the tempo and the style that it is asked for, by others' measures.
//!
//! This side composes and generates; `xtask/peer/base_marks.py` listens.

mod clips;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use corpus::Style;
use serde::Serialize;

use crate::corpus::CorpusArgs;
use crate::workspace::Workspace;
use clips::{Clip, Generator};
use report::{Found, Marks};

const PEER: &str = "xtask/peer/base_marks.py";
const REQUIREMENTS: &str = "xtask/peer/base_marks_requirements.txt";
/// No base has learned from the pieces of this seed: `docs/base.md` has theirs.
const REAL_SEED: u64 = 1001;
const REAL_PIECE_SECS: f64 = 30.0;
/// Real pieces of each style whose beats are measured beside the loops'.
const CONTROL_PIECES_OF_STYLE: usize = 2;
const LOOP_BARS: usize = 4;
const CLIP_SECS: usize = 6;
/// Loops of each kind: a tracker that hears the off-beat of one of ten says little.
const LOOP_ROUNDS: usize = 8;
/// A loop for each seed from 0, one kind after the other: styles with a pulse at tempi that they have, between and on the vocabulary's tens.
const LOOPS: [(Style, u32); 10] = [
    (Style::Lofi, 70),
    (Style::Blues, 84),
    (Style::Synthwave, 96),
    (Style::Rock, 110),
    (Style::House, 120),
    (Style::Minimalism, 128),
    (Style::House, 140),
    (Style::Chiptune, 150),
    (Style::Rock, 165),
    (Style::FolkDance, 174),
];

#[derive(Debug, Args)]
pub(crate) struct BaseMarksArgs {
    /// A Python with what xtask/peer/base_marks_requirements.txt lists: it finds beats and styles.
    #[arg(long, value_name = "PYTHON")]
    peer: PathBuf,
    /// Base file to measure instead of the embedded one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder for the sound and base-marks.json; what an earlier run left there from the same inputs is kept
    /// [default: target/base-marks].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder with a lora-infer to use instead of building one.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Clips of each style.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Real pieces of each style that the classifier learns from.
    #[arg(long, default_value_t = 24)]
    pieces: usize,
}

/// What the script reads as `plan.json`; paths are relative to the folder.
#[derive(Debug, Serialize)]
struct Plan {
    styles: Vec<&'static str>,
    pieces_of_style: usize,
    control_pieces_of_style: usize,
    loops: Vec<Loop>,
    clips: Vec<Clip>,
}

#[derive(Debug, Serialize)]
struct Loop {
    #[serde(flatten)]
    clip: Clip,
    tempo_bpm: u32,
}

impl Plan {
    fn new(seeds: u64, pieces: usize) -> Self {
        let styles = styles();
        let kinds = LOOPS.iter().cycle().take(LOOP_ROUNDS * LOOPS.len());
        let loops = kinds.zip(0..).map(|((style, tempo_bpm), seed)| Loop {
            clip: Clip {
                path: format!("loops/{style}-{tempo_bpm}-seed{seed}.wav"),
                style: style.name(),
                seed,
            },
            tempo_bpm: *tempo_bpm,
        });
        // Seed by seed, so that a run that is stopped has heard all styles alike.
        let clips = (0..seeds).flat_map(|seed| {
            styles.iter().map(move |style| Clip {
                path: format!("clips/{style}-seed{seed}.wav"),
                style: style.name(),
                seed,
            })
        });
        Self {
            loops: loops.collect(),
            clips: clips.collect(),
            styles: styles.iter().map(|style| style.name()).collect(),
            pieces_of_style: pieces,
            control_pieces_of_style: CONTROL_PIECES_OF_STYLE,
        }
    }
}

/// The base's styles that have a tag.
fn styles() -> Vec<Style> {
    let tagged = |style: &Style| *style != Style::Zoo;
    Style::base().iter().copied().filter(tagged).collect()
}

/// Runs `cargo xtask base-marks`: exits with 1 if a mark is missed.
pub(crate) fn run(args: &BaseMarksArgs) -> Result<()> {
    ensure!(args.seeds > 0, "--seeds must be at least 1");
    // The classifier is tried on four parts of the pieces in turn, each of which needs every style.
    ensure!(args.pieces >= 4, "--pieces must be at least 4");
    let args = args.absolute()?;
    let workspace = Workspace::enter()?;
    let folder = args.folder(&workspace);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let generator = Generator::new(args.program(&workspace)?, args.model.as_deref())?;
    let plan = Plan::new(args.seeds, args.pieces);
    generate(&generator, &folder, &plan)?;
    let styles = styles();
    let real = CorpusArgs::of_styles(
        folder.join("real"),
        REAL_SEED,
        args.pieces * styles.len(),
        REAL_PIECE_SECS,
        styles,
    );
    crate::corpus::run(&real)?;
    write(&folder.join("plan.json"), &plan)?;
    let text = listen(&args.peer, &folder)?;
    let found: Found =
        serde_json::from_str(&text).with_context(|| format!("{PEER} printed {text:?}"))?;
    let marks = found.marks();
    let measured = found_with(&text, &generator, &marks)?;
    write(&folder.join("base-marks.json"), &measured)?;
    report::print(&found, &marks);
    if !marks.are_met() {
        std::process::exit(1);
    }
    Ok(())
}

impl BaseMarksArgs {
    /// The same, with paths that hold in the project's root too.
    fn absolute(&self) -> Result<Self> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).with_context(|| format!("{}", path.display()))
        };
        let file = |path: &Option<PathBuf>| path.as_ref().map(absolute).transpose();
        // A bare name is looked up where programs lie.
        let is_path = self.peer.components().count() > 1;
        Ok(Self {
            peer: if is_path {
                absolute(&self.peer)?
            } else {
                self.peer.clone()
            },
            model: file(&self.model)?,
            out: file(&self.out)?,
            programs: file(&self.programs)?,
            ..*self
        })
    }

    fn folder(&self, workspace: &Workspace) -> PathBuf {
        let default = || workspace.target.join("base-marks");
        self.out.clone().unwrap_or_else(default)
    }

    /// The path of `lora-infer`, built if no other is named.
    fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        let file = format!("lora-infer{}", std::env::consts::EXE_SUFFIX);
        if let Some(programs) = &self.programs {
            return Ok(programs.join(file));
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--package=lora", "--bin=lora-infer"])
            .status()
            .context("cargo did not start")?;
        ensure!(status.success(), "lora-infer does not build");
        Ok(workspace.target.join("release").join(file))
    }
}

fn generate(generator: &Generator, folder: &Path, plan: &Plan) -> Result<()> {
    for Loop { clip, tempo_bpm } in &plan.loops {
        let prompt = format!("{}, tempo:{tempo_bpm}, metre:4", clip.style);
        generator.make(folder, clip, &prompt, ["--bars", &LOOP_BARS.to_string()])?;
    }
    for clip in &plan.clips {
        generator.make(
            folder,
            clip,
            clip.style,
            ["--seconds", &CLIP_SECS.to_string()],
        )?;
    }
    Ok(())
}

/// Runs the script; gives the line that it prints.
fn listen(python: &Path, folder: &Path) -> Result<String> {
    let output = Command::new(python)
        .arg(PEER)
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} did not start", python.display()))?;
    ensure!(
        output.status.success(),
        "{PEER} ended with {}; does {} have what {REQUIREMENTS} lists?",
        output.status,
        python.display()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .trim()
        .lines()
        .next_back()
        .unwrap_or_default()
        .to_owned())
}

/// All that the script found, and what it was found on.
fn found_with(text: &str, generator: &Generator, marks: &Marks) -> Result<serde_json::Value> {
    let mut measured: serde_json::Value = serde_json::from_str(text)?;
    measured["generator"] = serde_json::to_value(generator)?;
    measured["marks"] = serde_json::to_value(marks)?;
    Ok(measured)
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_with_a_tag_is_asked_for_with_every_seed() {
        let plan = Plan::new(3, 4);
        assert_eq!(plan.styles.len(), 14);
        assert!(!plan.styles.contains(&"zoo"));
        assert_eq!(plan.clips.len(), 3 * 14);
        let seeds: Vec<u64> = plan.clips[..15].iter().map(|clip| clip.seed).collect();
        assert_eq!(seeds[..14], [0; 14], "all styles before the next seed");
        assert_eq!(seeds[14], 1);
    }

    #[test]
    fn each_loop_has_a_seed_of_its_own_and_a_style_of_the_base() {
        let plan = Plan::new(1, 4);
        let seeds: Vec<u64> = plan.loops.iter().map(|one| one.clip.seed).collect();
        assert_eq!(seeds, (0..80).collect::<Vec<_>>());
        assert_eq!(plan.loops[13].tempo_bpm, plan.loops[3].tempo_bpm);
        for one in &plan.loops {
            assert!(plan.styles.contains(&one.clip.style), "{one:?}");
        }
        let json = serde_json::to_value(&plan.loops[2]).unwrap();
        assert_eq!(json["path"], "loops/synthwave-96-seed2.wav");
        assert_eq!(json["tempo_bpm"], 96);
    }

    #[test]
    fn paths_hold_in_another_folder_and_bare_names_are_looked_up() {
        let args = BaseMarksArgs {
            peer: "python3".into(),
            model: Some("base.safetensors".into()),
            out: None,
            programs: None,
            seeds: 1,
            pieces: 4,
        };
        let found = args.absolute().unwrap();
        assert_eq!(found.peer, Path::new("python3"));
        assert!(found.model.unwrap().is_absolute());
    }
}
