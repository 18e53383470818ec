//! The script of `docs/training-record.md` that hands a run over to Weights & Biases, run with a stand-in for that library.
//!
//! Runs where there is a `python3` of 3.11 or later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::{run, write_sounds};
use journal::{Journal, JournalOptions, METRICS_FILE};
use serde_json::{Value, json};

/// Prints what it is told, a JSON object a line.
const STAND_IN: &str = r#"
import json

class Run:
    def __init__(self): self.summary = {}
    def define_metric(self, name, step_metric): assert (name, step_metric) == ("*", "step")
    def log(self, values): print(json.dumps(values))
    def finish(self): print(json.dumps(self.summary))

def init(**settings):
    assert settings["mode"] == "offline"
    print(json.dumps(settings["config"]))
    return Run()

def Audio(path, caption): return f"{caption}: {path}"
"#;

fn script() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/training-record.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (_, after) = text.split_once("```python\n").unwrap();
    after.split_once("```").unwrap().0.to_owned()
}

fn python_is_there() -> bool {
    let check = "import tomllib";
    let output = Command::new("python3").args(["-c", check]).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn the_documented_script_hands_every_record_over() {
    if !python_is_there() {
        eprintln!("there is no python3 of 3.11 or later: not run");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("style");
    let mut journal = Journal::create(&run_dir, JournalOptions::default()).unwrap();
    for record in &run() {
        journal.write(record).unwrap();
    }
    write_sounds(&run_dir, &run());
    std::fs::write(run_dir.join("config.toml"), "rank = 8\n").unwrap();
    let mut metrics = std::fs::OpenOptions::new()
        .append(true)
        .open(run_dir.join(METRICS_FILE))
        .unwrap();
    metrics
        .write_all(b"{\"kind\":\"later\",\"step\":5}\n{\"kind\":\"st")
        .unwrap();
    std::fs::write(folder.path().join("wandb.py"), STAND_IN).unwrap();
    std::fs::write(folder.path().join("to_wandb.py"), script()).unwrap();

    let output = Command::new("python3")
        .arg(folder.path().join("to_wandb.py"))
        .arg(&run_dir)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();

    assert_eq!(
        told.len(),
        1 + 8 + 1,
        "configuration, eight records, summary"
    );
    assert_eq!(told[0], json!({"rank": 8}));
    let last_step = json!({
        "step": 4, "step/epoch": 1, "step/loss": 0.2, "step/gradient_norm": 0.5, "step/update_norm": 0.125,
        "step/learning_rate": 2e-3, "step/step_secs": 0.25, "step/elapsed_secs": 1.0,
        "loss_by_time/0.000_to_0.125": 1.5, "loss_by_time/0.875_to_1.000": 0.25,
        "adapter_norm/blocks.0": 0.5, "adapter_norm/blocks.1": 1.0,
    });
    assert_eq!(told[5], last_step);
    assert_eq!(told[6]["epoch/validation_loss"], json!(0.5));
    assert_eq!(told[7]["validation_by_time/0.125"], json!(0.75));
    let clip = told[8]["preview/seed_3/with_adapter"].as_str().unwrap();
    assert!(
        clip.starts_with("step 4: ") && clip.ends_with("4-3-with.wav"),
        "{clip}"
    );
    assert_eq!(
        told[9],
        json!({"warnings": ["step 4: the adapter has no effect & <nothing> changed"]})
    );
}
