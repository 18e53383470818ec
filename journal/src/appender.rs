//! A file that only grows, by whole entries.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::JournalError;

/// Each entry is one write; what a failed one left behind (a full disk) is cut off again, so that the next does not start within it.
#[derive(Debug)]
pub(crate) struct Appender {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Appender {
    /// Makes the file.
    ///
    /// # Errors
    /// When it is there already or cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, JournalError> {
        Self::open(path, OpenOptions::new().create_new(true)).map_err(|error| match error {
            JournalError::File { path, source }
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                JournalError::Exists { path }
            }
            other => other,
        })
    }

    /// Goes on at the end of a file that is there.
    pub(crate) fn resume(path: &Path) -> Result<Self, JournalError> {
        Self::open(path, &mut OpenOptions::new())
    }

    fn open(path: &Path, options: &mut OpenOptions) -> Result<Self, JournalError> {
        let mut open = || {
            let file = options.append(true).open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(JournalError::file(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
        })
    }

    pub(crate) fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        if let Err(source) = self.file.write_all(entry) {
            let _ = self.file.set_len(self.length);
            return Err(JournalError::file(&self.path)(source));
        }
        self.length += entry.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        self.file
            .sync_data()
            .map_err(JournalError::file(&self.path))
    }
}
