//! The plugin's end of the conversation.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::PROTOCOL_VERSION;
use crate::error::ProtocolError;
use crate::framing::{self, FrameReader, Received};
use crate::messages::{FromEngine, ToEngine};
use crate::places::Places;
use crate::socket::{self, Stream};

/// How long a started engine may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it is waited for at a time.
const START_INTERVAL: Duration = Duration::from_millis(20);

/// A connection to the engine. What the engine says comes from the channel that [`Client::connect`] gives; it closes when the engine is gone.
/// Dropping the client ends the connection and its thread, at once.
#[derive(Debug)]
pub struct Client {
    stream: Arc<Stream>,
    writing: Mutex<()>,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    engine: String,
}

impl Client {
    /// Connects to the user's engine, and starts it where none runs. `library` is the plugin's own file, beside which the engine is looked for;
    /// `name` goes to the engine's log. `is_over` gives up waiting. `wake` is called after each message, and when the engine is gone.
    ///
    /// # Errors
    /// When there is no engine, it does not start, or speaks another version.
    pub fn connect(
        places: &Places,
        library: Option<&Path>,
        name: &str,
        is_over: &dyn Fn() -> bool,
        wake: impl Fn() + Send + 'static,
    ) -> Result<(Self, Receiver<FromEngine>), ProtocolError> {
        // Before it fails with a word that nobody understands.
        places.make_run_folder()?;
        let deadline = Instant::now() + START_TIMEOUT;
        let (stream, frames, engine) = loop {
            let stream = match socket::connect(places) {
                Ok(stream) => stream,
                Err(_) => start(places, library, is_over)?,
            };
            match greet(stream, name, is_over) {
                // It was just ending, or was killed: another one is started.
                Err(ProtocolError::Connection(_)) if !is_over() && Instant::now() < deadline => {
                    std::thread::sleep(START_INTERVAL);
                }
                greeted => break greeted?,
            }
        };
        socket::read_without_timeout(&stream)?;
        let stream = Arc::new(stream);
        let is_over = Arc::new(AtomicBool::new(false));
        let (heard, hear) = channel();
        let reader = {
            let (stream, is_over) = (Arc::clone(&stream), Arc::clone(&is_over));
            std::thread::Builder::new()
                .name("lorelei-listener".to_owned())
                .spawn(move || {
                    listen(&stream, frames, &is_over, &heard, &wake);
                    // The channel closes before this is heard of.
                    drop(heard);
                    wake();
                })?
        };
        let client = Self {
            stream,
            writing: Mutex::new(()),
            is_over,
            reader: Some(reader),
            engine,
        };
        Ok((client, hear))
    }

    /// The engine's version.
    pub fn engine_version(&self) -> &str {
        &self.engine
    }

    /// Says something.
    ///
    /// # Errors
    /// When the engine is gone or does not read.
    pub fn say(&self, message: &ToEngine) -> Result<(), ProtocolError> {
        // One message at a time, whole.
        let _turn = self.writing.lock();
        framing::write(&mut &*self.stream, message)
    }
}

/// The connection, what came of the engine's next messages, and the engine's version.
fn greet(
    mut stream: Stream,
    name: &str,
    is_over: &dyn Fn() -> bool,
) -> Result<(Stream, FrameReader, String), ProtocolError> {
    let hello = ToEngine::Hello {
        protocol: PROTOCOL_VERSION,
        client: name.to_owned(),
    };
    framing::write(&mut stream, &hello)?;
    let mut frames = FrameReader::default();
    let deadline = Instant::now() + START_TIMEOUT;
    let engine = loop {
        match frames.next(&mut stream)? {
            Received::Message(FromEngine::Welcome { engine }) => break engine,
            Received::Message(FromEngine::Refused { reason }) => {
                return Err(ProtocolError::Refused(reason));
            }
            Received::NothingYet if Instant::now() < deadline && !is_over() => {}
            Received::End => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            _ => {
                return Err(ProtocolError::Refused(
                    "it does not answer; end lorelei-engine and try again".to_owned(),
                ));
            }
        }
    };
    Ok((stream, frames, engine))
}

impl Drop for Client {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        socket::hang_up(&self.stream);
        // The thread's code may be unloaded with the plugin: it must not outlive this.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn listen(
    stream: &Stream,
    mut frames: FrameReader,
    is_over: &AtomicBool,
    heard: &Sender<FromEngine>,
    wake: &dyn Fn(),
) {
    let mut stream: &Stream = stream;
    while !is_over.load(Ordering::Acquire) {
        match frames.next::<FromEngine>(&mut stream) {
            Ok(Received::Message(message)) => {
                if heard.send(message).is_err() {
                    return;
                }
                wake();
            }
            Ok(Received::NothingYet) => {}
            Ok(Received::End) => return,
            Err(error) => {
                if !is_over.load(Ordering::Acquire) {
                    tracing::warn!("engine: {error}");
                }
                return;
            }
        }
    }
}

/// Starts the engine and connects to it. Of several that start one at the same time all get the one that was first.
fn start(
    places: &Places,
    library: Option<&Path>,
    is_over: &dyn Fn() -> bool,
) -> Result<Stream, ProtocolError> {
    let path = places.engine(library)?;
    places.make_run_folder()?;
    let failed = |problem: String| ProtocolError::EngineStart {
        path: path.clone(),
        problem,
    };
    let mut child = command(&path)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let deadline = Instant::now() + START_TIMEOUT;
    let connected = loop {
        if let Ok(stream) = socket::connect(places) {
            break Ok(stream);
        }
        // One that ends well gave way to another, which may not listen yet.
        match child.try_wait() {
            Ok(Some(status)) if !status.success() => {
                break Err(failed(format!(
                    "it ended with {status}; {} says why",
                    places.log().display()
                )));
            }
            _ if is_over() => break Err(failed("given up".to_owned())),
            _ if Instant::now() > deadline => {
                break Err(failed(format!(
                    "it does not listen at {}",
                    places.socket().display()
                )));
            }
            _ => std::thread::sleep(START_INTERVAL),
        }
    };
    leave(child);
    connected
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // Ctrl-C in the host's terminal is the host's.
        command.process_group(0);
    }
    command
}

/// The engine outlives this process; while this process lives, an ended engine is waited for, so that it does not stay as a zombie.
fn leave(child: Child) {
    if let Ok(mut started) = STARTED.lock() {
        started.push(child);
    }
    wait_for_ended();
}

static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Waits for engines that this process started and that have ended, which takes no time; to be called now and then.
pub fn wait_for_ended() {
    if let Ok(mut started) = STARTED.lock() {
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}
