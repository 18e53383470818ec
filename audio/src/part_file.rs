//! Files that are either complete under their name or not there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file written aside as `NAME.part` in the same folder, renamed by [`PartFile::commit`].
///
/// Dropped without it, the part is deleted.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl PartFile {
    /// Starts a file that is to be `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut name: OsString = path
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part)?;
        Ok(Self {
            path: path.to_owned(),
            part,
            file: Some(BufWriter::with_capacity(1 << 16, file)),
        })
    }

    /// Brings the bytes to the disk, then the file to its name.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            let outcome = file
                .flush()
                .and_then(|()| file.get_ref().sync_data())
                .and_then(|()| fs::rename(&self.part, &self.path));
            if outcome.is_err() {
                // Forget the unwritten rest: flushing it again on drop would fail again.
                let _ = file.into_parts();
                let _ = fs::remove_file(&self.part);
            }
            return outcome;
        }
        Ok(())
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.into_parts();
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let count = || fs::read_dir(folder.path()).unwrap().count();

        let mut part = PartFile::create(&path).unwrap();
        part.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(part);
        assert_eq!(count(), 0);

        let mut part = PartFile::create(&path).unwrap();
        part.write_all(b"whole").unwrap();
        part.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(count(), 1);
    }
}
