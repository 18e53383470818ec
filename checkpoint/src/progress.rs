//! How long work tells what it does, without knowing of terminals.

/// Receives progress; a binary draws bars from it.
pub trait Progress {
    /// A phase of so many bytes begins.
    fn begin(&self, phase: &str, total_bytes: u64);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The phase is over.
    fn end(&self);
}

/// No output.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
