//! What a run tells while it lasts.

use crate::Skipped;

/// Part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading every recording to know its content.
    Hashing,
    /// Cutting what is new.
    Cutting,
}

/// Told of progress, from any thread.
pub trait Progress: Sync {
    /// A phase over this many files begins.
    fn begin(&self, _phase: Phase, _files: usize) {}
    /// One file of the phase is through, cut or skipped.
    fn file_done(&self) {}
    /// A recording is passed over.
    fn skipped(&self, _skipped: &Skipped) {}
    /// Something the user should know that skips nothing.
    fn notice(&self, _text: &str) {}
    /// The phases are through.
    fn end(&self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
