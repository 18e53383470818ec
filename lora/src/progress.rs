//! How long work tells what it does, without knowing of terminals.

use std::cell::RefCell;

/// Receives progress; a binary draws bars from it, a test may ignore it.
pub trait Progress {
    /// A phase of `total` units begins.
    fn begin(&mut self, phase: &str, total: usize);
    /// One unit is done.
    fn advance(&mut self);
    /// So many units were done by an earlier run; they say nothing of how long the others take.
    fn skip(&mut self, units: usize) {
        (0..units).for_each(|_| self.advance());
    }
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

/// What bars count in where work is counted in bytes.
const MEGABYTE: u64 = 1_000_000;

/// Tells work on weight files, which is counted in bytes, in megabytes.
pub struct InBytes<'a>(RefCell<Counted<'a>>);

struct Counted<'a> {
    progress: &'a mut dyn Progress,
    untold_bytes: u64,
}

impl<'a> InBytes<'a> {
    /// Tells it to `progress`.
    pub fn new(progress: &'a mut dyn Progress) -> Self {
        Self(RefCell::new(Counted {
            progress,
            untold_bytes: 0,
        }))
    }
}

impl checkpoint::Progress for InBytes<'_> {
    fn begin(&self, phase: &str, total_bytes: u64) {
        let mut counted = self.0.borrow_mut();
        counted.untold_bytes = 0;
        let total = (total_bytes / MEGABYTE) as usize;
        counted.progress.begin(phase, total);
    }

    fn advance(&self, bytes: u64) {
        let mut counted = self.0.borrow_mut();
        counted.untold_bytes += bytes;
        while counted.untold_bytes >= MEGABYTE {
            counted.untold_bytes -= MEGABYTE;
            counted.progress.advance();
        }
    }

    fn end(&self) {
        self.0.borrow_mut().progress.end();
    }

    fn stop_requested(&self) -> bool {
        self.0.borrow().progress.stop_requested()
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

/// Lets work within other work be stopped without telling of it.
pub struct StopOnly<'a>(pub &'a dyn Progress);

impl Progress for StopOnly<'_> {
    fn begin(&mut self, _phase: &str, _total: usize) {}
    fn advance(&mut self) {}
    fn end(&mut self) {}
    fn stop_requested(&self) -> bool {
        self.0.stop_requested()
    }
}
