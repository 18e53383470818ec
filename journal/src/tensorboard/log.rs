//! The event file of a run's folder.

use std::path::{Path, PathBuf};

use super::event;
use super::framing::framed;
use super::summary;
use crate::appender::Appender;
use crate::error::JournalError;
use crate::journal::JournalOptions;
use crate::record::Record;

const PREFIX: &str = "events.out.tfevents.";
/// Tells files of this crate from those that others left in the folder.
const SUFFIX: &str = ".lorelei";

/// An event file to which records are added.
#[derive(Debug)]
pub(crate) struct EventLog {
    file: Appender,
    started_unix_secs: f64,
    elapsed_secs: f64,
    folder: PathBuf,
    with_sounds: bool,
}

impl EventLog {
    /// Writes `records` to a new event file and removes those of earlier sessions.
    ///
    /// The new file has another name, which sorts behind the old ones': the data server of a TensorBoard that is looking at the
    /// folder goes on to it, and drops what it knew of the old ones.
    pub(crate) fn replace(
        folder: &Path,
        records: &[Record],
        options: &JournalOptions,
    ) -> Result<Self, JournalError> {
        let earlier = earlier_files(folder)?;
        let mut name = earlier.last().map_or(
            Name {
                started_unix_secs: options.started_unix_secs,
                session: 0,
            },
            |last| Name {
                session: last.session + 1,
                ..*last
            },
        );
        // A run that begins anew in a folder from which the lines were removed has no earlier beginning.
        if records.is_empty() {
            name.started_unix_secs = options.started_unix_secs.max(name.started_unix_secs);
        }
        let mut log = Self {
            file: Appender::create(&folder.join(name.to_string()))?,
            started_unix_secs: name.started_unix_secs as f64,
            elapsed_secs: 0.0,
            folder: folder.to_owned(),
            with_sounds: options.sounds_in_tensorboard,
        };
        log.write_head(&options.settings)?;
        for record in records {
            log.write(record)?;
        }
        remove(folder, &earlier)?;
        Ok(log)
    }

    /// Removes the event files that journals made in this folder.
    pub(crate) fn remove_all(folder: &Path) -> Result<(), JournalError> {
        remove(folder, &earlier_files(folder)?)
    }

    fn write_head(&mut self, settings: &[(String, String)]) -> Result<(), JournalError> {
        let start = self.started_unix_secs;
        self.append(&event::version(start))?;
        self.append(&event::session_start(start))?;
        if settings.is_empty() {
            return Ok(());
        }
        let values = [summary::of_settings(settings)];
        self.append(&event::summary(start, 0, &values))
    }

    /// Adds what is to be shown of a record, at the time that training had taken until then.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        if let Some(elapsed) = record.elapsed_secs().filter(|secs| secs.is_finite()) {
            self.elapsed_secs = elapsed;
        }
        let folder = self.with_sounds.then_some(self.folder.as_path());
        let values = summary::of_record(record, folder);
        if values.is_empty() {
            return Ok(());
        }
        let time = self.started_unix_secs + self.elapsed_secs;
        self.append(&event::summary(time, record.step(), &values))
    }

    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        self.file.sync()
    }

    fn append(&mut self, message: &[u8]) -> Result<(), JournalError> {
        self.file.append(&framed(message))
    }
}

/// What an event file is called: when its run began, and how often the run was resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    started_unix_secs: u64,
    session: u64,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (started, session) = inner.split_once('.')?;
        let name = Self {
            started_unix_secs: started.parse().ok()?,
            session: session.parse().ok()?,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (started, session) = (self.started_unix_secs, self.session);
        write!(formatter, "{PREFIX}{started:010}.{session:04}{SUFFIX}")
    }
}

/// The files of earlier sessions, the latest last.
fn earlier_files(folder: &Path) -> Result<Vec<Name>, JournalError> {
    let entries = std::fs::read_dir(folder).map_err(JournalError::file(folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(JournalError::file(folder))?;
        names.extend(entry.file_name().to_str().and_then(Name::parse));
    }
    names.sort_unstable();
    Ok(names)
}

fn remove(folder: &Path, names: &[Name]) -> Result<(), JournalError> {
    for name in names {
        let path = folder.join(name.to_string());
        std::fs::remove_file(&path).map_err(JournalError::file(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_crate_are_taken_for_its_own() {
        let name = Name {
            started_unix_secs: 1_700_000_000,
            session: 12,
        };
        let text = name.to_string();
        assert_eq!(text, "events.out.tfevents.1700000000.0012.lorelei");
        assert_eq!(Name::parse(&text), Some(name));
        for other in [
            "events.out.tfevents.1700000000.host.4711.0",
            "events.out.tfevents.1700000000.12.lorelei",
            "events.out.tfevents.1700000000.lorelei",
            "events.out.tfevents.+700000000.0012.lorelei",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn later_sessions_sort_behind_earlier_ones() {
        let name = |session| Name {
            started_unix_secs: 1_700_000_000,
            session,
        };
        assert!(name(9).to_string() < name(10).to_string());
    }
}
