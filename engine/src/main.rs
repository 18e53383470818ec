//! `lorelei-engine`: makes clips and trains adapters for all of a user's plugins.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use engine::Options;
use lora::train::MemorySize;
use protocol::framing::{self, FrameReader, Received};
use protocol::places::Places;
use protocol::{FromEngine, PROTOCOL_VERSION, RunInfo, ToEngine, socket};

/// Memory where the machine does not tell how much it has.
const UNKNOWN_MEMORY_BYTES: usize = 8_000_000_000;
/// Looks at a connection until an answer is given up on; each takes a tenth of a second.
const MOST_LOOKS: usize = 50;

/// Make clips and train adapters for the Lorelei plugins of this user.
///
/// The plugins start it themselves, and it ends when none needs it. There is one for each user; a second one ends at once. LORELEI_HOME names
/// another folder for everything it keeps.
#[derive(Debug, Parser)]
#[command(name = "lorelei-engine", version)]
struct Arguments {
    /// End after so many seconds without a plugin and without work.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    idle_secs: u64,
    /// Size of the cache of clips.
    #[arg(long, default_value = "2GB", value_name = "SIZE")]
    clips: MemorySize,
    /// Memory for a base model and what is made with it [default: half of the machine's].
    #[arg(long, value_name = "SIZE")]
    memory: Option<MemorySize>,
    /// Threads [default: RAYON_NUM_THREADS, or as many as there are physical cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Say whether an engine runs, and which trainings can go on, and stop.
    #[arg(long)]
    status: bool,
}

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    leave_the_host();
    nn::process::prepare();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Closes what came with the host that started this process and would outlive it here: its files, sockets and devices.
fn leave_the_host() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: nothing of this program is open yet but the three standard streams.
        #[allow(unsafe_code)]
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let places = Places::of_user()?;
    if arguments.status {
        return tell_status(&places);
    }
    nn::process::use_threads(arguments.threads.map(usize::from));
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed))
        .context("Ctrl-C cannot be caught")?;
    let options = Options {
        idle: Duration::from_secs(arguments.idle_secs),
        clips_bytes: arguments.clips.bytes as u64,
        memory_bytes: arguments
            .memory
            .map_or_else(half_of_memory, |memory| memory.bytes),
    };
    engine::run(places, options, &STOP)
}

fn half_of_memory() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kibibytes.map_or(UNKNOWN_MEMORY_BYTES, |kibibytes: usize| kibibytes * 1024) / 2
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn tell_status(places: &Places) -> Result<()> {
    let Ok(mut stream) = socket::connect(places) else {
        println!(
            "no engine runs; log of the last one: {}",
            places.log().display()
        );
        return Ok(());
    };
    let hello = ToEngine::Hello {
        protocol: PROTOCOL_VERSION,
        client: "lorelei-engine --status".to_owned(),
    };
    framing::write(&mut stream, &hello)?;
    framing::write(&mut stream, &ToEngine::ListRuns)?;
    let mut frames = FrameReader::default();
    for _ in 0..MOST_LOOKS {
        match frames.next::<FromEngine>(&mut stream)? {
            Received::Message(FromEngine::Welcome { engine }) => {
                println!("Lorelei {engine} runs; log: {}", places.log().display());
            }
            Received::Message(FromEngine::Runs { runs }) => {
                runs.iter().for_each(|run| println!("{}", told(run)));
                return Ok(());
            }
            Received::End => break,
            _ => {}
        }
    }
    anyhow::bail!(
        "the engine does not answer; end it and look into its log, {}",
        places.log().display()
    )
}

fn told(run: &RunInfo) -> String {
    let state = if run.is_under_way { ", under way" } else { "" };
    format!(
        "training {}: {} of {} steps{state}",
        run.run, run.steps_done, run.steps
    )
}
