//! The file that is written: aside first, under its name when it has been read back.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::PIECE_BYTES;
use crate::progress::{Progress, advance};
use crate::{CheckpointError, TensorFile};

/// A file in the making. Dropped before [`Output::finish`], it is deleted.
pub(super) struct Output {
    path: PathBuf,
    overwrite: bool,
    part: BufWriter<NamedTempFile>,
    hasher: Sha256,
    bytes: u64,
}

impl Output {
    /// Starts a file beside `path`.
    pub(super) fn create(path: &Path, overwrite: bool) -> Result<Self, CheckpointError> {
        let write_error = |source| CheckpointError::Write {
            path: path.to_owned(),
            source,
        };
        let name = path
            .file_name()
            .ok_or_else(|| write_error(io::ErrorKind::InvalidInput.into()))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut prefix = name.to_owned();
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What any new file gets; the system takes off what the user's mask says.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let part = builder
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(write_error)?;
        Ok(Self {
            path: path.to_owned(),
            overwrite,
            part: BufWriter::with_capacity(1 << 16, part),
            hasher: Sha256::new(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        let outcome = self.part.write_all(bytes);
        outcome.map_err(|source| self.failed(source))
    }

    /// Syncs, reads everything back, and renames. Gives the length and the hash.
    pub(super) fn finish(
        mut self,
        tensors: usize,
        progress: &dyn Progress,
    ) -> Result<(u64, String), CheckpointError> {
        let synced = self
            .part
            .flush()
            .and_then(|()| self.part.get_ref().as_file().sync_all());
        synced.map_err(|source| self.failed(source))?;
        let written = hexadecimal(&std::mem::take(&mut self.hasher).finalize());
        self.compare(&written, tensors, progress)?;
        let Self {
            path,
            overwrite,
            part,
            bytes,
            ..
        } = self;
        let (part, _) = part.into_parts();
        let renamed = if overwrite {
            part.persist(&path)
        } else {
            part.persist_noclobber(&path)
        };
        match renamed {
            Ok(_) => {
                sync_folder(&path);
                Ok((bytes, written))
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(CheckpointError::Exists { path })
            }
            Err(error) => Err(CheckpointError::Write {
                path,
                source: error.error,
            }),
        }
    }

    fn compare(
        &self,
        written: &str,
        tensors: usize,
        progress: &dyn Progress,
    ) -> Result<(), CheckpointError> {
        progress.begin("reading back", self.bytes);
        let part = self.part.get_ref();
        let mut file = part.reopen().map_err(|source| self.failed(source))?;
        let read = self.hash(&mut file, progress)?;
        progress.end();
        if read != written {
            return Err(self.unfaithful(format!("SHA-256 {read} for {written}")));
        }
        let opened =
            TensorFile::open(part.path()).map_err(|error| self.unfaithful(error.to_string()))?;
        match opened.names().count() {
            found if found == tensors => Ok(()),
            found => Err(self.unfaithful(format!("{found} tensors for {tensors}"))),
        }
    }

    fn hash(&self, file: &mut File, progress: &dyn Progress) -> Result<String, CheckpointError> {
        file.rewind().map_err(|source| self.failed(source))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match file
                .read(&mut buffer)
                .map_err(|source| self.failed(source))?
            {
                0 => return Ok(hexadecimal(&hasher.finalize())),
                got => {
                    hasher.update(&buffer[..got]);
                    advance(progress, got)?;
                }
            }
        }
    }

    pub(super) fn unfaithful(&self, detail: String) -> CheckpointError {
        CheckpointError::Unfaithful {
            path: self.path.clone(),
            detail,
        }
    }

    fn failed(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// The name is on the disk only when its folder is. Not every system opens folders; the contents are safe without.
fn sync_folder(path: &Path) {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(folder) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

/// Two digits a byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
