//! How long work tells what it does, without knowing of terminals.

/// Receives progress; a binary draws bars from it, a test may ignore it.
pub trait Progress {
    /// A phase of `total` units begins.
    fn begin(&mut self, phase: &str, total: usize);
    /// One unit is done.
    fn advance(&mut self);
    /// A line beside the bar: losses, rates.
    fn describe(&mut self, _text: &str) {}
    /// Something worth a line of its own.
    fn note(&mut self, _text: &str) {}
    /// The phase is over.
    fn end(&mut self);
    /// Whether to stop at the next safe point (Ctrl-C).
    fn stop_requested(&self) -> bool {
        false
    }
}

/// No output.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _phase: &str, _total: usize) {}
    fn advance(&mut self) {}
    fn end(&mut self) {}
}
