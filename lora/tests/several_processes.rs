//! Processes started by `mpirun` train the adapter that one process with the same steps would; they agree on stops, and none outlives
//! another. Without `mpirun` on the machine these tests say that they did not run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use lora::adapter::Adapter;

/// Losses and gradients in f32, added up in another order, over twelve steps of Adam.
const TOLERANCE: f64 = 1e-3;

const TRAIN: [&str; 14] = [
    "--model",
    common::TINY,
    "--data",
    "../segments",
    "--batch-size",
    "2",
    "--crop-secs",
    "0.5",
    "--preview-steps",
    "0",
    "--threads",
    "1",
    "--log-steps",
    "1",
];

/// A folder of pieces; none if there is no `mpirun`.
fn pieces(test: &str) -> Option<tempfile::TempDir> {
    if Command::new("mpirun").arg("--version").output().is_err() {
        eprintln!("{test} did NOT run: mpirun is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    Some(folder)
}

/// `lora-train`, by itself or as several processes, in a folder of its own.
fn train(parent: &Path, name: &str, processes: usize, flags: &[&str]) -> Command {
    let folder = parent.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let program = env!("CARGO_BIN_EXE_lora-train");
    let mut command = match processes {
        0 => Command::new(program),
        _ => {
            let mut command = Command::new("mpirun");
            let count = processes.to_string();
            command
                .args([
                    "--allow-run-as-root",
                    "--oversubscribe",
                    "--bind-to",
                    "none",
                ])
                .args(["-n", &count, program]);
            command
        }
    };
    command
        .current_dir(folder)
        .args(TRAIN)
        .args(flags)
        .args((!flags.contains(&"--steps")).then_some("--steps=12"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    output
}

fn adapter(parent: &Path, name: &str) -> PathBuf {
    parent.join(name).join("style.safetensors")
}

fn bytes(parent: &Path, name: &str) -> Vec<u8> {
    std::fs::read(adapter(parent, name)).unwrap()
}

/// Losses of the steps and of the held-out songs, in order.
fn losses(parent: &Path, name: &str) -> Vec<f64> {
    let records = journal::read_records(&parent.join(name).join("runs/style")).unwrap();
    let loss = |record: &journal::Record| match record {
        journal::Record::Step(step) => Some(step.loss),
        journal::Record::Validation(validation) => Some(validation.loss),
        _ => None,
    };
    records.iter().filter_map(loss).collect()
}

/// How far the factors of two adapters lie apart, over their length.
fn apart(parent: &Path, left: &str, right: &str) -> f64 {
    let load = |name| Adapter::load(&adapter(parent, name), &Device::Cpu).unwrap();
    let (left, right) = (load(left), load(right));
    let norm = |tensor: &Tensor| {
        let sum = tensor.sqr().unwrap().sum_all().unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap())
    };
    let (mut distance, mut length) = (0.0, 0.0);
    for (name, layer) in &left.layers {
        for (tensor, other) in layer.tensors().iter().zip(right.layers[name].tensors()) {
            distance += norm(&(*tensor - other).unwrap());
            length += norm(tensor);
        }
    }
    (distance / length).sqrt()
}

#[test]
fn two_processes_are_one_to_the_last_bit() {
    let Some(folder) = pieces("two_processes_are_one_to_the_last_bit") else {
        return;
    };
    let folder = folder.path();
    succeeds(train(folder, "one", 0, &["--accumulate", "2"]));
    let output = succeeds(train(folder, "two", 2, &[]));
    assert_eq!(bytes(folder, "one"), bytes(folder, "two"));
    assert_eq!(losses(folder, "one"), losses(folder, "two"));
    // One speaks for both, on both outputs.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "style.safetensors\n"
    );
    let told = told(&output);
    assert!(told.contains("2 processes, 2 on this host"), "{told}");
    assert_eq!(told.matches("pieces to train on").count(), 1, "{told}");
    // The settings that are kept are those one process would need.
    let config = |name| std::fs::read_to_string(folder.join(name).join("runs/style/config.toml"));
    assert_eq!(config("one").unwrap(), config("two").unwrap());
    // And one process of several is one process.
    succeeds(train(folder, "single", 1, &["--accumulate", "2"]));
    assert_eq!(bytes(folder, "one"), bytes(folder, "single"));
}

#[test]
fn four_processes_are_one_but_for_rounding() {
    let Some(folder) = pieces("four_processes_are_one_but_for_rounding") else {
        return;
    };
    let folder = folder.path();
    succeeds(train(folder, "one", 0, &["--accumulate", "4"]));
    succeeds(train(folder, "four", 4, &[]));
    succeeds(train(folder, "two", 2, &["--accumulate", "2"]));
    for name in ["four", "two"] {
        let distance = apart(folder, "one", name);
        assert!(distance < TOLERANCE, "{name}: {distance:e}");
        for (one, other) in losses(folder, "one").iter().zip(losses(folder, name)) {
            assert!(
                (one - other).abs() < TOLERANCE * one,
                "{name}: {one} {other}"
            );
        }
    }
}

/// Sends a signal to the process of `mpirun`'s children that has this rank.
fn signal(of: u32, rank: usize, signal: &str) {
    let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    let has_rank = |process: &&str| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
    };
    let process = children.split_whitespace().find(has_rank).unwrap();
    let sent = Command::new("kill").args([signal, process]).status();
    assert!(sent.unwrap().success());
}

/// Waits until the run has gone some way.
fn wait_for_steps(child: &mut Child, folder: &Path) {
    let started = Instant::now();
    let has_gone = || {
        let entries = std::fs::read_dir(folder.join("runs/style/checkpoints"));
        let names = entries.into_iter().flatten().flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.any(|name| name.as_str() >= "step-00000010" && name.ends_with(".safetensors"))
    };
    while !has_gone() {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no step was made in {folder:?}"
        );
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end, which must come soon.
fn ends(child: Child) -> Output {
    let started = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(120), "it hung");
    output
}

const LONG: [&str; 4] = ["--steps", "400", "--checkpoint-steps", "10"];

#[test]
fn a_stop_at_any_process_stops_and_saves_all() {
    let Some(folder) = pieces("a_stop_at_any_process_stops_and_saves_all") else {
        return;
    };
    let folder = folder.path();
    let whole = ["--accumulate", "2"].iter().chain(&LONG).copied();
    succeeds(train(folder, "whole", 0, &whole.collect::<Vec<_>>()));
    for rank in [0, 1] {
        let name = format!("stopped-{rank}");
        let mut child = train(folder, &name, 2, &LONG).spawn().unwrap();
        wait_for_steps(&mut child, &folder.join(&name));
        signal(child.id(), rank, "-TERM");
        let output = ends(child);
        assert_eq!(output.status.code(), Some(130), "{}", told(&output));
        assert!(
            told(&output).contains("--resume goes on"),
            "{}",
            told(&output)
        );
        // Other processes than before: as many, or one, or too many to share the step.
        let processes = if rank == 0 { 2 } else { 0 };
        let many = train(folder, &name, 4, &["--resume"]).output().unwrap();
        assert!(
            !many.status.success() && told(&many).contains("divide"),
            "{}",
            told(&many)
        );
        let larger = train(folder, &name, 2, &["--resume", "--accumulate", "2"]);
        let larger = { larger }.output().unwrap();
        assert!(
            told(&larger).contains("accumulate = 4 (was 2)"),
            "{}",
            told(&larger)
        );
        let flags = ["--resume"].iter().chain(&LONG).copied();
        succeeds(train(folder, &name, processes, &flags.collect::<Vec<_>>()));
        assert_eq!(bytes(folder, "whole"), bytes(folder, &name));
    }
}

#[test]
fn one_that_fails_ends_all() {
    let Some(folder) = pieces("one_that_fails_ends_all") else {
        return;
    };
    let folder = folder.path();
    let mut child = train(folder, "killed", 3, &LONG).spawn().unwrap();
    wait_for_steps(&mut child, &folder.join("killed"));
    signal(child.id(), 1, "-KILL");
    assert!(!ends(child).status.success());
    // The first finds its name taken, which the others cannot know.
    std::fs::create_dir_all(folder.join("taken")).unwrap();
    std::fs::write(adapter(folder, "taken"), "precious").unwrap();
    let output = ends(train(folder, "taken", 3, &[]).spawn().unwrap());
    assert!(!output.status.success());
    let told = told(&output);
    assert!(
        told.contains("error: process 0 of 3: ") && told.contains("--force"),
        "{told}"
    );
    assert_eq!(bytes(folder, "taken"), b"precious");
}

/// Started by hand with what `mpirun` sets, as from a shell that it opened, where no library can be found.
#[test]
fn without_the_library_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lora-train"));
    command
        .args(["--data", "segments"])
        .env("OMPI_COMM_WORLD_RANK", "0")
        .env("OMPI_COMM_WORLD_SIZE", "2")
        .current_dir(folder.path());
    let installed = Command::new("mpirun").arg("--version").output().is_ok();
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let told = told(&output);
    match installed {
        // The library is there, but nobody started the other process.
        true => assert!(told.contains("mpirun started 2 processes"), "{told}"),
        false => assert!(
            told.contains("libmpi.so.40") && told.contains("openmpi-bin"),
            "{told}"
        ),
    }
}
