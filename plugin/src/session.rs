//! What happens between the musician, the engine and the audio thread. The editor reads a [`View`] and gives [`Command`]s; the audio thread
//! exchanges clips and a few numbers; a thread of the instance's own, the conductor, does the rest.

mod command;
mod conductor;
mod history;
mod host;
mod picture;
mod settling;
mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::parameters::Parameters;
use crate::playback::{
    CaptureReceiver, CaptureSender, ExchangeReceiver, ExchangeSender, capture, exchange,
};
use conductor::Conductor;

pub use command::Command;
pub use host::HostState;
pub(crate) use settling::OFFLINE_PATIENCE;
pub use settling::Settling;
pub use view::{
    ClipPicture, EngineStatus, JobKind, JobView, Message, MessageKind, SlotState, View,
};

/// Frames of input that may wait for the conductor: more than a second at any rate.
const CAPTURE_FRAMES: usize = 1 << 18;

/// What the editor, the audio thread and the conductor of one instance share.
#[derive(Debug)]
pub struct Shared {
    /// The host's parameters and the project.
    pub parameters: Arc<Parameters>,
    /// What the audio thread tells of the host.
    pub host: HostState,
    /// Who waits in an offline render.
    pub settling: Settling,
    view: Mutex<Arc<View>>,
    is_over: AtomicBool,
    commands: Sender<Command>,
    looks: AtomicU64,
}

impl Shared {
    /// What the editor shows.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the conductor look around now. Not for the audio thread.
    pub fn wake(&self) {
        // One that is gone sleeps for good.
        let _ = self.commands.send(Command::Look);
    }

    /// The same for others to keep.
    fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let commands = self.commands.clone();
        move || {
            let _ = commands.send(Command::Look);
        }
    }

    /// How often the conductor has looked around, for figures.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// A ticket for everything that was asked for until now, see [`Settling`]. Not for the audio thread but in an offline render.
    pub fn ask_to_settle(&self) -> u64 {
        let ticket = self.settling.ask();
        self.wake();
        ticket
    }

    fn publish(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// One instance's session: owns the conductor's thread, which ends with it.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    waiting: Option<Conductor>,
    thread: Option<JoinHandle<()>>,
}

/// What the audio thread holds of the session.
#[derive(Debug)]
pub struct AudioEnds {
    /// Clips come and go here.
    pub clips: ExchangeReceiver,
    /// Input goes here while it is listened to.
    pub capture: CaptureSender,
}

/// What the conductor holds of the audio thread.
#[derive(Debug)]
struct ConductorEnds {
    clips: ExchangeSender,
    capture: CaptureReceiver,
}

impl Session {
    /// Of an instance; nothing runs yet. `library` is the plugin's own file, beside which the engine is looked for.
    pub fn new(parameters: Arc<Parameters>, library: Option<PathBuf>) -> (Self, AudioEnds) {
        let (commands, hear) = channel();
        let shared = Arc::new(Shared {
            parameters,
            commands: commands.clone(),
            looks: AtomicU64::new(0),
            host: HostState::default(),
            settling: Settling::default(),
            view: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let (clips_in, clips_out) = exchange();
        let (captured_in, captured_out) = capture(CAPTURE_FRAMES);
        shared.parameters.project.call_when_restored(shared.waker());
        let ends = ConductorEnds {
            clips: clips_in,
            capture: captured_out,
        };
        let session = Self {
            waiting: Some(Conductor::new(Arc::clone(&shared), hear, ends, library)),
            shared,
            commands,
            thread: None,
        };
        let audio = AudioEnds {
            clips: clips_out,
            capture: captured_in,
        };
        (session, audio)
    }

    /// What is shared.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where commands go.
    pub fn commands(&self) -> Sender<Command> {
        self.commands.clone()
    }

    /// Starts the conductor, once.
    pub fn start(&mut self) {
        let Some(conductor) = self.waiting.take() else {
            return;
        };
        let spawned = std::thread::Builder::new()
            .name("lorelei-conductor".to_owned())
            .spawn(move || conductor.run());
        match spawned {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::error!("the session's thread does not start: {error}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.settling.end();
        self.shared.wake();
        // The thread's code may be unloaded with the plugin: it must not outlive this.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
