//! A clip is dragged out of the window into another program, as a WAV file.

#[cfg(target_os = "linux")]
mod x11;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use egui::{Response, Ui};

use super::screen::{Screen, Shown};
use crate::session::{Command, View};

/// A drag that waits for its file, or that another thread leads.
#[derive(Default)]
pub(crate) struct DragOut {
    awaited: Option<usize>,
    courier: Option<Courier>,
}

/// Leads a file to where the pointer lets go of it.
struct Courier {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to say, it logged.
            let _ = thread.join();
        }
    }
}

/// Begins a drag where a clip is drawn away.
pub(crate) fn handle(response: &Response, slot: usize, shown: &Shown<'_>, screen: &mut Screen) {
    if response.drag_started_by(egui::PointerButton::Primary) {
        screen.drag.begin(slot, shown);
    }
}

impl DragOut {
    fn begin(&mut self, slot: usize, shown: &Shown<'_>) {
        match &shown.view.exported[slot] {
            Some(path) if path.is_file() => self.lead(path.clone()),
            // Not written yet, or moved away since.
            _ => {
                self.awaited = Some(slot);
                shown.hands.send(Command::Export { slot, path: None });
            }
        }
    }

    /// Begins a drag whose file has come; gives up one whose pointer let go before.
    pub(crate) fn follow(&mut self, ui: &Ui, view: &View) {
        let Some(slot) = self.awaited else {
            return;
        };
        if !ui.input(|input| input.pointer.primary_down()) {
            self.awaited = None;
        } else if let Some(path) = view.exported[slot].as_ref().filter(|path| path.is_file()) {
            self.awaited = None;
            self.lead(path.clone());
        }
    }

    fn lead(&mut self, path: PathBuf) {
        // The one before has ended, for there is one pointer only; else it ends now.
        self.courier = None;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let thread = std::thread::Builder::new()
            .name("lorelei-drag".to_owned())
            .spawn(move || carry(path, &stop));
        match thread {
            Ok(thread) => {
                let thread = Some(thread);
                self.courier = Some(Courier { is_stopped, thread });
            }
            Err(error) => tracing::warn!("nothing can be dragged: {error}"),
        }
    }

    /// The window is about to close.
    pub(crate) fn close(&mut self) {
        self.awaited = None;
        self.courier = None;
    }
}

#[cfg(target_os = "linux")]
fn carry(path: PathBuf, is_stopped: &AtomicBool) {
    match x11::carry(&path, is_stopped) {
        Ok(true) => tracing::info!("{} was taken", path.display()),
        Ok(false) => tracing::info!("{} was not taken", path.display()),
        Err(error) => tracing::warn!("{} could not be dragged: {error}", path.display()),
    }
}

// The file lies in the music folder by now, from where it can be dragged.
#[cfg(not(target_os = "linux"))]
fn carry(path: PathBuf, _: &AtomicBool) {
    tracing::info!(
        "{} lies ready; dragging out of the window needs X11",
        path.display()
    );
}
