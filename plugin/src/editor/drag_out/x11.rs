//! Drag-and-drop's source side on X11 (the XDND protocol, version 5), over a connection of its own.
//!
//! The window that is dragged from needs no part in it: the pointer is asked for where it is, and the window below it is spoken to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConnectionExt, CreateWindowAux, EventMask, KeyButMask,
    PropMode, SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Timestamp,
    Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Version that is spoken; every program since 2002 knows it.
const VERSION: u32 = 5;
/// Older ones have no time in their messages.
const LEAST_VERSION: u32 = 3;
/// How often the pointer is asked for.
const INTERVAL: Duration = Duration::from_millis(12);
/// How long a window may take to say whether it takes what was let go above it.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a program may take to read the file's name after it was let go.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

x11rb::atom_manager! {
    Atoms:
    AtomsCookie {
        XdndAware,
        XdndProxy,
        XdndSelection,
        XdndEnter,
        XdndPosition,
        XdndStatus,
        XdndLeave,
        XdndDrop,
        XdndFinished,
        XdndActionCopy,
        TARGETS,
        _LORELEI_TIME,
        UriList: b"text/uri-list",
    }
}

/// Where the pointer is on its screen.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    x: i16,
    y: i16,
    is_down: bool,
}

/// Leads a file with the pointer until its button is let go; true if a program took it.
pub(super) fn carry(path: &Path, is_stopped: &AtomicBool) -> Result<bool, ReplyOrIdError> {
    // A display that is gone says so as a connection that cannot be used.
    let (connection, screen) =
        x11rb::connect(None).map_err(|_| x11rb::errors::ConnectionError::UnknownError)?;
    let root = connection.setup().roots[screen].root;
    let ask = |connection: &RustConnection| -> Result<Pointer, ReplyOrIdError> {
        let at = connection.query_pointer(root)?.reply()?;
        Ok(Pointer {
            x: at.root_x,
            y: at.root_y,
            is_down: at.mask.contains(KeyButMask::BUTTON1),
        })
    };
    Drag::new(&connection, root, path)?.run(ask, is_stopped)
}

struct Drag<'a> {
    connection: &'a RustConnection,
    atoms: Atoms,
    root: Window,
    source: Window,
    time: Timestamp,
    uri: Vec<u8>,
    target: Option<Target>,
    is_finished: Option<bool>,
}

/// The window that is below the pointer and knows the protocol.
#[derive(Debug, Clone, Copy)]
struct Target {
    window: Window,
    // Messages go here; mostly it is the same.
    proxy: Window,
    version: u32,
    accepts: bool,
    // When a position was sent that was not answered yet.
    asked: Option<Instant>,
    position: Option<(i16, i16)>,
}

impl<'a> Drag<'a> {
    fn new(
        connection: &'a RustConnection,
        root: Window,
        path: &Path,
    ) -> Result<Self, ReplyOrIdError> {
        let atoms = Atoms::new(connection)?.reply()?;
        let source = connection.generate_id()?;
        let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        connection.create_window(
            0,
            source,
            root,
            -1,
            -1,
            1,
            1,
            0,
            WindowClass::INPUT_ONLY,
            0,
            &aux,
        )?;
        let time = server_time(connection, source, &atoms)?;
        connection.set_selection_owner(source, atoms.XdndSelection, time)?;
        connection.flush()?;
        Ok(Self {
            connection,
            atoms,
            root,
            source,
            time,
            uri: uri(path),
            target: None,
            is_finished: None,
        })
    }

    fn run(
        mut self,
        ask: impl Fn(&RustConnection) -> Result<Pointer, ReplyOrIdError>,
        is_stopped: &AtomicBool,
    ) -> Result<bool, ReplyOrIdError> {
        let mut pointer = ask(self.connection)?;
        // The window that is dragged from takes nothing itself.
        let own = self.path_to(pointer)?.last().copied();
        while pointer.is_down && !is_stopped.load(Ordering::Relaxed) {
            self.answer()?;
            let path = self.path_to(pointer)?;
            let is_home = own.is_some_and(|own| path.contains(&own));
            let found = match is_home {
                true => None,
                false => self.aware(&path)?,
            };
            self.change_target(found)?;
            self.say_position(pointer)?;
            std::thread::sleep(INTERVAL);
            pointer = ask(self.connection)?;
        }
        match is_stopped.load(Ordering::Relaxed) {
            true => self.leave().map(|()| false),
            false => self.let_go(is_stopped),
        }
    }

    /// All windows below the pointer, from the root's child inwards.
    fn path_to(&self, pointer: Pointer) -> Result<Vec<Window>, ReplyOrIdError> {
        let mut path = Vec::new();
        let mut window = self.root;
        // No tree of windows is as deep as this.
        while path.len() < 64 {
            let cookie = self
                .connection
                .translate_coordinates(self.root, window, pointer.x, pointer.y)?;
            // A window may close at any moment.
            let Ok(reply) = cookie.reply() else { break };
            if reply.child == x11rb::NONE {
                break;
            }
            window = reply.child;
            path.push(window);
        }
        Ok(path)
    }

    fn aware(&self, path: &[Window]) -> Result<Option<Target>, ReplyOrIdError> {
        for window in path {
            let proxy = self
                .property(*window, self.atoms.XdndProxy, AtomEnum::WINDOW)?
                .unwrap_or(*window);
            let version = self.property(proxy, self.atoms.XdndAware, AtomEnum::ATOM)?;
            if let Some(version) = version.filter(|version| *version >= LEAST_VERSION) {
                return Ok(Some(Target {
                    window: *window,
                    proxy,
                    version: version.min(VERSION),
                    accepts: false,
                    asked: None,
                    position: None,
                }));
            }
        }
        Ok(None)
    }

    fn property(
        &self,
        window: Window,
        property: Atom,
        kind: AtomEnum,
    ) -> Result<Option<u32>, ReplyOrIdError> {
        let cookie = self
            .connection
            .get_property(false, window, property, kind, 0, 1)?;
        let Ok(reply) = cookie.reply() else {
            return Ok(None);
        };
        Ok(reply.value32().and_then(|mut values| values.next()))
    }

    fn change_target(&mut self, found: Option<Target>) -> Result<(), ReplyOrIdError> {
        let window = |target: &Target| target.window;
        if found.as_ref().map(window) == self.target.as_ref().map(window) {
            return Ok(());
        }
        self.leave()?;
        if let Some(target) = found {
            let kinds = [target.version << 24, self.atoms.UriList, 0, 0];
            self.tell(target, self.atoms.XdndEnter, kinds)?;
            self.target = Some(target);
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), ReplyOrIdError> {
        match self.target.take() {
            Some(target) => self.tell(target, self.atoms.XdndLeave, [0; 4]),
            None => Ok(()),
        }
    }

    fn say_position(&mut self, pointer: Pointer) -> Result<(), ReplyOrIdError> {
        let Some(mut target) = self.target else {
            return Ok(());
        };
        let here = Some((pointer.x, pointer.y));
        let is_waiting = target
            .asked
            .is_some_and(|asked| asked.elapsed() < STATUS_PATIENCE);
        if is_waiting || target.position == here {
            return Ok(());
        }
        let place = (u32::from(pointer.x as u16) << 16) | u32::from(pointer.y as u16);
        let data = [0, place, self.time, self.atoms.XdndActionCopy];
        self.tell(target, self.atoms.XdndPosition, data)?;
        target.asked = Some(Instant::now());
        target.position = here;
        self.target = Some(target);
        Ok(())
    }

    fn let_go(&mut self, is_stopped: &AtomicBool) -> Result<bool, ReplyOrIdError> {
        let since = Instant::now();
        let waits = |drag: &Self| drag.target.is_some_and(|target| target.asked.is_some());
        while waits(self) && since.elapsed() < STATUS_PATIENCE {
            self.answer()?;
            std::thread::sleep(INTERVAL);
        }
        let Some(target) = self.target.filter(|target| target.accepts) else {
            self.leave()?;
            return Ok(false);
        };
        self.tell(target, self.atoms.XdndDrop, [0, self.time, 0, 0])?;
        let since = Instant::now();
        while self.is_finished.is_none()
            && since.elapsed() < FINISH_PATIENCE
            && !is_stopped.load(Ordering::Relaxed)
        {
            self.answer()?;
            std::thread::sleep(INTERVAL);
        }
        Ok(self.is_finished.unwrap_or(false))
    }

    fn tell(
        &self,
        target: Target,
        kind: Atom,
        [one, two, three, four]: [u32; 4],
    ) -> Result<(), ReplyOrIdError> {
        let data = [self.source, one, two, three, four];
        let message = ClientMessageEvent::new(32, target.window, kind, data);
        // A window that closed meanwhile is no reason to stop.
        self.connection
            .send_event(false, target.proxy, EventMask::NO_EVENT, message)?
            .ignore_error();
        self.connection.flush()?;
        Ok(())
    }

    /// Answers all that has come in.
    fn answer(&mut self) -> Result<(), ReplyOrIdError> {
        while let Some(event) = self.connection.poll_for_event()? {
            match event {
                Event::ClientMessage(message) => self.hear(&message),
                Event::SelectionRequest(request) => self.give(&request)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &ClientMessageEvent) {
        let data = message.data.as_data32();
        if message.type_ == self.atoms.XdndStatus
            && let Some(target) = self
                .target
                .as_mut()
                .filter(|target| target.window == data[0])
        {
            target.accepts = data[1] & 1 == 1;
            target.asked = None;
        }
        if message.type_ == self.atoms.XdndFinished {
            // Only from version 5 on does a program say whether it took it.
            let version = self.target.map_or(VERSION, |target| target.version);
            self.is_finished = Some(version < 5 || data[1] & 1 == 1);
        }
    }

    fn give(&self, request: &SelectionRequestEvent) -> Result<(), ReplyOrIdError> {
        // Old programs give no property and mean the target's name.
        let property = match request.property {
            x11rb::NONE => request.target,
            property => property,
        };
        let mut answered = x11rb::NONE;
        if request.target == self.atoms.UriList {
            self.connection.change_property8(
                PropMode::REPLACE,
                request.requestor,
                property,
                self.atoms.UriList,
                &self.uri,
            )?;
            answered = property;
        } else if request.target == self.atoms.TARGETS {
            let kinds = [self.atoms.TARGETS, self.atoms.UriList];
            self.connection.change_property32(
                PropMode::REPLACE,
                request.requestor,
                property,
                AtomEnum::ATOM,
                &kinds,
            )?;
            answered = property;
        }
        let notice = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: answered,
        };
        self.connection
            .send_event(false, request.requestor, EventMask::NO_EVENT, notice)?
            .ignore_error();
        self.connection.flush()?;
        Ok(())
    }
}

/// The server's clock, as only an event tells it.
fn server_time(
    connection: &RustConnection,
    window: Window,
    atoms: &Atoms,
) -> Result<Timestamp, ReplyOrIdError> {
    connection.change_property32(
        PropMode::REPLACE,
        window,
        atoms._LORELEI_TIME,
        AtomEnum::CARDINAL,
        &[0],
    )?;
    connection.flush()?;
    loop {
        if let Event::PropertyNotify(notice) = connection.wait_for_event()? {
            return Ok(notice.time);
        }
    }
}

/// A file as a list of one address.
fn uri(path: &Path) -> Vec<u8> {
    let mut uri = b"file://".to_vec();
    for byte in path.as_os_str().as_bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
        match is_plain {
            true => uri.push(*byte),
            false => uri.extend(format!("%{byte:02X}").bytes()),
        }
    }
    uri.extend(b"\r\n");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::xvfb::Display;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn an_address_is_plain_letters() {
        let path = Path::new("/home/me/M\u{fc}sic/my clip 1.wav");
        assert_eq!(
            uri(path),
            b"file:///home/me/M%C3%BCsic/my%20clip%201.wav\r\n"
        );
    }

    /// A program with one window that takes files; gives what it was given.
    fn take(display: &str, is_ready: &AtomicU32) -> Vec<u8> {
        let (connection, screen) = x11rb::connect(Some(display)).unwrap();
        let screen = &connection.setup().roots[screen];
        let atoms = Atoms::new(&connection).unwrap().reply().unwrap();
        let window = connection.generate_id().unwrap();
        let aux = CreateWindowAux::new().override_redirect(1);
        connection
            .create_window(
                x11rb::COPY_DEPTH_FROM_PARENT,
                window,
                screen.root,
                300,
                100,
                200,
                200,
                0,
                WindowClass::INPUT_OUTPUT,
                0,
                &aux,
            )
            .unwrap();
        connection
            .change_property32(
                PropMode::REPLACE,
                window,
                atoms.XdndAware,
                AtomEnum::ATOM,
                &[5],
            )
            .unwrap();
        connection.map_window(window).unwrap().check().unwrap();
        is_ready.store(window, Ordering::SeqCst);
        let mut source = 0;
        let tell = |source: Window, kind: Atom, data: [u32; 4]| {
            let data = [window, data[0], data[1], data[2], data[3]];
            let message = ClientMessageEvent::new(32, source, kind, data);
            connection
                .send_event(false, source, EventMask::NO_EVENT, message)
                .unwrap();
            connection.flush().unwrap();
        };
        loop {
            match connection.wait_for_event().unwrap() {
                Event::ClientMessage(message) => {
                    let data = message.data.as_data32();
                    if message.type_ == atoms.XdndEnter {
                        source = data[0];
                        assert_eq!(data[1] >> 24, 5);
                        assert_eq!(data[2], atoms.UriList);
                    } else if message.type_ == atoms.XdndPosition {
                        assert_eq!(data[4], atoms.XdndActionCopy);
                        tell(source, atoms.XdndStatus, [1, 0, 0, atoms.XdndActionCopy]);
                    } else if message.type_ == atoms.XdndDrop {
                        connection
                            .convert_selection(
                                window,
                                atoms.XdndSelection,
                                atoms.UriList,
                                atoms.XdndSelection,
                                data[2],
                            )
                            .unwrap();
                        connection.flush().unwrap();
                    }
                }
                Event::SelectionNotify(notice) => {
                    assert_eq!(notice.property, atoms.XdndSelection);
                    let given = connection
                        .get_property(true, window, notice.property, atoms.UriList, 0, 1000)
                        .unwrap()
                        .reply()
                        .unwrap();
                    tell(source, atoms.XdndFinished, [1, atoms.XdndActionCopy, 0, 0]);
                    // A server may forget what a program said that left at once.
                    connection.sync().unwrap();
                    return given.value;
                }
                _ => {}
            }
        }
    }

    /// Needs Xvfb; without it nothing is said and nothing is tested.
    #[test]
    fn a_window_that_takes_files_gets_the_clip() {
        let Some(display) = Display::start() else {
            return;
        };
        let is_ready = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| take(display.name(), &is_ready));
            while is_ready.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(INTERVAL);
            }
            let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
            let root = connection.setup().roots[screen].root;
            let path = Path::new("/music/Lorelei/night river.wav");
            let drag = Drag::new(&connection, root, path).unwrap();
            // From nowhere onto the window, and there the button is let go.
            let asked = AtomicU32::new(0);
            let pointer = |_: &RustConnection| {
                let step = asked.fetch_add(1, Ordering::SeqCst) as i16;
                Ok(Pointer {
                    x: 50 + step * 20,
                    y: 150,
                    is_down: step < 20,
                })
            };
            assert!(drag.run(pointer, &AtomicBool::new(false)).unwrap());
            let given = taker.join().unwrap();
            assert_eq!(given, b"file:///music/Lorelei/night%20river.wav\r\n");
        });
    }

    #[test]
    fn a_drag_to_nowhere_is_not_taken() {
        let Some(display) = Display::start() else {
            return;
        };
        let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
        let root = connection.setup().roots[screen].root;
        let asked = AtomicU32::new(0);
        let pointer = |_: &RustConnection| {
            let step = asked.fetch_add(1, Ordering::SeqCst) as i16;
            Ok(Pointer {
                x: step,
                y: 5,
                is_down: step < 5,
            })
        };
        let drag = Drag::new(&connection, root, Path::new("/a.wav")).unwrap();
        assert!(!drag.run(pointer, &AtomicBool::new(false)).unwrap());
    }
}
