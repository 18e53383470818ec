//! The folder of a run: what is in it, whether it is free, and that one program at a time works there.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{METRICS_FILE, REPORT_FILE};

use super::checkpoint::{self, CHECKPOINT_FOLDER};
use super::config::{CONFIG_FILE, TrainConfig};
use super::previews::PREVIEW_FOLDER;
use crate::error::LoraError;

/// The adapter that was best on the held-out songs.
pub(super) const BEST_FILE: &str = "best.safetensors";
const LOCK_FILE: &str = "lock";
/// What an adapter's name ends in.
const ENDING: &str = "safetensors";
/// The run's other files. Checkpoints are removed before them, so that a run that is being replaced can never be resumed without these.
const FILES: [&str; 4] = [METRICS_FILE, BEST_FILE, REPORT_FILE, CONFIG_FILE];

/// Whether a fresh run would find its files' names free. A run that has not made a step yet is no loss.
///
/// # Errors
/// [`LoraError::EarlierRun`] with the first file that is there.
pub(super) fn check_free(config: &TrainConfig) -> Result<(), LoraError> {
    let taken = |path: PathBuf| Err(LoraError::EarlierRun { path });
    if config.out.exists() {
        return taken(config.out.clone());
    }
    let steps = checkpoint::steps(&config.run_dir);
    let has_begun = steps.iter().any(|step| *step > 0);
    if has_begun {
        return taken(config.run_dir.join(CHECKPOINT_FOLDER));
    }
    if !steps.is_empty() {
        return Ok(());
    }
    let mut files = FILES.iter().map(|name| config.run_dir.join(name));
    files.find(|path| path.exists()).map_or(Ok(()), taken)
}

/// Removes what an earlier run left.
pub(super) fn clear(run_dir: &Path) -> Result<(), LoraError> {
    for folder in [CHECKPOINT_FOLDER, PREVIEW_FOLDER] {
        let folder = run_dir.join(folder);
        let removed = match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        removed.map_err(LoraError::file(folder))?;
    }
    for name in FILES {
        let path = run_dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LoraError::file(path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the adapter can be written where it is to go, so that this does not show after the training. Makes its folder.
///
/// # Errors
/// When the name is a folder's or the run folder's, has another ending than the format's, lies among the pieces, is that of something the
/// run reads, or nothing can be written beside it.
pub(super) fn check_out(config: &TrainConfig) -> Result<(), LoraError> {
    let bad = |problem: &str| {
        let (path, problem) = (config.out.clone(), problem.to_owned());
        Err(LoraError::BadFile { path, problem })
    };
    if config.out.is_dir() {
        return bad("is a folder; --out names the adapter's file");
    }
    if config.out == config.run_dir {
        return bad("is the adapter's name and the run folder's too; --run-dir names another");
    }
    if config.run_dir == config.data {
        let path = config.run_dir.clone();
        let problem = "is the folder of the pieces; --run-dir names another".to_owned();
        return Err(LoraError::BadFile { path, problem });
    }
    if config.out.extension().is_none_or(|ending| ending != ENDING) {
        return bad("an adapter's name ends in .safetensors; --out names its file");
    }
    if is_within(&config.out, &config.data) {
        return bad(
            "is in the folder of the pieces, which are only read; --out names another place",
        );
    }
    if let Some(read) = read_by(config).find(|path| is_same_or_holds(path, &config.out)) {
        return bad(&format!(
            "would replace what this run reads ({}), even --force does not; --out names another file",
            read.display()
        ));
    }
    let folder = config.out.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(LoraError::file(folder))?;
    let mut probe = config.out.clone().into_os_string();
    probe.push(".probe");
    let probe = PathBuf::from(probe);
    let written = std::fs::write(&probe, []).and_then(|()| std::fs::remove_file(&probe));
    written.map_err(LoraError::file(&config.out))
}

/// Files and folders that a run reads beside its pieces, as far as they are named by a path. A model's name is no path that exists.
fn read_by(config: &TrainConfig) -> impl Iterator<Item = PathBuf> {
    let pieces = dataset::read_manifest(&config.data).unwrap_or_default();
    let pieces = pieces.into_iter().map(|piece| config.data.join(piece.path));
    let others = [&config.vae, &config.style_encoder, &config.lyrics_data];
    let others = others.into_iter().flatten().cloned();
    std::iter::once(PathBuf::from(&config.model))
        .chain(others)
        .chain(pieces)
}

/// Whether a file that may not be there yet is, or would be, somewhere below a folder.
fn is_within(file: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let place = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    // The first of its folders that is there tells where the others will be.
    let there = place.ancestors().find_map(|it| it.canonicalize().ok());
    there.is_some_and(|there| there.starts_with(folder))
}

/// Whether `file` is there, and is `path` or a file below it.
fn is_same_or_holds(path: &Path, file: &Path) -> bool {
    match (path.canonicalize(), file.canonicalize()) {
        (Ok(path), Ok(file)) => file.starts_with(path),
        _ => false,
    }
}

/// Whether a program trains in a run folder now.
pub fn is_at_work(run_dir: &Path) -> bool {
    let file = File::open(run_dir.join(LOCK_FILE));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Held while a program works in the folder; the system gives it back however the program ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Makes the folder and takes it.
    ///
    /// # Errors
    /// When another program has it.
    pub(crate) fn take(run_dir: &Path) -> Result<Self, LoraError> {
        std::fs::create_dir_all(run_dir).map_err(LoraError::file(run_dir))?;
        let path = run_dir.join(LOCK_FILE);
        let file = File::create(&path).map_err(LoraError::file(&path))?;
        match file.try_lock() {
            Ok(()) => {
                // Nobody else writes here now.
                for folder in [run_dir.to_owned(), run_dir.join(CHECKPOINT_FOLDER)] {
                    dataset::remove_stale_parts(&folder, Duration::ZERO);
                }
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => Err(LoraError::BadFile {
                path: run_dir.to_owned(),
                problem: "another lora-train is at work in this folder; wait for it, or name another with --run-dir".to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(LoraError::File { path, source }),
        }
    }
}
