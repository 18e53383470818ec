//! How long work tells what it does, without knowing of terminals.

use crate::CheckpointError;

/// Receives progress; a binary draws bars from it.
pub trait Progress {
    /// A phase of so many bytes begins.
    fn begin(&self, phase: &str, total_bytes: u64);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The phase is over.
    fn end(&self);
    /// Whether to stop (Ctrl-C); asked a few times a second.
    fn stop_requested(&self) -> bool {
        false
    }
}

/// So many more bytes are done; an error when a stop is asked for.
pub(crate) fn advance(progress: &dyn Progress, bytes: usize) -> Result<(), CheckpointError> {
    progress.advance(bytes as u64);
    match progress.stop_requested() {
        true => Err(CheckpointError::Stopped),
        false => Ok(()),
    }
}

/// No output.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
