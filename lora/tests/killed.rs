//! A real process, killed at any moment and resumed, ends in the same bytes as one that was left alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nn::Stream;

/// Runs that are killed.
const RUNS: u64 = 50;
/// Kills of one run before it is left to end.
const MOST_KILLS: u64 = 4;

/// The command that begins a run in `folder`, or goes on with it. A checkpoint at every step, so that many kills fall into one.
fn train(folder: &Path, segments: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lora-train"));
    command
        .current_dir(folder)
        .args([
            "--model",
            common::TINY,
            "--steps",
            "20",
            "--batch-size",
            "2",
        ])
        .args([
            "--crop-secs",
            "0.5",
            "--checkpoint-steps",
            "1",
            "--threads",
            "1",
        ])
        .arg("--data")
        .arg(segments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if folder.join("runs/style/config.toml").exists() {
        command.arg("--resume");
    }
    command.spawn().unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[test]
#[ignore = "slow: some hundred processes"]
fn killed_and_resumed_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let segments = folder.path().join("segments");
    let run = |name: String| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let whole = run("whole".to_owned());
    // The first run also encodes the pieces, which the others find in the cache.
    finish(train(&whole, &segments));
    let expected = std::fs::read(whole.join("style.safetensors")).unwrap();
    let timed = run("timed".to_owned());
    let started = Instant::now();
    finish(train(&timed, &segments));
    let whole_time = started.elapsed();

    let (mut kills, mut inside) = (0, 0);
    for number in 0..RUNS {
        let random = Stream::new(number);
        let killed = run(format!("killed-{number}"));
        for kill in 0..MOST_KILLS {
            let share = f64::from(random.at(kill).uniform_vec(1)[0]);
            let mut child = train(&killed, &segments);
            std::thread::sleep(Duration::from_secs_f64(share * whole_time.as_secs_f64()));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            inside += usize::from(killed.join("runs/style/config.toml").exists());
        }
        if !killed.join("style.safetensors").exists() {
            finish(train(&killed, &segments));
        }
        let found = std::fs::read(killed.join("style.safetensors")).unwrap();
        assert!(found == expected, "run {number} ended in other bytes");
        let left: Vec<_> = std::fs::read_dir(killed.join("runs/style/checkpoints"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            left.iter().filter(|name| !name.ends_with(".part")).count() <= 3,
            "{left:?}"
        );
    }
    eprintln!("{kills} kills, {inside} of them in a run that had begun");
    assert!(
        inside as u64 >= RUNS / 2,
        "most kills came before the run began: {inside} of {kills}"
    );
}
