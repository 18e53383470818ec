//! The engine as a process: greetings, hostile bytes, one for each user, its end.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Home, long_recipe, recipe};
use protocol::framing::{self, FrameReader, Received};
use protocol::{FromEngine, PROTOCOL_VERSION, ToEngine};

const IDLE: &str = "--idle-secs 2";

/// What is answered to these bytes; none if the connection is closed.
fn answer_to(home: &Home, bytes: &[u8]) -> Option<FromEngine> {
    let mut stream = UnixStream::connect(home.places.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    // The engine may hang up before it has read all.
    let _ = stream.write_all(bytes);
    match FrameReader::default().next(&mut stream) {
        Ok(Received::Message(message)) => Some(message),
        Ok(Received::End) | Err(_) => None,
        Ok(Received::NothingYet) => panic!("no answer and no end"),
    }
}

fn framed(message: &ToEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    framing::write(&mut bytes, message).unwrap();
    bytes
}

#[test]
fn another_version_is_refused_in_words() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    assert_eq!(plugin.client.engine_version(), engine::VERSION);
    let hello = framed(&ToEngine::Hello {
        protocol: PROTOCOL_VERSION + 1,
        client: "from tomorrow".to_owned(),
    });
    let Some(FromEngine::Refused { reason }) = answer_to(&home, &hello) else {
        panic!("not refused");
    };
    assert!(reason.contains("one version"), "{reason}");
    let early = framed(&ToEngine::ListBases);
    assert!(matches!(
        answer_to(&home, &early),
        Some(FromEngine::Refused { .. })
    ));
}

#[test]
fn hostile_bytes_end_their_own_connection_alone() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let greeting = framed(&ToEngine::Hello {
        protocol: PROTOCOL_VERSION,
        client: "\u{1b}[2Jhello\n".to_owned(),
    });
    let text = |text: &str| {
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let deep = format!("{{\"say\":{}", "[".repeat(100_000));
    let hostile: Vec<Vec<u8>> = vec![
        u32::MAX.to_le_bytes().to_vec(),
        vec![0xff; 100_000],
        text("{}"),
        text("null"),
        text(&deep),
        text("{\"say\":\"generate\",\"job\":-1}"),
        text("\u{0}"),
        vec![0; 4],
    ];
    for bytes in &hostile {
        assert_eq!(answer_to(&home, bytes), None);
        let after = [greeting.clone(), bytes.clone()].concat();
        let welcome = answer_to(&home, &after);
        assert!(matches!(welcome, Some(FromEngine::Welcome { .. }) | None));
    }
    plugin.made(1, &recipe(1));
    assert!(!home.log().contains('\u{1b}'));
}

#[test]
fn a_slow_reader_delays_nobody() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let mut deaf = UnixStream::connect(home.places.socket()).unwrap();
    let hello = ToEngine::Hello {
        protocol: PROTOCOL_VERSION,
        client: "deaf".to_owned(),
    };
    deaf.write_all(&framed(&hello)).unwrap();
    for _ in 0..2_000 {
        if deaf.write_all(&framed(&ToEngine::ListBases)).is_err() {
            break;
        }
    }
    plugin.made(1, &recipe(1));
}

#[test]
fn of_two_engines_one_gives_way_and_an_idle_one_ends() {
    let home = Home::new("--idle-secs 1");
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_lorelei-engine"))
            .args(["--idle-secs", "1", "--threads", "1"])
            .env("LORELEI_HOME", home.path())
            .spawn()
            .unwrap()
    };
    let mut engines = [start(), start(), start()];
    let ended = engines.each_mut().map(|engine| engine.wait().unwrap());
    assert!(ended.iter().all(std::process::ExitStatus::success));
    assert!(!home.places.socket().exists());
    assert!(home.log().contains("over"), "{}", home.log());
    // And the next one begins where it was.
    home.connect().made(1, &recipe(1));
}

#[test]
fn many_that_start_one_at_once_meet_at_the_same() {
    let home = Home::new(IDLE);
    let plugins: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| home.connect())).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (job, plugin) in plugins.iter().enumerate() {
        plugin.made(job as u64, &recipe(1));
    }
    assert_eq!(home.log().matches("listens").count(), 1);
}

#[test]
fn asked_to_end_it_tells_its_clients() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    plugin.generate(1, &long_recipe(1));
    plugin.generate(2, &long_recipe(2));
    plugin.wait_for("progress", |message| {
        matches!(message, FromEngine::Progress { job: 1, .. }).then_some(())
    });
    home.signal("-TERM");
    assert_eq!(plugin.ending(2), Err(None));
    assert_eq!(plugin.ending(1), Err(None));
    home.wait_until("the socket is gone", || !home.places.socket().exists());
}

#[test]
fn the_protocols_version_changes_with_the_embedded_base() {
    let base = lora::base::embedded_facts().unwrap().identity;
    assert_eq!(
        (protocol::PROTOCOL_VERSION, base.version),
        (5, 5),
        "raise PROTOCOL_VERSION with the base, else a newer plugin is served by an older engine that still runs"
    );
}

#[test]
fn bases_and_their_tags_are_listed() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    plugin.say(&ToEngine::ListBases);
    let bases = plugin.wait_for("bases", |message| match message {
        FromEngine::Bases { bases } => Some(bases),
        _ => None,
    });
    assert_eq!(bases[0].name, "embedded");
    assert!(bases[0].is_installed && bases[0].tags.iter().any(|tag| tag == "lofi"));
    let groups = bases[0].groups.iter();
    let groups: Vec<(&str, &str)> = groups
        .map(|group| (group.title.as_str(), group.tags[0].as_str()))
        .collect();
    assert_eq!(
        groups,
        [
            ("Styles", "house"),
            ("Instruments", "piano"),
            ("Moods", "calm")
        ]
    );
    assert!(
        bases
            .iter()
            .any(|base| base.name == "diffrhythm-v1.2" && !base.is_installed)
    );
}
