//! What can go wrong with a run's files, each said once with what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of this crate. The cause is the error's source, not part of its text.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file could not be read or written.
    #[error("{path} cannot be read or written; check the path, its permissions and the space left")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A new journal would replace that of an earlier run.
    #[error(
        "{path} is there already, from an earlier run; resume that run, name another folder or move the file away"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl JournalError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
