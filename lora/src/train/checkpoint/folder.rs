//! Where the checkpoints of a run lie: a file each, named by its step.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::Checkpoint;
use crate::error::LoraError;

/// The folder inside the run's.
pub(in crate::train) const CHECKPOINT_FOLDER: &str = "checkpoints";
const ENDING: &str = ".safetensors";
const BEGINNING: &str = "step-";

/// The file of a step.
pub(super) fn path(run_dir: &Path, step: usize) -> PathBuf {
    run_dir
        .join(CHECKPOINT_FOLDER)
        .join(format!("{BEGINNING}{step:08}{ENDING}"))
}

/// The steps that there are checkpoints of, lowest first; none if there is no such folder.
pub(in crate::train) fn steps(run_dir: &Path) -> Vec<usize> {
    let entries = std::fs::read_dir(run_dir.join(CHECKPOINT_FOLDER));
    let names = entries.into_iter().flatten().flatten();
    let mut steps: Vec<usize> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(BEGINNING)?.strip_suffix(ENDING)?;
            number.parse().ok()
        })
        .collect();
    steps.sort_unstable();
    steps
}

/// Removes all but the newest `keep` checkpoints. That an old one stays costs only space, so that no failure is told.
pub(super) fn prune(run_dir: &Path, keep: usize) {
    let steps = steps(run_dir);
    for step in &steps[..steps.len().saturating_sub(keep.max(1))] {
        let _ = std::fs::remove_file(path(run_dir, *step));
    }
}

/// The newest checkpoint that can be read, and what is wrong with the newer ones; none if the run has none yet.
///
/// # Errors
/// [`LoraError::BadFile`] if there are checkpoints and none can be read.
pub(in crate::train) fn newest(
    run_dir: &Path,
    device: &Device,
) -> Result<(Option<Checkpoint>, Vec<String>), LoraError> {
    let mut damaged = Vec::new();
    for step in steps(run_dir).into_iter().rev() {
        let path = path(run_dir, step);
        match Checkpoint::from_file(&path, device) {
            Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
            Err(problem) => damaged.push(format!("{}: {problem}", path.display())),
        }
    }
    if damaged.is_empty() {
        return Ok((None, damaged));
    }
    Err(LoraError::BadFile {
        path: run_dir.join(CHECKPOINT_FOLDER),
        problem: format!(
            "no checkpoint can be read ({}); begin the run again with --force",
            damaged.join("; ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::checkpoint;
    use super::*;

    fn save(run_dir: &Path, step: usize) {
        std::fs::create_dir_all(run_dir.join(CHECKPOINT_FOLDER)).unwrap();
        let bytes = checkpoint(step).to_bytes().unwrap();
        std::fs::write(path(run_dir, step), bytes).unwrap();
    }

    #[test]
    fn the_newest_that_can_be_read_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path();
        assert!(newest(run_dir, &Device::Cpu).unwrap().0.is_none());
        for step in [5, 10, 100_000_000] {
            save(run_dir, step);
        }
        std::fs::write(path(run_dir, 100_000_000), "torn").unwrap();
        let (found, damaged) = newest(run_dir, &Device::Cpu).unwrap();
        assert_eq!(found.unwrap().now.state.step, 10);
        assert!(damaged[0].contains("step-100000000"), "{damaged:?}");
        for step in [5, 10] {
            std::fs::write(path(run_dir, step), "torn").unwrap();
        }
        let error = newest(run_dir, &Device::Cpu).unwrap_err().to_string();
        assert!(
            error.contains("--force") && error.contains("step-00000005"),
            "{error}"
        );
    }

    #[test]
    fn the_newest_are_kept_and_other_files_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for step in [0, 50, 100, 150] {
            save(folder.path(), step);
        }
        let other = folder
            .path()
            .join(CHECKPOINT_FOLDER)
            .join("step-x.safetensors");
        std::fs::write(&other, "mine").unwrap();
        prune(folder.path(), 2);
        assert_eq!(steps(folder.path()), [100, 150]);
        assert!(other.exists());
    }
}
