//! The output folder: what earlier runs left in it, and what may be touched.
//!
//! ```text
//! OUTPUT/NAME-0001.wav ...        pieces
//! OUTPUT/manifest.jsonl           what they are
//! OUTPUT/cut-music.json           settings they were cut with
//! OUTPUT/.cut-music/lock          held while a run writes
//! OUTPUT/.cut-music/pending-*     files that a run is about to write
//! OUTPUT/.cut-music/staged/NAME/  pieces that are to replace others, until all of them are there
//! ```
//!
//! Pieces appear before the manifest that lists them, so a run that dies in between leaves
//! pieces that nothing lists. The pending notes, written before the first piece, tell the next
//! run that those files are its own to delete.
//!
//! Pieces that replace others are first written aside. Only when a song's are complete do they
//! take the place of the old ones: those leave the manifest, then the files are exchanged, then
//! the new ones are listed.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use audio::PartFile;
use dataset::{MANIFEST_NAME, Piece, read_manifest, write_aside};
use serde::{Deserialize, Serialize};

use crate::names::{piece_name, stem_of};
use crate::{CutError, Settings};

const RECORD_NAME: &str = "cut-music.json";
const RECORD_VERSION: u32 = 1;
const HIDDEN_FOLDER: &str = ".cut-music";
const PENDING_PREFIX: &str = "pending-";
/// Stands for a stem in the note of an exchange; no stem starts with a dot.
const EXCHANGE: &str = ".exchange";
const STAGED_FOLDER: &str = "staged";

/// What the pieces in a folder were cut with.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    program: String,
    settings: Settings,
    /// Hashes of songs whose pieces were cut with other settings, because a run with `--force`
    /// ended before it came to them or did not find them in its input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outdated: Vec<String>,
}

/// Files that a run is about to write.
#[derive(Serialize, Deserialize)]
struct Pending {
    files: Vec<String>,
}

/// An output folder that this run may write into.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) folder: PathBuf,
    /// Pieces of earlier runs.
    pub(crate) pieces: Vec<Piece>,
    /// Hashes of the songs among them that were cut with other settings than this run's.
    pub(crate) outdated: HashSet<String>,
    /// Released when dropped.
    _lock: Option<File>,
}

impl Output {
    /// Opens the folder. With `is_dry` nothing is written, and nothing need be there.
    pub(crate) fn open(
        folder: &Path,
        settings: &Settings,
        force: bool,
        is_dry: bool,
    ) -> Result<Self, CutError> {
        let lock = if is_dry { None } else { Some(lock(folder)?) };
        let has_manifest = folder.join(MANIFEST_NAME).symlink_metadata().is_ok();
        let record = read_record(folder)?;
        if has_manifest && record.is_none() {
            return Err(CutError::Foreign {
                path: folder.join(MANIFEST_NAME),
            });
        }
        let pieces = if has_manifest {
            read_manifest(folder)?
        } else {
            Vec::new()
        };
        let mut outdated = HashSet::new();
        if let Some(record) = record.filter(|_| !pieces.is_empty()) {
            if record.settings == *settings {
                outdated.extend(record.outdated);
            } else if force {
                outdated.extend(pieces.iter().map(|piece| piece.source_hash.clone()));
            } else {
                return Err(CutError::ChangedSettings {
                    output: folder.to_owned(),
                    differences: differences(&record.settings, settings),
                });
            }
        }
        let output = Self {
            folder: folder.to_owned(),
            pieces,
            outdated,
            _lock: lock,
        };
        if !is_dry {
            output.settle(&output.pieces)?;
        }
        Ok(output)
    }

    /// Refuses to go on when a file that is not ours has the name of a piece to come.
    pub(crate) fn check_foreign<'s>(
        &self,
        stems: impl Iterator<Item = &'s str>,
    ) -> Result<(), CutError> {
        let own: HashSet<&str> = self
            .pieces
            .iter()
            .map(|piece| piece.path.as_str())
            .collect();
        let lower: HashSet<String> = stems.map(str::to_lowercase).collect();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(unwritable(&self.folder, source)),
        };
        let mut foreign: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return false;
                };
                let is_ours_to_write =
                    stem_of(name).is_some_and(|stem| lower.contains(&stem.to_lowercase()));
                is_ours_to_write && !own.contains(name)
            })
            .map(|entry| entry.path())
            .collect();
        foreign.sort();
        match foreign.into_iter().next() {
            Some(path) => Err(CutError::Foreign { path }),
            None => Ok(()),
        }
    }

    /// Writes the record of settings, with the songs that were cut with others.
    pub(crate) fn write_record(
        &self,
        settings: &Settings,
        outdated: &HashSet<String>,
    ) -> Result<(), CutError> {
        let mut outdated: Vec<String> = outdated.iter().cloned().collect();
        outdated.sort();
        let record = Record {
            version: RECORD_VERSION,
            program: format!("cut-music {}", env!("CARGO_PKG_VERSION")),
            settings: settings.clone(),
            outdated,
        };
        let path = self.folder.join(RECORD_NAME);
        let bytes =
            serde_json::to_vec_pretty(&record).map_err(|error| unwritable(&path, error.into()))?;
        write_aside(&path, &bytes).map_err(|source| unwritable(&path, source))
    }

    /// Where the pieces of a song that is cut again are written; made where needed.
    pub(crate) fn stage(&self, stem: &str) -> Result<PathBuf, CutError> {
        let folder = self.staged_path(stem);
        fs::create_dir_all(&folder).map_err(|source| unwritable(&folder, source))?;
        Ok(folder)
    }

    /// Deletes what was staged for one song.
    pub(crate) fn unstage(&self, stem: &str) {
        if let Err(error) = fs::remove_dir_all(self.staged_path(stem)) {
            tracing::debug!("staged pieces of {stem}: {error}");
        }
    }

    fn staged_path(&self, stem: &str) -> PathBuf {
        self.folder
            .join(HIDDEN_FOLDER)
            .join(STAGED_FOLDER)
            .join(stem)
    }

    /// Notes that new pieces are about to take the place of old ones: a run that finds the note
    /// deletes those that the manifest does not list. Refuses to touch a file that is not ours.
    pub(crate) fn announce_exchange<'p>(
        &self,
        replacements: impl Iterator<Item = (&'p [Piece], &'p [Piece])>,
    ) -> Result<(), CutError> {
        let mut files = Vec::new();
        for (old, new) in replacements {
            let own: HashSet<String> = old.iter().map(|piece| piece.path.to_lowercase()).collect();
            for piece in new {
                let path = self.folder.join(&piece.path);
                if !own.contains(&piece.path.to_lowercase()) && path.symlink_metadata().is_ok() {
                    return Err(CutError::Foreign { path });
                }
            }
            files.extend(old.iter().chain(new).map(|piece| piece.path.clone()));
        }
        self.note_pending(EXCHANGE, files)
    }

    /// Takes the note of an exchange back: the manifest lists the new files.
    pub(crate) fn withdraw_exchange(&self) {
        self.withdraw(EXCHANGE);
    }

    /// Deletes `old` pieces, which no manifest lists any more, and brings the staged `new` ones
    /// to their names.
    pub(crate) fn exchange(
        &self,
        stem: &str,
        old: &[Piece],
        new: &[Piece],
    ) -> Result<(), CutError> {
        for piece in old {
            remove_piece(&self.folder, &piece.path);
        }
        let staged = self.staged_path(stem);
        for piece in new {
            let path = self.folder.join(&piece.path);
            if path.symlink_metadata().is_ok() {
                return Err(CutError::Foreign { path });
            }
            fs::rename(staged.join(&piece.path), &path)
                .map_err(|source| unwritable(&path, source))?;
        }
        self.unstage(stem);
        Ok(())
    }

    /// Notes the pieces that are about to be written.
    pub(crate) fn announce(&self, stem: &str, count: usize) -> Result<(), CutError> {
        self.note_pending(
            stem,
            (1..=count).map(|number| piece_name(stem, number)).collect(),
        )
    }

    fn note_pending(&self, stem: &str, files: Vec<String>) -> Result<(), CutError> {
        let path = self.pending_path(stem);
        let bytes = serde_json::to_vec(&Pending { files })
            .map_err(|error| unwritable(&path, error.into()))?;
        write_aside(&path, &bytes).map_err(|source| unwritable(&path, source))
    }

    /// Takes a note back: its pieces are listed, or were never written.
    pub(crate) fn withdraw(&self, stem: &str) {
        // A note that stays is harmless: its files are listed by then, and not deleted.
        if let Err(error) = fs::remove_file(self.pending_path(stem)) {
            tracing::debug!("pending note of {stem}: {error}");
        }
    }

    /// Deletes the files of one note, listed nowhere.
    pub(crate) fn discard(&self, stem: &str, count: usize) {
        for number in 1..=count {
            remove_piece(&self.folder, &piece_name(stem, number));
        }
        self.withdraw(stem);
    }

    fn pending_path(&self, stem: &str) -> PathBuf {
        self.folder
            .join(HIDDEN_FOLDER)
            .join(format!("{PENDING_PREFIX}{stem}"))
    }

    /// Deletes what earlier runs wrote or began to write and `listed` does not name.
    pub(crate) fn settle(&self, listed: &[Piece]) -> Result<(), CutError> {
        let hidden = self.folder.join(HIDDEN_FOLDER);
        let listed: HashSet<&str> = listed.iter().map(|piece| piece.path.as_str()).collect();
        for name in [MANIFEST_NAME, RECORD_NAME] {
            let _ = fs::remove_file(self.folder.join(format!("{name}.part")));
        }
        let _ = fs::remove_dir_all(hidden.join(STAGED_FOLDER));
        let mut notes = Vec::new();
        let mut announced = HashSet::new();
        for entry in fs::read_dir(&hidden)
            .map_err(|source| unwritable(&hidden, source))?
            .flatten()
        {
            let name = entry.file_name();
            let is_note = name.to_string_lossy().starts_with(PENDING_PREFIX);
            if !is_note {
                continue;
            }
            // A note that was not finished announced nothing that exists.
            if let Some(pending) = fs::read(entry.path())
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Pending>(&bytes).ok())
            {
                announced.extend(pending.files);
            }
            notes.push(entry.path());
        }
        for file in &announced {
            if !listed.contains(file.as_str()) {
                remove_piece(&self.folder, file);
            }
        }
        self.remove_parts(&announced)?;
        for note in notes {
            fs::remove_file(&note).map_err(|source| unwritable(&note, source))?;
        }
        Ok(())
    }

    /// Deletes the unfinished parts of pieces that were announced.
    fn remove_parts(&self, announced: &HashSet<String>) -> Result<(), CutError> {
        if announced.is_empty() {
            return Ok(());
        }
        let entries = fs::read_dir(&self.folder);
        for entry in entries
            .map_err(|source| unwritable(&self.folder, source))?
            .flatten()
        {
            let name = entry.file_name();
            let piece = name.to_str().and_then(PartFile::final_name);
            if piece.is_some_and(|piece| stem_of(piece).is_some() && announced.contains(piece)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// Deletes a piece; only plain names of pieces are ever touched.
fn remove_piece(folder: &Path, name: &str) {
    if stem_of(name).is_none() || name.contains(['/', '\\']) {
        return;
    }
    let _ = fs::remove_file(folder.join(name));
}

fn lock(folder: &Path) -> Result<File, CutError> {
    let hidden = folder.join(HIDDEN_FOLDER);
    fs::create_dir_all(&hidden).map_err(|source| unwritable(folder, source))?;
    let path = hidden.join("lock");
    let file = File::create(&path).map_err(|source| unwritable(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CutError::Busy {
            output: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => {
            // Some network file systems have no locks; then nothing guards, as without them.
            tracing::debug!("no lock: {error}");
            Ok(file)
        }
    }
}

fn read_record(folder: &Path) -> Result<Option<Record>, CutError> {
    let path = folder.join(RECORD_NAME);
    let not_understood = |detail: String| CutError::Record {
        path: path.clone(),
        detail,
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unwritable(&path, source)),
    };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| not_understood(error.to_string()))?;
    if record.version > RECORD_VERSION {
        return Err(not_understood(format!(
            "version {} is newer than this program",
            record.version
        )));
    }
    Ok(Some(record))
}

/// The settings that differ, as `name: was X, now Y`.
fn differences(before: &Settings, now: &Settings) -> String {
    let fields = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, now) = (fields(before), fields(now));
    now.iter()
        .filter_map(|(name, value)| {
            let old = before.get(name)?;
            (old != value).then(|| format!("{name}: was {old}, now {value}"))
        })
        .collect::<Vec<_>>()
        .join("; ")
}

fn unwritable(path: &Path, source: io::Error) -> CutError {
    CutError::Output {
        path: path.to_owned(),
        source,
    }
}
