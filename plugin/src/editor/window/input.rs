//! The system's events as egui's, and which keys are the host's.

use egui::{CursorIcon, Key, Modifiers, PointerButton};
use keyboard_types::{Code, Key as SystemKey, KeyState, KeyboardEvent, NamedKey};

/// Whose keys go where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    /// A text field takes all keys.
    Text,
    /// The keyboard walks through the controls.
    Control,
    /// Nothing has it, but something is open that Escape closes.
    Open,
    /// Nothing has it: the host's keys stay the host's.
    Nothing,
}

/// Whether a key is ours. The host gets all others, above all Space, which starts and stops it.
pub(super) fn takes(focus: Focus, key: Option<Key>, modifiers: Modifiers) -> bool {
    let shortcut = |key| {
        modifiers.command
            && matches!(
                key,
                Key::G | Key::Z | Key::Plus | Key::Equals | Key::Minus | Key::Num0
            )
    };
    let walking = |key| {
        matches!(
            key,
            Key::ArrowUp
                | Key::ArrowDown
                | Key::ArrowLeft
                | Key::ArrowRight
                | Key::PageUp
                | Key::PageDown
                | Key::Home
                | Key::End
                | Key::Enter
                | Key::Escape
                | Key::Space
                | Key::Delete
                | Key::Backspace
                | Key::F2
        )
    };
    match (focus, key) {
        (Focus::Text, _) => true,
        (_, None) => false,
        (Focus::Control, Some(key)) => key == Key::Tab || shortcut(key) || walking(key),
        (Focus::Open, Some(Key::Escape)) => true,
        (Focus::Open | Focus::Nothing, Some(key)) => {
            (key == Key::Tab && !modifiers.ctrl && !modifiers.alt) || shortcut(key)
        }
    }
}

/// egui's name of a key.
pub(super) fn key(key: &SystemKey) -> Option<Key> {
    match key {
        SystemKey::Character(letters) if letters == " " => Some(Key::Space),
        // With Shift, letters are capitals; it is the same key.
        SystemKey::Character(letters) => Key::from_name(&letters.to_uppercase()),
        SystemKey::Named(named) => of_name(*named),
    }
}

fn of_name(named: NamedKey) -> Option<Key> {
    Some(match named {
        NamedKey::ArrowDown => Key::ArrowDown,
        NamedKey::ArrowLeft => Key::ArrowLeft,
        NamedKey::ArrowRight => Key::ArrowRight,
        NamedKey::ArrowUp => Key::ArrowUp,
        NamedKey::Escape => Key::Escape,
        NamedKey::Tab => Key::Tab,
        NamedKey::Backspace => Key::Backspace,
        NamedKey::Enter => Key::Enter,
        NamedKey::Insert => Key::Insert,
        NamedKey::Delete => Key::Delete,
        NamedKey::Home => Key::Home,
        NamedKey::End => Key::End,
        NamedKey::PageUp => Key::PageUp,
        NamedKey::PageDown => Key::PageDown,
        NamedKey::F2 => Key::F2,
        _ => return None,
    })
}

/// Held keys.
pub(super) fn modifiers(system: keyboard_types::Modifiers) -> Modifiers {
    let is_mac = cfg!(target_os = "macos");
    Modifiers {
        alt: system.alt(),
        ctrl: system.ctrl(),
        shift: system.shift(),
        mac_cmd: is_mac && system.meta(),
        command: if is_mac { system.meta() } else { system.ctrl() },
    }
}

/// What a key press asks of the clipboard or writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Copy,
    Cut,
    Paste,
    Letters(String),
}

/// What a key writes.
pub(super) fn written(event: &KeyboardEvent, modifiers: Modifiers) -> Written {
    if event.state != KeyState::Down {
        return Written::Nothing;
    }
    let on_windows = |code| cfg!(windows) && event.code == code;
    match event.code {
        Code::KeyX if modifiers.command => return Written::Cut,
        Code::KeyC if modifiers.command => return Written::Copy,
        Code::KeyV if modifiers.command => return Written::Paste,
        _ if modifiers.shift && on_windows(Code::Delete) => return Written::Cut,
        _ if modifiers.ctrl && on_windows(Code::Insert) => return Written::Copy,
        _ if modifiers.shift && on_windows(Code::Insert) => return Written::Paste,
        _ => {}
    }
    // AltGr is Ctrl and Alt on some systems, and writes.
    let is_command = (modifiers.ctrl && !modifiers.alt) || modifiers.mac_cmd;
    match &event.key {
        SystemKey::Character(letters) if !is_command && !letters.chars().any(char::is_control) => {
            Written::Letters(letters.clone())
        }
        _ => Written::Nothing,
    }
}

/// egui's name of a mouse button.
pub(super) fn button(button: baseview::MouseButton) -> Option<PointerButton> {
    match button {
        baseview::MouseButton::Left => Some(PointerButton::Primary),
        baseview::MouseButton::Right => Some(PointerButton::Secondary),
        baseview::MouseButton::Middle => Some(PointerButton::Middle),
        _ => None,
    }
}

/// The system's name of a pointer's look.
pub(super) fn cursor(icon: CursorIcon) -> baseview::MouseCursor {
    use baseview::MouseCursor;
    match icon {
        CursorIcon::PointingHand | CursorIcon::Grab => MouseCursor::Hand,
        CursorIcon::Grabbing => MouseCursor::HandGrabbing,
        CursorIcon::Text => MouseCursor::Text,
        CursorIcon::NotAllowed | CursorIcon::NoDrop => MouseCursor::NotAllowed,
        CursorIcon::ResizeHorizontal => MouseCursor::EwResize,
        CursorIcon::ResizeVertical => MouseCursor::NsResize,
        _ => MouseCursor::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_the_hosts_until_the_keyboard_is_used_here() {
        let none = Modifiers::NONE;
        assert!(!takes(Focus::Nothing, Some(Key::Space), none));
        assert!(!takes(Focus::Nothing, Some(Key::A), none));
        assert!(!takes(Focus::Nothing, Some(Key::Enter), none));
        assert!(!takes(Focus::Control, Some(Key::A), none));
        assert!(!takes(Focus::Control, Some(Key::S), Modifiers::COMMAND));
        assert!(takes(Focus::Control, Some(Key::Space), none));
        assert!(takes(Focus::Text, Some(Key::Space), none));
        assert!(takes(Focus::Text, None, none));
        assert!(takes(Focus::Nothing, Some(Key::Tab), none));
        assert!(takes(Focus::Nothing, Some(Key::Z), Modifiers::COMMAND));
        assert!(!takes(Focus::Nothing, Some(Key::Escape), none));
        assert!(takes(Focus::Open, Some(Key::Escape), none));
        assert!(!takes(Focus::Open, Some(Key::Space), none));
    }

    #[test]
    fn capitals_are_the_same_keys() {
        let character = |letters: &str| key(&SystemKey::Character(letters.to_owned()));
        assert_eq!(character("Z"), Some(Key::Z));
        assert_eq!(character("z"), Some(Key::Z));
        assert_eq!(character(" "), Some(Key::Space));
        assert_eq!(character("+"), Some(Key::Plus));
        assert_eq!(key(&SystemKey::Named(NamedKey::Tab)), Some(Key::Tab));
    }

    #[test]
    fn commands_write_nothing() {
        let event = |letters: &str, code| KeyboardEvent {
            state: KeyState::Down,
            key: SystemKey::Character(letters.to_owned()),
            code,
            ..KeyboardEvent::default()
        };
        let letters = |text: &str| Written::Letters(text.to_owned());
        let written = |letters: &str, code, held| written(&event(letters, code), held);
        assert_eq!(written("g", Code::KeyG, Modifiers::NONE), letters("g"));
        assert_eq!(
            written("g", Code::KeyG, Modifiers::CTRL | Modifiers::COMMAND),
            Written::Nothing
        );
        assert_eq!(
            written("v", Code::KeyV, Modifiers::CTRL | Modifiers::COMMAND),
            Written::Paste
        );
        let alt_gr = Modifiers::CTRL | Modifiers::ALT;
        assert_eq!(written("@", Code::KeyQ, alt_gr), letters("@"));
        assert_eq!(
            written("\u{8}", Code::Backspace, Modifiers::NONE),
            Written::Nothing
        );
    }
}
