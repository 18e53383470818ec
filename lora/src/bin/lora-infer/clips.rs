//! What the clips' files are called.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lora::LoraError;

use super::Arguments;
use super::adapters::parse;

/// One clip's seed and where it goes, with adapters and without.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) seed: u64,
    pub(crate) path: PathBuf,
    pub(crate) base_path: PathBuf,
}

/// Names for all clips, none of which replaces a file unless --force is given. In a folder, with --base-too, the two arms get a folder
/// each and equal names, as lora-eval pairs them.
pub(crate) fn name_clips(arguments: &Arguments) -> Result<Vec<Clip>> {
    let first_adapter = arguments
        .lora
        .first()
        .map(|argument| parse(argument))
        .transpose()?;
    let stem = first_adapter
        .and_then(|(path, _)| {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "base".to_owned());
    let out = arguments.out.as_deref();
    let file = out
        .map(|out| names_a_file(out, arguments.count))
        .transpose()?;
    let file = out.filter(|_| file == Some(true));
    let folders = match out {
        Some(folder) if file.is_none() && arguments.base_too => {
            Some((folder.join("adapter"), folder.join("base")))
        }
        Some(folder) if file.is_none() => Some((folder.to_owned(), folder.to_owned())),
        _ => None,
    };
    arguments
        .seed
        .checked_add(u64::from(arguments.count) - 1)
        .context("--seed and --count go beyond the largest seed")?;
    if let Some(folder) = file.and_then(Path::parent) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: the output folder cannot be made", folder.display()))?;
    }
    if let Some((folder, base_folder)) = &folders {
        for folder in [Some(folder), arguments.base_too.then_some(base_folder)]
            .into_iter()
            .flatten()
        {
            std::fs::create_dir_all(folder).with_context(|| {
                format!("{}: the output folder cannot be made", folder.display())
            })?;
        }
    }
    let folder = folders.as_ref().map(|(folder, _)| folder.as_path());
    let folder = folder.or_else(|| file.and_then(Path::parent));
    check_writable(folder.unwrap_or(Path::new("")))?;
    let mut clips = Vec::new();
    for offset in 0..u64::from(arguments.count) {
        let seed = arguments.seed + offset;
        let name = format!("{stem}-seed{seed}.wav");
        let (path, base_path) = match (file, &folders) {
            (Some(file), _) => (file.to_owned(), with_suffix(file, "-base")),
            (None, Some((folder, base_folder))) => (folder.join(&name), base_folder.join(&name)),
            (None, None) if arguments.force => {
                (PathBuf::from(&name), with_suffix(Path::new(&name), "-base"))
            }
            (None, None) => free_names(Path::new(&name)),
        };
        for path in [Some(&path), arguments.base_too.then_some(&base_path)]
            .into_iter()
            .flatten()
        {
            if path.exists() && !arguments.force {
                return Err(LoraError::Exists { path: path.clone() }.into());
            }
        }
        clips.push(Clip {
            seed,
            path,
            base_path,
        });
    }
    Ok(clips)
}

/// Nothing is more annoying than a folder that proves read-only when the clip is done.
fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".lora-infer-{}.part", std::process::id()));
    let written = std::fs::File::create_new(&probe).map(drop);
    // Best effort: an empty file is left at worst.
    let _ = std::fs::remove_file(&probe);
    let place = match folder.as_os_str().is_empty() {
        true => "this folder".to_owned(),
        false => folder.display().to_string(),
    };
    written.with_context(|| {
        format!("{place}: clips cannot be written there; --out names another place")
    })
}

/// Whether `--out` is one WAV file (otherwise it is a folder). Names that can only be meant as other sound files are refused.
fn names_a_file(out: &Path, count: u32) -> Result<bool> {
    const OTHER_SOUNDS: [&str; 12] = [
        "aac", "aif", "aifc", "aiff", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "wma",
    ];
    let ending = out.extension().map(|ending| ending.to_string_lossy());
    // A folder that is there is one, whatever its name.
    let ending = ending.filter(|_| !out.is_dir()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    if OTHER_SOUNDS.contains(&ending.as_str()) {
        bail!(
            "--out {}: clips are written as WAV only; name a .wav file or a folder",
            out.display()
        );
    }
    if ending == "wav" && count > 1 {
        bail!(
            "--out {}: one file cannot hold the {count} clips of --count; name a folder",
            out.display()
        );
    }
    Ok(ending == "wav")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{suffix}.wav"))
}

fn free_names(name: &Path) -> (PathBuf, PathBuf) {
    let numbered = |number: u32| {
        let path = if number == 1 {
            name.to_owned()
        } else {
            with_suffix(name, &format!("-{number}"))
        };
        let base_path = with_suffix(&path, "-base");
        (path, base_path)
    };
    let free = (1..u32::MAX)
        .map(numbered)
        .find(|(path, base_path)| !path.exists() && !base_path.exists());
    free.unwrap_or_else(|| numbered(1))
}
