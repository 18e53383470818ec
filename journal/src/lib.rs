//! What a training run writes down, and how it is shown. Nothing here knows of models or tensors: callers bring numbers, texts and the
//! paths of sounds.
//!
//! | what | where |
//! |---|---|
//! | the lines of `metrics.jsonl` | [`Record`], one struct a kind |
//! | writing them, going on after an interruption | [`Journal`], [`JournalOptions`] |
//! | reading them | [`read_records`] |
//! | event files for TensorBoard, written beside | [`Journal`], by [`JournalOptions::tensorboard`] |
//! | `report.html`, one page that needs nothing else | [`Report`] |
//!
//! `metrics.jsonl` is the truth; event files and report are made from it and can be made again. The formats are told in
//! `docs/training-record.md`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use journal::{Journal, JournalOptions, Record, Remark, Report};
//!
//! let run = tempfile::tempdir()?;
//! let mut journal = Journal::create(run.path(), JournalOptions::default())?;
//! journal.write(&Record::Note(Remark { step: 0, text: "1,200 pieces of 90 songs".to_owned() }))?;
//! let records = journal.records()?;
//! journal.finish()?;
//! Report::new("style", run.path(), &records).outcome("stopped after 0 steps").write()?;
//! # Ok(())
//! # }
//! ```

mod appender;
mod error;
mod journal;
mod lines;
mod number;
mod record;
mod report;
mod tensorboard;

pub use error::JournalError;
pub use journal::{Journal, JournalOptions};
pub use lines::{METRICS_FILE, read_records};
pub use record::{
    EpochRecord, PreviewRecord, Record, Remark, StepRecord, TIME_PARTS, ValidationRecord,
};
pub use report::{REPORT_FILE, Report};
