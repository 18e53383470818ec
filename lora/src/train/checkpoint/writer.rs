//! Checkpoints are brought to the disk beside the training: a slow disk costs no steps.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::Checkpoint;
use super::folder::{self, CHECKPOINT_FOLDER};
use crate::error::LoraError;

/// Writes one checkpoint at a time.
#[derive(Debug)]
pub(in crate::train) struct Writer {
    run_dir: PathBuf,
    keep: usize,
    writing: Option<JoinHandle<Result<(), LoraError>>>,
}

impl Writer {
    /// For the checkpoints of this run, of which the newest `keep` stay.
    pub(in crate::train) fn new(run_dir: &Path, keep: usize) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            keep,
            writing: None,
        }
    }

    /// Begins to write, after the checkpoint before is on the disk.
    ///
    /// # Errors
    /// Those of the checkpoint before.
    pub(in crate::train) fn begin(&mut self, checkpoint: Checkpoint) -> Result<(), LoraError> {
        self.wait()?;
        let (run_dir, keep) = (self.run_dir.clone(), self.keep);
        self.writing = Some(std::thread::spawn(move || {
            write(&checkpoint, &run_dir, keep)
        }));
        Ok(())
    }

    /// Whether the last one failed; does not wait.
    ///
    /// # Errors
    /// When it could not be written.
    pub(in crate::train) fn check(&mut self) -> Result<(), LoraError> {
        match &self.writing {
            Some(writing) if writing.is_finished() => self.wait(),
            _ => Ok(()),
        }
    }

    /// Waits until the last one is on the disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub(in crate::train) fn wait(&mut self) -> Result<(), LoraError> {
        match self.writing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(_)) => Err(LoraError::BadFile {
                path: self.run_dir.join(CHECKPOINT_FOLDER),
                problem: "the checkpoint could not be written: its thread ended early".to_owned(),
            }),
        }
    }
}

impl Drop for Writer {
    /// A run that ends in an error still leaves its last checkpoint whole; the error that is told is the run's.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

fn write(checkpoint: &Checkpoint, run_dir: &Path, keep: usize) -> Result<(), LoraError> {
    let path = folder::path(run_dir, checkpoint.now.state.step);
    let bytes = checkpoint
        .to_bytes()
        .map_err(|problem| LoraError::BadFile {
            path: path.clone(),
            problem,
        })?;
    let directory = run_dir.join(CHECKPOINT_FOLDER);
    std::fs::create_dir_all(&directory).map_err(LoraError::file(&directory))?;
    dataset::write_aside(&path, &bytes).map_err(LoraError::file(&path))?;
    folder::prune(run_dir, keep);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::checkpoint;
    use super::*;

    #[test]
    fn written_in_order_and_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path(), 2);
        for step in [0, 1, 2, 3] {
            writer.begin(checkpoint(step)).unwrap();
        }
        writer.wait().unwrap();
        assert_eq!(folder::steps(folder.path()), [2, 3]);
    }

    #[test]
    fn a_failure_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CHECKPOINT_FOLDER), "in the way").unwrap();
        let mut writer = Writer::new(folder.path(), 2);
        writer.begin(checkpoint(1)).unwrap();
        let error = writer.wait().unwrap_err().to_string();
        assert!(error.contains(CHECKPOINT_FOLDER), "{error}");
        assert!(writer.wait().is_ok());
    }
}
