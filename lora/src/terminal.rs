//! What both binaries share: progress bars on a terminal, Ctrl-C, log lines on standard error.

mod manual;
mod outputs;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::Device;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::device::DeviceChoice;
use crate::error::LoraError;
use crate::progress::Progress;

pub use manual::Manual;
pub use outputs::{Written, check_ending, check_free, make_folder, refuse_what_is_read};

static STOP: AtomicBool = AtomicBool::new(false);
static QUIET: AtomicBool = AtomicBool::new(false);

/// Exit status when the user stopped the program, as shells expect after SIGINT.
pub const STOPPED_EXIT_CODE: u8 = 130;

/// From here on this process tells only errors: another one of those that work together speaks to people.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Time between two lines about work under way where there is no terminal to draw a bar on.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// Draws a bar on standard error if that is a terminal; otherwise notes are printed, and of long work a line now and then.
#[derive(Debug, Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
}

/// Progress as lines.
#[derive(Debug)]
struct Lines {
    phase: String,
    done: usize,
    /// Of those, what an earlier run has done.
    skipped: usize,
    total: usize,
    begun: Instant,
    told: Instant,
}

impl Lines {
    fn begin(phase: &str, total: usize) -> Self {
        let now = Instant::now();
        Self {
            phase: phase.to_owned(),
            done: 0,
            skipped: 0,
            total,
            begun: now,
            told: now,
        }
    }

    fn skip(&mut self, units: usize) {
        self.done += units;
        self.skipped += units;
    }

    /// One unit more; a line if the last one is long ago.
    fn advance(&mut self, now: Instant) -> Option<String> {
        self.done += 1;
        if now - self.told < BETWEEN_LINES || self.done >= self.total {
            return None;
        }
        self.told = now;
        let each_secs = (now - self.begun).as_secs_f64() / (self.done - self.skipped) as f64;
        let left = spoken_duration(each_secs * (self.total - self.done) as f64);
        Some(format!(
            "{}: {} of {}, about {left} left",
            self.phase, self.done, self.total
        ))
    }
}

impl Progress for Terminal {
    fn begin(&mut self, phase: &str, total: usize) {
        if is_quiet() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let template = "{prefix:>10} [{bar:32}] {pos}/{len} {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(phase.to_owned());
        self.bar = Some(bar);
        self.lines = (!io::stderr().is_terminal()).then(|| Lines::begin(phase, total));
    }

    fn advance(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        if let Some(line) = self
            .lines
            .as_mut()
            .and_then(|lines| lines.advance(Instant::now()))
        {
            tell(line);
        }
    }

    fn skip(&mut self, units: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(units as u64);
            bar.reset_eta();
        }
        if let Some(lines) = &mut self.lines {
            lines.skip(units);
        }
    }

    fn describe(&mut self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = None;
    }

    fn stop_requested(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

/// The first Ctrl-C (or SIGTERM) asks for a stop at the next safe point, the second ends the process at once.
pub fn catch_interrupts() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(STOPPED_EXIT_CODE));
        }
        tell("stopping when the step under way is done; once more to stop at once");
    })
}

/// Log lines of the libraries go to standard error; `RUST_LOG` chooses which.
pub fn log_to_stderr() {
    let usual = if is_quiet() { "error" } else { "warn" };
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}

/// Results are data: one line each on standard output.
///
/// A reader that has seen enough (`| head -1`) is no error: the rest of the lines is dropped and the program goes on.
///
/// # Errors
/// When standard output cannot be written for another reason, such as a full disk.
pub fn print_lines<T: std::fmt::Display>(lines: impl IntoIterator<Item = T>) -> io::Result<()> {
    if is_quiet() {
        return Ok(());
    }
    let mut output = io::stdout().lock();
    let written = lines
        .into_iter()
        .try_for_each(|line| writeln!(output, "{line}"))
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A line for people on standard error. That nobody reads it is no reason to stop.
pub fn tell(line: impl std::fmt::Display) {
    if !is_quiet() {
        tell_always(line);
    }
}

fn tell_always(line: impl std::fmt::Display) {
    // In one piece: processes that fail together share the screen.
    let _ = io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

/// Seconds as people say them.
pub fn spoken_duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Runs a binary's main function: a requested stop is exit code 130, an error is told with its causes and exit code 1.
pub fn exit_with(result: anyhow::Result<()>) -> std::process::ExitCode {
    let Err(error) = result else {
        return std::process::ExitCode::SUCCESS;
    };
    if matches!(error.downcast_ref(), Some(crate::LoraError::Stopped)) {
        return STOPPED_EXIT_CODE.into();
    }
    tell_always(format_args!("error: {}", told_once(&error)));
    std::process::ExitCode::FAILURE
}

/// Opens the device that was asked for and tells which it is where that was not said.
pub fn open_device(choice: DeviceChoice) -> Result<Device, LoraError> {
    let (device, line) = choice.open()?;
    if let Some(line) = line {
        tell(line);
    }
    Ok(device)
}

/// An error and its causes, without those that a message before has told already.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{colon}{cause}");
        }
    }
    text
}

/// For `--threads`.
pub fn threads_from_text(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    match text.parse() {
        Ok(threads @ 1..=MOST) => Ok(threads),
        _ => Err(format!("expected a number from 1 to {MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{BETWEEN_LINES, Lines, spoken_duration, told_once};

    #[test]
    fn long_work_is_told_in_lines_now_and_then() {
        let mut lines = Lines::begin("generating", 4);
        let begun = lines.begun;
        assert_eq!(lines.advance(begun + BETWEEN_LINES / 2), None);
        assert_eq!(
            lines.advance(begun + BETWEEN_LINES).unwrap(),
            "generating: 2 of 4, about 30 s left"
        );
        assert_eq!(lines.advance(begun + BETWEEN_LINES * 5 / 4), None);
        // The end has lines of its own.
        assert_eq!(lines.advance(begun + BETWEEN_LINES * 3), None);
        // What an earlier run has done took no time of this one's.
        let mut resumed = Lines::begin("training", 1_000);
        resumed.skip(989);
        assert_eq!(
            resumed.advance(resumed.begun + BETWEEN_LINES).unwrap(),
            "training: 990 of 1000, about 5 min 0 s left"
        );
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no space")
            .context("a.wav: no space")
            .context("the clip");
        assert_eq!(told_once(&error), "the clip: a.wav: no space");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(spoken_duration(59.6), "1 min 0 s");
        assert_eq!(spoken_duration(7.2), "7 s");
        assert_eq!(spoken_duration(3_725.0), "1 h 2 min");
    }
}
