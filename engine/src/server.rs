//! The engine from its start to its end.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use protocol::places::Places;
use protocol::socket;

use crate::hub::Hub;
use crate::making::Maker;
use crate::{VERSION, client, learning, log};

/// How often the engine looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long a job may take to its next step, and a training run to its checkpoint, when the engine is asked to end.
const ENDING_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it is waited for one that is ending.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the last messages.
const FAREWELL: Duration = Duration::from_millis(300);
/// A backward pass walks its graph by recursion.
const STACK_BYTES: usize = 256 << 20;

/// What an engine may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// It ends when there was neither client nor job for this long.
    pub idle: Duration,
    /// Bytes of the cache of clips.
    pub clips_bytes: u64,
    /// Memory for a base and what is made with it.
    pub memory_bytes: usize,
}

/// Runs the user's engine until it is idle or `stop` is set; at once over where there is one already.
///
/// # Errors
/// When the folders or the socket cannot be used.
pub fn run(places: Places, options: Options, stop: &AtomicBool) -> Result<()> {
    places.make_run_folder()?;
    let lock = File::create(places.lock()).with_context(|| places.lock().display().to_string())?;
    if !take(&lock, &places)? {
        return Ok(());
    }
    log::begin(&places).with_context(|| places.log().display().to_string())?;
    let outcome = serve(places, options, stop);
    match &outcome {
        Ok(()) => tracing::info!("over"),
        Err(error) => tracing::error!("{error:#}"),
    }
    drop(lock);
    outcome
}

/// Whether this engine is the user's one.
fn take(lock: &File, places: &Places) -> Result<bool> {
    let deadline = Instant::now() + HANDOVER_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            // One that ends still holds it, and nobody can reach it any more.
            Err(TryLockError::WouldBlock)
                if socket::connect(places).is_err() && Instant::now() < deadline =>
            {
                std::thread::sleep(LOOK / 4);
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| places.lock().display().to_string());
            }
        }
    }
}

fn serve(places: Places, options: Options, stop: &AtomicBool) -> Result<()> {
    let socket_path = places.socket();
    let idle = options.idle;
    crate::runs::sweep(&places);
    let hub = Arc::new(Hub::new(places, &options));
    let listener = socket::listen(&hub.places)
        .with_context(|| format!("{}: cannot be listened at", socket_path.display()))?;
    tracing::info!("Lorelei {VERSION} listens at {}", socket_path.display());
    let is_over = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    {
        let (hub, is_over) = (Arc::clone(&hub), Arc::clone(&is_over));
        workers.push(spawn("making", move || {
            Maker::new(hub).run(|| is_over.load(Ordering::Relaxed));
        })?);
    }
    {
        let (hub, is_over) = (Arc::clone(&hub), Arc::clone(&is_over));
        workers.push(spawn("learning", move || {
            learning::run(&hub, || is_over.load(Ordering::Relaxed));
        })?);
    }
    {
        let hub = Arc::clone(&hub);
        // It waits for the next client for ever, and ends with the process.
        std::thread::Builder::new()
            .name("accepting".to_owned())
            .spawn(move || accept(&hub, &listener))?;
    }
    while !stop.load(Ordering::Relaxed) && !hub.ends_after(idle) {
        std::thread::sleep(LOOK);
    }
    tracing::info!("ending");
    // Nobody comes any more; the next one starts an engine of its own, which waits for the lock.
    #[cfg(unix)]
    let _ = std::fs::remove_file(&socket_path);
    is_over.store(true, Ordering::Relaxed);
    hub.end();
    if !hub.wait_for_rest(ENDING_TIMEOUT) {
        tracing::warn!("a job did not stop in {} s", ENDING_TIMEOUT.as_secs());
    }
    hub.say_farewell();
    if !hub.clients().is_empty() {
        std::thread::sleep(FAREWELL);
    }
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.stack_size(STACK_BYTES).spawn(work);
    thread.with_context(|| format!("the thread for {name} cannot be started"))
}

fn accept(hub: &Arc<Hub>, listener: &socket::Listener) {
    loop {
        let stream = match socket::accept(listener) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("a client could not connect: {error}");
                std::thread::sleep(LOOK);
                continue;
            }
        };
        let hub = Arc::clone(hub);
        let thread = std::thread::Builder::new().name("client".to_owned());
        if let Err(error) = thread.spawn(move || client::serve(&hub, stream)) {
            tracing::error!("no thread for a client: {error}");
        }
    }
}
