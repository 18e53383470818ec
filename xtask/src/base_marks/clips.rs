//! Clips by `lora-infer`, each with a note of its inputs beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A clip of a style, from a seed.
#[derive(Debug, Serialize)]
pub(super) struct Clip {
    /// Relative to the folder of the run.
    pub(super) path: String,
    pub(super) style: &'static str,
    pub(super) seed: u64,
}

/// `lora-infer` and its base. Another build may give other samples, so that its content counts, and not its version.
#[derive(Debug, Serialize)]
pub(super) struct Generator {
    #[serde(skip)]
    program: PathBuf,
    #[serde(skip)]
    model: Option<PathBuf>,
    program_sha256: String,
    /// None for the base inside the program.
    model_sha256: Option<String>,
}

/// Everything that a clip depends on.
#[derive(Serialize)]
struct Inputs<'a> {
    generator: &'a Generator,
    arguments: &'a [&'a str],
}

impl Generator {
    /// # Errors
    /// When the program or the model cannot be read.
    pub(super) fn new(program: PathBuf, model: Option<&Path>) -> Result<Self> {
        Ok(Self {
            program_sha256: sha256(&program)?,
            model_sha256: model.map(sha256).transpose()?,
            program,
            model: model.map(Path::to_owned),
        })
    }

    /// Makes the clip unless it is there, made from the same inputs.
    ///
    /// # Errors
    /// When the program fails, or files cannot be written.
    pub(super) fn make(
        &self,
        folder: &Path,
        clip: &Clip,
        prompt: &str,
        length: [&str; 2],
    ) -> Result<()> {
        let seed = clip.seed.to_string();
        let arguments = ["--prompt", prompt, "--seed", &seed, length[0], length[1]];
        let inputs = serde_json::to_string(&Inputs {
            generator: self,
            arguments: &arguments,
        })?;
        let sound = folder.join(&clip.path);
        let note = sound.with_extension("json");
        let is_there = sound.is_file();
        if is_there && fs::read_to_string(&note).is_ok_and(|there| there == inputs) {
            return Ok(());
        }
        if note.exists() {
            fs::remove_file(&note).with_context(|| format!("removing {}", note.display()))?;
        }
        if let Some(parent) = sound.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        eprintln!("{} ...", clip.path);
        self.generate(&arguments, &sound)?;
        // Last: a clip without its note is made again.
        fs::write(&note, inputs).with_context(|| format!("writing {}", note.display()))
    }

    fn generate(&self, arguments: &[&str], sound: &Path) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--out")
            .arg(sound)
            .arg("--force");
        if let Some(model) = &self.model {
            command.arg("--model").arg(model);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} did not start", self.program.display()))?;
        ensure!(
            output.status.success(),
            "{command:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let digest = Sha256::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Writes its arguments to the file after `--out`, a line for each time it is called.
    const PROGRAM: &str = "#!/bin/sh\necho \"$@\" >> \"$8\"\n";

    /// Written by another process: a file that a fork of this one still has open for writing cannot be started.
    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("lora-infer");
        let written = Command::new("sh")
            .args([
                "-c",
                "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"",
                "sh",
                text,
            ])
            .arg(&path)
            .status();
        assert!(written.is_ok_and(|status| status.success()));
        path
    }

    fn clip() -> Clip {
        Clip {
            path: "clips/house-seed1.wav".to_owned(),
            style: "house",
            seed: 1,
        }
    }

    #[test]
    fn a_clip_is_made_again_only_when_its_inputs_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, clip) = (folder.path(), clip());
        let model = folder.join("base.safetensors");
        fs::write(&model, "weights").unwrap();
        let path = program(folder, PROGRAM);
        let make = |model: Option<&Path>, prompt: &str| {
            let generator = Generator::new(path.clone(), model).unwrap();
            let made = generator.make(folder, &clip, prompt, ["--seconds", "6"]);
            made.unwrap();
            let text = fs::read_to_string(folder.join(&clip.path)).unwrap();
            text.lines().count()
        };
        assert_eq!(make(None, "house"), 1);
        assert_eq!(make(None, "house"), 1);
        assert_eq!(make(None, "house, dark"), 2, "another prompt");
        assert_eq!(make(Some(&model), "house, dark"), 3, "another base");
        fs::write(&model, "other weights").unwrap();
        assert_eq!(make(Some(&model), "house, dark"), 4, "its content counts");
        assert_eq!(make(Some(&model), "house, dark"), 4);
        program(folder, &format!("{PROGRAM}# another build\n"));
        assert_eq!(make(Some(&model), "house, dark"), 5, "another program");
        fs::remove_file(folder.join("clips/house-seed1.json")).unwrap();
        assert_eq!(make(Some(&model), "house, dark"), 6, "not finished");
        let text = fs::read_to_string(folder.join(&clip.path)).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("--prompt house --seed 1 --seconds 6 --out"));
    }

    #[test]
    fn a_program_that_fails_says_why_and_leaves_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho no such tag >&2\nexit 1\n");
        let generator = Generator::new(path, None).unwrap();
        let made = generator.make(folder.path(), &clip(), "house", ["--seconds", "6"]);
        assert!(made.unwrap_err().to_string().contains("no such tag"));
        assert!(!folder.path().join("clips/house-seed1.json").exists());
    }

    #[test]
    fn a_missing_program_or_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("lora-infer");
        let error = Generator::new(missing.clone(), None).unwrap_err();
        assert!(error.to_string().contains("lora-infer"), "{error:?}");
        let path = program(folder.path(), PROGRAM);
        let error = Generator::new(path, Some(&folder.path().join("none.safetensors")));
        assert!(error.unwrap_err().to_string().contains("none.safetensors"));
    }
}
