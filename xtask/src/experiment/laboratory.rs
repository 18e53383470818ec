//! Where experiments are made: the project's programs, the embedded base, a folder of parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use corpus::Style;
use serde::{Deserialize, Serialize};

use super::measured::{Measured, measure};
use super::music::write_pieces;
use super::parts::{Parts, hexadecimal, name_of};
use super::{Experiment, Music, Scale};
use crate::workspace::Workspace;

/// Two threads everywhere: their number changes the rounding.
const THREADS: &str = "2";
/// An adapter's output is scaled by alpha / rank: twice, at every rank.
const ALPHA_PER_RANK: usize = 2;
const ADAPTER: &str = "style.safetensors";
const TRAINING_TIME: &str = "time.json";

/// What makes and keeps the parts of experiments.
pub(crate) struct Laboratory {
    workspace: Workspace,
    parts: Parts,
    pub(crate) scale: Scale,
    pub(crate) base_sha256: String,
}

/// A trained adapter.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    folder: PathBuf,
    pieces: PathBuf,
    /// How long its training took, the encoding of pieces included.
    pub(crate) training_secs: f64,
}

#[derive(Serialize, Deserialize)]
struct TrainingTime {
    seconds: f64,
}

#[derive(Serialize)]
struct AdapterSettings<'a> {
    base_sha256: &'a str,
    pieces: String,
    training: &'a super::Training,
    alpha: usize,
    seed: u64,
}

#[derive(Serialize)]
struct ClipSettings<'a> {
    base_sha256: &'a str,
    adapter: Option<String>,
    prompt: &'a str,
    count: usize,
    secs: f64,
}

impl Laboratory {
    /// Builds the programs and opens the folder of parts.
    ///
    /// # Errors
    /// When they do not build, the base cannot be read, or another command works in the folder.
    pub(crate) fn open(workspace: Workspace, folder: &Path, scale: Scale) -> Result<Self> {
        let base_sha256 = embedded_base_sha256(&workspace.root)?;
        let parts = Parts::open(folder)?;
        build()?;
        Ok(Self {
            workspace,
            parts,
            scale,
            base_sha256,
        })
    }

    /// Where the parts are, and results go.
    pub(crate) fn folder(&self) -> &Path {
        self.parts.folder()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.workspace.root
    }

    /// A family's recordings.
    pub(crate) fn music(&self, family: Style) -> Result<Music> {
        Music::make(&self.parts, family, &self.scale)
    }

    /// The pieces of so many recordings, and of those to validate on.
    pub(crate) fn pieces(&self, music: &Music, songs: usize) -> Result<PathBuf> {
        let all = self.parts.part(
            &format!("cut-{}", music.family),
            &("cut-music", music.name(), self.scale.validation_songs),
            |folder| {
                let songs = self.scale.songs + self.scale.validation_songs;
                let share = self.scale.validation_songs as f64 / songs as f64;
                let mut cut = self.workspace.program("cut-music");
                cut.arg(music.songs()).arg(folder.join("pieces"));
                cut.args(["--quiet", "--validation"]).arg(share.to_string());
                run(&mut cut)
            },
        )?;
        let name = format!("pieces-{}-{songs}", music.family);
        self.parts.part(&name, &(name_of(&all), songs), |folder| {
            write_pieces(&all.join("pieces"), songs, folder)
        })
    }

    /// Trains an adapter.
    pub(crate) fn train(&self, experiment: &Experiment) -> Result<Trained> {
        let Experiment {
            music,
            training,
            seed,
        } = *experiment;
        let pieces = self.pieces(music, training.songs)?;
        let settings = AdapterSettings {
            base_sha256: &self.base_sha256,
            pieces: name_of(&pieces),
            training,
            alpha: ALPHA_PER_RANK * training.rank,
            seed,
        };
        let name = format!("adapter-{}", music.family);
        let folder = self.parts.part(&name, &settings, |folder| {
            let started = Instant::now();
            run(&mut self.training_command(&pieces, &settings, folder))?;
            let seconds = started.elapsed().as_secs_f64();
            let time = serde_json::to_string(&TrainingTime { seconds })?;
            Ok(fs::write(folder.join(TRAINING_TIME), time)?)
        })?;
        let time: TrainingTime = read_json(&folder.join(TRAINING_TIME))?;
        Ok(Trained {
            folder,
            pieces,
            training_secs: time.seconds,
        })
    }

    fn training_command(
        &self,
        pieces: &Path,
        settings: &AdapterSettings,
        folder: &Path,
    ) -> Command {
        let training = settings.training;
        let mut train = self.workspace.program("lora-train");
        train.arg("--data").arg(pieces);
        train.arg("--out").arg(folder.join(ADAPTER));
        train.arg("--run-dir").arg(folder.join("run"));
        for (flag, value) in [
            ("--steps", training.steps.to_string()),
            ("--seed", settings.seed.to_string()),
            ("--rank", training.rank.to_string()),
            ("--alpha", settings.alpha.to_string()),
            ("--dropout", training.dropout.to_string()),
            ("--preview-steps", "0".to_owned()),
            ("--tensorboard", "false".to_owned()),
            ("--threads", THREADS.to_owned()),
            ("--device", "cpu".to_owned()),
        ] {
            train.args([flag, &value]);
        }
        if !training.exclude.is_empty() {
            train.arg("--exclude").arg(training.exclude.join(","));
        }
        train
    }

    /// Clips of the base as it is, asked for with `prompt`; empty for none.
    pub(crate) fn base_clips(&self, prompt: &str) -> Result<PathBuf> {
        self.clips("base", None, prompt)
    }

    /// Clips with an adapter and without a prompt, from the same seeds as those of the base.
    pub(crate) fn adapter_clips(&self, adapter: &Trained) -> Result<PathBuf> {
        self.clips("adapted", Some(adapter), "")
    }

    fn clips(&self, name: &str, adapter: Option<&Trained>, prompt: &str) -> Result<PathBuf> {
        let settings = ClipSettings {
            base_sha256: &self.base_sha256,
            adapter: adapter.map(|adapter| name_of(&adapter.folder)),
            prompt,
            count: self.scale.clips,
            secs: self.scale.clip_secs,
        };
        let part = self
            .parts
            .part(&format!("clips-{name}"), &settings, |folder| {
                let mut infer = self.workspace.program("lora-infer");
                if let Some(adapter) = adapter {
                    infer.arg("--lora").arg(adapter.folder.join(ADAPTER));
                }
                infer.args(["--prompt", prompt, "--seed", "0"]);
                infer.args(["--count", &self.scale.clips.to_string()]);
                infer.args(["--seconds", &self.scale.clip_secs.to_string()]);
                infer.args(["--threads", THREADS, "--device", "cpu"]);
                infer.arg("--out").arg(folder.join("clips"));
                run(&mut infer)
            })?;
        Ok(part.join("clips"))
    }

    /// Measures the clips of a folder; their likeness to training pieces too, if a folder of these is given.
    pub(crate) fn measured(&self, clips: &Path, pieces: Option<&Path>) -> Result<Measured> {
        // Clips lie in a folder of their part: its name alone may be that of others.
        let mut part = clips.parent().map(name_of).unwrap_or_default();
        part.push('/');
        part.push_str(&name_of(clips));
        let settings = (
            measure::LAYOUT,
            features::statistics::VERSION,
            part,
            pieces.map(name_of),
        );
        let folder = self.parts.part("measured", &settings, |folder| {
            let measured = measure::clips(clips, pieces)?;
            let text = serde_json::to_string(&measured)?;
            Ok(fs::write(folder.join(measure::FILE), text)?)
        })?;
        read_json(&folder.join(measure::FILE))
    }

    /// The clips of an adapter, measured.
    pub(crate) fn measured_adapter(&self, adapter: &Trained) -> Result<Measured> {
        let clips = self.adapter_clips(adapter)?;
        self.measured(&clips, Some(&adapter.pieces))
    }
}

/// The hash of the base inside the programs, by which adapters know it: that of the one weight file in `lora/base`.
///
/// # Errors
/// When there is none or more than one, or it cannot be read.
pub(crate) fn embedded_base_sha256(root: &Path) -> Result<String> {
    let folder = root.join("lora/base");
    let listing = fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut weights = Vec::new();
    for entry in listing {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "safetensors")
        {
            weights.push(path);
        }
    }
    ensure!(
        weights.len() == 1,
        "{}: {} weight files, expected the embedded base alone",
        folder.display(),
        weights.len()
    );
    let bytes =
        fs::read(&weights[0]).with_context(|| format!("reading {}", weights[0].display()))?;
    Ok(hexadecimal(bytes))
}

fn build() -> Result<()> {
    eprintln!("building the programs ...");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--package=preprocess",
            "--package=lora",
        ])
        .args(["--bin=cut-music", "--bin=lora-train", "--bin=lora-infer"])
        .status()?;
    ensure!(status.success(), "the programs do not build");
    Ok(())
}

/// Runs a program; what it prints on standard output is not needed.
fn run(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("{program} did not start"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{}: delete its folder to make it again", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_base_is_the_one_weight_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lora/base");
        fs::create_dir_all(&folder).unwrap();
        assert!(embedded_base_sha256(root.path()).is_err());
        fs::write(folder.join("CARD.md"), "").unwrap();
        fs::write(folder.join("base.safetensors"), "abc").unwrap();
        let hash = embedded_base_sha256(root.path()).unwrap();
        assert!(hash.starts_with("ba7816bf") && hash.len() == 64);
        fs::write(folder.join("other.safetensors"), "abc").unwrap();
        assert!(embedded_base_sha256(root.path()).is_err());
    }
}
