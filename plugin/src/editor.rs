//! The plugin's window: it shows a [`View`] and the host's parameters, and gives [`Command`]s and gestures.
//!
//! - `window`: the system's window, OpenGL, keys, dropped files; draws only when something changed.
//! - `screen`: all that is in it, apart from any system, so that tests draw it without one.
//! - `areas`: the parts of the screen; `widgets`: what those are made of; `theme`: colours and letters; `layout`: where things are.
//! - `hands`: the way out; `tags`: prompts; `drag_out`: clips into other programs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;

use crate::parameters::Parameters;
use crate::playback::PlayingPosition;
use crate::session::{Command, View};

mod areas;
mod drag_out;
mod hands;
mod layout;
mod picture;
mod screen;
mod tags;
#[cfg(test)]
mod tests;
mod theme;
mod widgets;
mod window;
#[cfg(all(test, target_os = "linux"))]
mod xvfb;

pub use window::{EditorWindow, EditorWindowHandle};

/// What connects an editor with the rest of its instance.
#[derive(Clone)]
pub struct EditorLink {
    /// The host's parameters.
    pub parameters: Arc<Parameters>,
    /// Gives the newest snapshot; asked about thirty times a second while the window is open.
    pub view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
    /// To the conductor.
    pub commands: Sender<Command>,
    /// Where the audio thread is.
    pub playing: Arc<PlayingPosition>,
    /// What the window did.
    pub figures: Arc<Figures>,
}

impl EditorLink {
    /// Connects an editor; its figures begin at nothing.
    pub fn new(
        parameters: Arc<Parameters>,
        view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
        commands: Sender<Command>,
        playing: Arc<PlayingPosition>,
    ) -> Self {
        Self {
            parameters,
            view,
            commands,
            playing,
            figures: Arc::default(),
        }
    }
}

/// What a window did, for tests and reports.
#[derive(Debug, Default)]
pub struct Figures {
    /// Frames that were drawn, over all times the window was open.
    pub frames_drawn: AtomicU64,
    /// Milliseconds from asking for the window to its first frame on the screen, the last time.
    pub open_ms: AtomicU64,
}
