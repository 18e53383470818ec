//! The plugin's window in a host, on an X server of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::clap_host::{INSTRUMENT, Rack, Transport, load};
use common::fake_engine::FakeEngine;
use common::{home, library, wait_for};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt, CreateWindowAux, WindowClass};

struct Server(Child);

impl Server {
    /// None where Xvfb is not installed. The display is in the environment from then on.
    fn start() -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1400x1000x24"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut number = String::new();
        BufReader::new(child.stdout.take()?)
            .read_line(&mut number)
            .ok()?;
        // SAFETY: this program has one test, which has started no thread yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("DISPLAY", format!(":{}", number.trim()));
            std::env::set_var("LIBGL_ALWAYS_SOFTWARE", "1");
        }
        Some(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_window_opens_and_closes_as_often_as_a_host_likes() {
    home();
    let Some(_server) = Server::start() else {
        eprintln!("not run: Xvfb is not installed");
        return;
    };
    let _engine = FakeEngine::start(home());
    let (connection, screen) = x11rb::connect(None).unwrap();
    let root = connection.setup().roots[screen].root;
    let parent = connection.generate_id().unwrap();
    connection
        .create_window(
            x11rb::COPY_DEPTH_FROM_PARENT,
            parent,
            root,
            0,
            0,
            1400,
            1000,
            0,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            &CreateWindowAux::new(),
        )
        .unwrap();
    connection.map_window(parent).unwrap();
    connection.flush().unwrap();
    let children = || {
        let tree = connection.query_tree(parent).unwrap().reply();
        tree.unwrap().children.len()
    };
    let seen = |rack: &mut Rack, count: usize| {
        rack.idle();
        (children() == count).then_some(())
    };

    let entry = load(&library());
    let mut rack = Rack::new(&entry, INSTRUMENT);
    for round in 0..10 {
        // Open before sound is processed, while it is, and while the instance rests.
        if round == 3 {
            rack.activate(48_000.0, 512);
        }
        if round == 7 {
            rack.deactivate();
        }
        rack.open_window(parent);
        wait_for("a window", || seen(&mut rack, 1), String::new);
        if (3..7).contains(&round) {
            rack.process(
                512,
                Some(Transport {
                    is_playing: true,
                    tempo_bpm: 120.0,
                    position_quarters: 0.0,
                }),
            );
        }
        assert_eq!(rack.resize_window(1200, 800), (1200, 800));
        let (width, height) = rack.resize_window(10, 10);
        assert!(width >= 760 && height >= 520, "{width} x {height}");
        for _ in 0..10 {
            rack.idle();
            std::thread::sleep(Duration::from_millis(10));
        }
        rack.close_window();
        wait_for("no window", || seen(&mut rack, 0), String::new);
    }
    // An instance that is destroyed with its window open.
    rack.open_window(parent);
    wait_for("a window", || seen(&mut rack, 1), String::new);
    rack.close_window();
    drop(rack);
}
