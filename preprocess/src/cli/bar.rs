//! Progress for people: a bar on a terminal, lines for what went wrong anywhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Phase, Progress, Skipped};

/// A progress bar on standard error; invisible when that is no terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar, or none when `is_quiet`.
    #[must_use]
    pub fn new(is_quiet: bool) -> Self {
        let target = if is_quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:8} {bar:40} {pos}/{len} files, {eta} left")
        {
            bar.set_style(style);
        }
        Self { bar }
    }
}

impl Progress for Bar {
    fn begin(&self, phase: Phase, files: usize) {
        self.bar.reset();
        self.bar.set_length(files as u64);
        self.bar.set_message(match phase {
            Phase::Hashing => "reading",
            Phase::Cutting => "cutting",
        });
    }

    fn file_done(&self) {
        self.bar.inc(1);
    }

    fn skipped(&self, skipped: &Skipped) {
        self.bar
            .suspend(|| eprintln!("skipped: {}", skipped.reason));
    }

    fn notice(&self, text: &str) {
        self.bar.suspend(|| eprintln!("note: {text}"));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
