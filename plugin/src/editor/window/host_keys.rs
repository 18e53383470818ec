//! Keys that are the host's go to its window.
//!
//! X11 gives a key to the innermost window below the pointer that listens, whatever that does with it; so a window inside another must hand
//! on what it does not want, or Space would start nothing while the pointer is above a plugin.

use std::collections::BTreeSet;

use baseview::WindowContext;
use keyboard_types::{Code, KeyState, KeyboardEvent, Modifiers};
use raw_window_handle::{HasWindowHandle, RawWindowHandle};
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::xproto::{
    AtomEnum, ConnectionExt, EventMask, KEY_PRESS_EVENT, KEY_RELEASE_EVENT, KeyButMask,
    KeyPressEvent, Window,
};
use x11rb::rust_connection::RustConnection;

/// The way to the host's window.
pub(super) struct HostKeys {
    window: Option<Window>,
    // Made with the first key.
    connection: Option<RustConnection>,
    // A host may hand a key back that it does not want either; one that is down is not given twice, nor one that is up.
    down: BTreeSet<u8>,
}

impl HostKeys {
    pub(super) fn of(window: &WindowContext) -> Self {
        let handle = window.window_handle().map(|handle| handle.as_raw());
        let window = match handle {
            Ok(RawWindowHandle::Xlib(handle)) => u32::try_from(handle.window).ok(),
            Ok(RawWindowHandle::Xcb(handle)) => Some(handle.window.get()),
            _ => None,
        };
        Self {
            window,
            connection: None,
            down: BTreeSet::new(),
        }
    }

    /// Gives a key to the host, if there is one.
    pub(super) fn give(&mut self, event: &KeyboardEvent) {
        let (Some(window), Some(key)) = (self.window, keycode(event.code)) else {
            return;
        };
        let is_down = event.state == KeyState::Down;
        let is_news = match is_down {
            true => self.down.insert(key),
            false => self.down.remove(&key),
        };
        if !is_news {
            return;
        }
        if self.connection.is_none() {
            self.connection = x11rb::connect(None).ok().map(|(connection, _)| connection);
        }
        if let Some(connection) = &self.connection
            && let Err(error) = give(connection, window, key, is_down, event.modifiers)
        {
            tracing::warn!("the host does not get its keys: {error}");
            self.connection = None;
        }
    }
}

fn give(
    connection: &RustConnection,
    window: Window,
    key: u8,
    is_down: bool,
    modifiers: Modifiers,
) -> Result<(), ReplyOrIdError> {
    let (root, host) = host_window(connection, window)?;
    if host == window {
        return Ok(());
    }
    let (kind, mask) = match is_down {
        true => (KEY_PRESS_EVENT, EventMask::KEY_PRESS),
        false => (KEY_RELEASE_EVENT, EventMask::KEY_RELEASE),
    };
    let event = KeyPressEvent {
        response_type: kind,
        detail: key,
        sequence: 0,
        time: x11rb::CURRENT_TIME,
        root,
        event: host,
        child: x11rb::NONE,
        root_x: 0,
        root_y: 0,
        event_x: 0,
        event_y: 0,
        state: held(modifiers),
        same_screen: true,
    };
    connection.send_event(false, host, mask, event)?.check()?;
    Ok(())
}

/// The root, and the program's own outermost window around this one: a window manager's frame is not it.
fn host_window(
    connection: &RustConnection,
    window: Window,
) -> Result<(Window, Window), ReplyOrIdError> {
    let state = connection.intern_atom(false, b"WM_STATE")?.reply()?.atom;
    let mut at = window;
    loop {
        let tree = connection.query_tree(at)?.reply()?;
        let managed = connection.get_property(false, at, state, AtomEnum::ANY, 0, 1)?;
        let is_managed = managed.reply()?.type_ != x11rb::NONE;
        if is_managed || tree.parent == tree.root || tree.parent == x11rb::NONE {
            return Ok((tree.root, at));
        }
        at = tree.parent;
    }
}

fn held(modifiers: Modifiers) -> KeyButMask {
    let mut held = KeyButMask::default();
    if modifiers.shift() {
        held |= KeyButMask::SHIFT;
    }
    if modifiers.ctrl() {
        held |= KeyButMask::CONTROL;
    }
    if modifiers.alt() {
        held |= KeyButMask::MOD1;
    }
    if modifiers.meta() {
        held |= KeyButMask::MOD4;
    }
    held
}

/// The number of a key on X servers of this century: the kernel's own and 8.
fn keycode(code: Code) -> Option<u8> {
    use Code::*;
    // Keys that lie side by side have numbers in a row.
    const ROWS: [(u8, &[Code]); 8] = [
        (
            10,
            &[
                Digit1,
                Digit2,
                Digit3,
                Digit4,
                Digit5,
                Digit6,
                Digit7,
                Digit8,
                Digit9,
                Digit0,
                Minus,
                Equal,
                Backspace,
                Tab,
                KeyQ,
                KeyW,
                KeyE,
                KeyR,
                KeyT,
                KeyY,
                KeyU,
                KeyI,
                KeyO,
                KeyP,
                BracketLeft,
                BracketRight,
                Enter,
            ],
        ),
        (
            38,
            &[
                KeyA, KeyS, KeyD, KeyF, KeyG, KeyH, KeyJ, KeyK, KeyL, Semicolon, Quote, Backquote,
            ],
        ),
        (
            51,
            &[
                Backslash, KeyZ, KeyX, KeyC, KeyV, KeyB, KeyN, KeyM, Comma, Period, Slash,
            ],
        ),
        (65, &[Space]),
        (67, &[F1, F2, F3, F4, F5, F6, F7, F8, F9, F10]),
        (
            79,
            &[
                Numpad7,
                Numpad8,
                Numpad9,
                NumpadSubtract,
                Numpad4,
                Numpad5,
                Numpad6,
                NumpadAdd,
                Numpad1,
                Numpad2,
                Numpad3,
                Numpad0,
                NumpadDecimal,
            ],
        ),
        (95, &[F11, F12]),
        (
            110,
            &[
                Home, ArrowUp, PageUp, ArrowLeft, ArrowRight, End, ArrowDown, PageDown, Insert,
                Delete,
            ],
        ),
    ];
    if code == NumpadEnter {
        return Some(104);
    }
    ROWS.iter().find_map(|(first, row)| {
        let at = row.iter().position(|key| *key == code)?;
        u8::try_from(at).ok().map(|at| first + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::xvfb::Display;
    use x11rb::connection::Connection;
    use x11rb::protocol::Event;
    use x11rb::protocol::xproto::{CreateWindowAux, WindowClass};

    #[test]
    fn keys_have_the_numbers_of_the_kernel_and_eight() {
        // From linux/input-event-codes.h.
        let known = [
            (Code::Space, 57),
            (Code::Enter, 28),
            (Code::KeyA, 30),
            (Code::KeyZ, 44),
            (Code::Slash, 53),
            (Code::F10, 68),
            (Code::F12, 88),
            (Code::Home, 102),
            (Code::Delete, 111),
            (Code::Numpad0, 82),
        ];
        for (code, kernel) in known {
            assert_eq!(keycode(code), Some(kernel + 8), "{code:?}");
        }
        assert_eq!(keycode(Code::AudioVolumeUp), None);
    }

    /// Needs Xvfb; without it nothing is tested.
    #[test]
    fn space_reaches_the_hosts_window_once() {
        let Some(display) = Display::start() else {
            return;
        };
        let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
        let root = connection.setup().roots[screen].root;
        let make = |parent| {
            let window = connection.generate_id().unwrap();
            let aux =
                CreateWindowAux::new().event_mask(EventMask::KEY_PRESS | EventMask::KEY_RELEASE);
            let class = WindowClass::INPUT_OUTPUT;
            connection
                .create_window(0, window, parent, 0, 0, 50, 50, 0, class, 0, &aux)
                .unwrap()
                .check()
                .unwrap();
            window
        };
        let host = make(root);
        let frame = make(host);
        let plugin = make(frame);
        let (other, _) = x11rb::connect(Some(display.name())).unwrap();
        let mut keys = HostKeys {
            window: Some(plugin),
            connection: Some(other),
            down: BTreeSet::new(),
        };
        let space = |state| KeyboardEvent {
            state,
            code: Code::Space,
            ..KeyboardEvent::default()
        };
        // Handed back by a host that does not want it: that must not go round.
        for state in [KeyState::Down, KeyState::Down, KeyState::Up, KeyState::Up] {
            keys.give(&space(state));
        }
        let heard: Vec<(u8, Window, bool)> =
            std::iter::from_fn(|| connection.poll_for_event().unwrap())
                .map(|event| match event {
                    Event::KeyPress(key) => (key.detail, key.event, true),
                    Event::KeyRelease(key) => (key.detail, key.event, false),
                    event => panic!("{event:?}"),
                })
                .collect();
        assert_eq!(heard, [(65, host, true), (65, host, false)]);
    }
}
