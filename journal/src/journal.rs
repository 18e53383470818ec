//! The journal of a run: `metrics.jsonl`, and the event file made from it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::appender::Appender;
use crate::error::JournalError;
use crate::lines::{self, METRICS_FILE};
use crate::record::Record;
use crate::tensorboard::EventLog;

/// What a journal writes beside its lines.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalOptions {
    /// Whether an event file for TensorBoard is written.
    pub tensorboard: bool,
    /// Whether the event file holds the sounds of previews; they are as large there as their files are.
    pub sounds_in_tensorboard: bool,
    /// Names and values of the run's settings, shown by TensorBoard as text.
    pub settings: Vec<(String, String)>,
    /// When training began, in seconds since 1970. A resumed run keeps the time of its first beginning where its event file tells it.
    pub started_unix_secs: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            tensorboard: true,
            sounds_in_tensorboard: true,
            settings: Vec::new(),
            started_unix_secs: now.map_or(0, |since| since.as_secs()),
        }
    }
}

/// Writes down what happens in a run. Every record is in its file when [`Journal::write`] returns.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    lines: Appender,
    events: Option<EventLog>,
}

impl Journal {
    /// Begins the journal of a new run; the folder is made if need be.
    ///
    /// # Errors
    /// When the folder holds a journal already, or its files cannot be written.
    pub fn create(folder: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        std::fs::create_dir_all(folder).map_err(JournalError::file(folder))?;
        let lines = Appender::create(&folder.join(METRICS_FILE))?;
        Self::with_events(folder, lines, &[], &options)
    }

    /// Goes on with the journal of a run that was saved at `step`: what was written after it is dropped, and the event file is made
    /// anew from what is left, so that TensorBoard shows one curve.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn resume(
        folder: &Path,
        step: usize,
        options: JournalOptions,
    ) -> Result<Self, JournalError> {
        let kept = lines::rewind(folder, step)?;
        let lines = Appender::resume(&folder.join(METRICS_FILE))?;
        Self::with_events(folder, lines, &kept, &options)
    }

    fn with_events(
        folder: &Path,
        lines: Appender,
        records: &[Record],
        options: &JournalOptions,
    ) -> Result<Self, JournalError> {
        let events = if options.tensorboard {
            Some(EventLog::replace(folder, records, options)?)
        } else {
            EventLog::remove_all(folder)?;
            None
        };
        Ok(Self {
            folder: folder.to_owned(),
            lines,
            events,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When a file cannot be written; nothing of the record stays in that file.
    pub fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record)
            .map_err(|error| JournalError::file(&self.folder.join(METRICS_FILE))(error.into()))?;
        line.push(b'\n');
        self.lines.append(&line)?;
        self.events
            .as_mut()
            .map_or(Ok(()), |events| events.write(record))
    }

    /// All records so far, those of before an interruption among them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, JournalError> {
        lines::read_records(&self.folder)
    }

    /// Waits until everything written is on the disk, as before a checkpoint that counts on it.
    ///
    /// # Errors
    /// When the system says that it is not.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.lines.sync()?;
        self.events.as_ref().map_or(Ok(()), EventLog::sync)
    }

    /// Ends the journal: everything is on the disk.
    ///
    /// # Errors
    /// As for [`Journal::sync`].
    pub fn finish(self) -> Result<(), JournalError> {
        self.sync()
    }
}
