//! The `cut-music` command: flags as typed ([`args`]), what they mean ([`resolve`]), what the
//! user sees ([`bar`]), what shells and `man` are told ([`manual`]).

pub mod args;
pub mod bar;
pub mod manual;
pub mod resolve;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::{Report, Request, cut};

/// Everything was cut.
pub const EXIT_DONE: u8 = 0;
/// The run could not be done or ended early.
pub const EXIT_FAILED: u8 = 1;
/// The run is complete, but files were passed over.
pub const EXIT_SKIPPED: u8 = 2;
/// The user stopped the run; what was finished is listed.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Runs the command with the process's own arguments.
#[must_use]
pub fn main() -> ExitCode {
    let command = manual::with_flags(args::Args::command());
    let matches = match command.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Not clap's own exit code for mistakes, 2: that one means skipped files here.
            let code = if error.use_stderr() {
                EXIT_FAILED
            } else {
                EXIT_DONE
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(&matches, command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cut-music: {}", told_once(&error));
            ExitCode::from(EXIT_FAILED)
        }
    }
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

fn run(matches: &ArgMatches, command: Command) -> anyhow::Result<u8> {
    if manual::print(matches, command).context("cannot write to standard output")? {
        return Ok(EXIT_DONE);
    }
    let args = args::Args::from_arg_matches(matches)?;
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,symphonia=off".into()),
        )
        .with_writer(io::stderr)
        .init();
    let is_quiet = args.quiet;
    let request = resolve::request(args);
    let cancel = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&cancel)).context("cannot watch for Ctrl-C")?;
    let bar = bar::Bar::new(is_quiet);
    let report = cut(&request, &bar, &cancel)?;
    if !is_quiet {
        summarise(&mut io::stdout().lock(), &request, &report)
            .context("cannot write the summary")?;
    }
    Ok(if report.is_interrupted {
        EXIT_INTERRUPTED
    } else if report.skipped.is_empty() {
        EXIT_DONE
    } else {
        EXIT_SKIPPED
    })
}

/// The first signal ends the run in order, the second at once.
fn stop_on_signal(cancel: Arc<AtomicBool>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if cancel.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
        eprintln!("stopping; what is finished will be listed (again to stop at once)");
    })
}

fn summarise(out: &mut impl Write, request: &Request, report: &Report) -> io::Result<()> {
    let verb = if request.dry_run {
        "would be cut"
    } else {
        "cut"
    };
    writeln!(
        out,
        "{} songs {verb} into {} pieces ({:.1} s), {} unchanged, {} skipped",
        report.songs_cut,
        report.pieces_written,
        report.sound_secs,
        report.songs_unchanged,
        report.skipped.len()
    )?;
    writeln!(
        out,
        "split by song: {} to train, {} held out",
        report.train_songs, report.validation_songs
    )?;
    if report.is_interrupted {
        writeln!(out, "stopped before the end; run again to go on")?;
    }
    let manifest = request.output.join(dataset::MANIFEST_NAME);
    if !request.dry_run && manifest.exists() {
        writeln!(out, "manifest: {}", manifest.display())?;
    }
    Ok(())
}
