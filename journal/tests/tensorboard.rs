//! Event files as a real TensorBoard reads them.
//!
//! Runs where `LORELEI_TENSORBOARD_PYTHON` names a Python that has the package `tensorboard`. The bytes are held against TensorBoard's
//! own in the crate's unit tests, which need no Python.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{run, write_sounds};
use journal::{Journal, JournalOptions};
use serde_json::{Value, json};

const STARTED_UNIX_SECS: u64 = 1_700_000_000;

fn written_and_read(python: &Path, folder: &Path) -> Value {
    write_sounds(folder, &run());
    let options = || JournalOptions {
        settings: vec![("rank".to_owned(), "8".to_owned())],
        started_unix_secs: STARTED_UNIX_SECS,
        ..JournalOptions::default()
    };
    let mut journal = Journal::create(folder, options()).unwrap();
    for record in &run() {
        journal.write(record).unwrap();
    }
    // Interrupted, and resumed from a checkpoint.
    let mut journal = Journal::resume(folder, 2, options()).unwrap();
    for record in &run()[3..] {
        journal.write(record).unwrap();
    }
    journal.finish().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensorboard_reads.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn tensorboard_reads_curves_texts_and_sounds() {
    let Some(python) = std::env::var_os("LORELEI_TENSORBOARD_PYTHON").map(PathBuf::from) else {
        eprintln!("LORELEI_TENSORBOARD_PYTHON is not set: not run");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let found = written_and_read(&python, folder.path());

    let points = |tag: &str| found["scalars"][tag].as_array().unwrap().clone();
    let losses = points("loss/training");
    assert_eq!(losses.len(), 5, "one curve, each step once");
    for (step, point) in losses.iter().enumerate() {
        let loss = 1.0_f32 / (step as f32 + 1.0);
        assert_eq!(point[0], json!(step));
        assert_eq!(
            point[1],
            json!(STARTED_UNIX_SECS as f64 + 0.25 * step as f64)
        );
        assert_eq!(point[2].as_f64().unwrap() as f32, loss);
    }
    let last = |tag: &str| points(tag).last().unwrap()[2].clone();
    for (tag, number) in [
        ("loss/validation", 0.5),
        ("loss_by_time/0.000_to_0.125", 1.5),
        ("loss_by_time/0.875_to_1.000", 0.25),
        ("validation_by_time/0.125", 0.75),
        ("norm/gradient", 0.5),
        ("norm/update", 0.125),
        ("adapter_norm/blocks.1", 1.0),
        ("epoch/loss", 0.75),
        ("preview/seed_3/similarity", 0.5),
    ] {
        assert_eq!(last(tag), json!(number), "{tag}");
    }
    assert_eq!(found["scalars"].get("loss_by_time/0.500_to_0.625"), None);

    let texts = &found["texts"];
    assert_eq!(
        texts["settings"],
        json!([[0, "| setting | value |\n|---|---|\n| rank | 8 |\n"]])
    );
    assert_eq!(
        texts["warnings"],
        json!([[4, "the adapter has no effect & <nothing> changed"]])
    );
    assert_eq!(texts["notes"], json!([[4, "für Flöte"]]));

    let hash = dataset::hash_file(&folder.path().join("previews/4-3-with.wav")).unwrap();
    let sound = json!([[4, hash, ""]]);
    assert_eq!(found["sounds"]["preview/seed_3/with_adapter"], sound);
    assert_eq!(found["sounds"].as_object().unwrap().len(), 2);
}
