//! Files that are either complete under their name or not there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const EXTENSION: &str = ".part";
/// Parts that this process began.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// A file written aside as `NAME.PROCESS-NUMBER.part` in the same folder, renamed by
/// [`PartFile::commit`].
///
/// Dropped without it, the part is deleted. No two parts have one name, so two writers of one
/// file never write into each other's bytes, and what a dead process left is in nobody's way:
/// the writer that commits last wins, with a whole file.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl PartFile {
    /// Starts a file that is to be `path`.
    ///
    /// # Errors
    /// When `path` has no file name, or its folder takes no file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            let number = PARTS.fetch_add(1, Ordering::Relaxed);
            let mut part_name: OsString = name.to_owned();
            part_name.push(format!(".{}-{number}{EXTENSION}", std::process::id()));
            let part = path.with_file_name(part_name);
            let file = match OpenOptions::new().write(true).create_new(true).open(&part) {
                Ok(file) => file,
                // Left by a dead process that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            return Ok(Self {
                path: path.to_owned(),
                part,
                file: Some(BufWriter::with_capacity(1 << 16, file)),
            });
        }
    }

    /// The name that a part named `part_name` would have got, or `None` when that is no part.
    ///
    /// ```
    /// assert_eq!(audio::PartFile::final_name("a.wav.71-2.part"), Some("a.wav"));
    /// assert_eq!(audio::PartFile::final_name("a.wav"), None);
    /// ```
    #[must_use]
    pub fn final_name(part_name: &str) -> Option<&str> {
        let name = part_name.strip_suffix(EXTENSION)?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match name.rsplit_once('.') {
            Some((name, mark))
                if mark
                    .split_once('-')
                    .is_some_and(|(process, number)| is_number(process) && is_number(number)) =>
            {
                Some(name)
            }
            _ => Some(name),
        }
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

    #[test]
    fn two_writers_and_a_dead_one_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        // What a process of the same number would have left, had it died.
        let next = PARTS.load(Ordering::Relaxed);
        for number in next..next + 50 {
            let stale = format!("a.wav.{}-{number}.part", std::process::id());
            fs::write(folder.path().join(stale), "stale").unwrap();
        }
        let mut first = PartFile::create(&path).unwrap();
        let mut second = PartFile::create(&path).unwrap();
        first.write_all(b"first").unwrap();
        second.write_all(b"second, longer").unwrap();
        second.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second, longer");
        first.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn parts_know_their_final_name() {
        assert_eq!(PartFile::final_name("a-0001.wav.part"), Some("a-0001.wav"));
        assert_eq!(PartFile::final_name("a.12-x.part"), Some("a.12-x"));
        let path = Path::new("b.wav");
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::create(&folder.path().join(path)).unwrap();
        let name = part.part.file_name().unwrap().to_str().unwrap();
        assert_eq!(PartFile::final_name(name), path.to_str());
    }
}
