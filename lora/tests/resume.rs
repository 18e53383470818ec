//! A run that was stopped and resumed ends in the same bytes as one that was not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::Path;

use candle_core::Device;
use lora::LoraError;
use lora::base::BaseModel;
use lora::progress::{Progress, Silent};
use lora::train::{
    BaseDefaults, ConditionSource, EpochMetrics, TrainConfig, TrainSettings, Trainer, TrainingSet,
};

/// Asks for a stop after some steps of training.
struct StopAfter(usize);

impl Progress for StopAfter {
    fn begin(&mut self, _phase: &str, _total: usize) {}
    fn advance(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
    fn end(&mut self) {}
    fn stop_requested(&self) -> bool {
        self.0 == 0
    }
}

fn config(folder: &Path, name: &str, seed: u64) -> TrainConfig {
    let settings = TrainSettings {
        model: Some(common::TINY.to_owned()),
        out: Some(folder.join(name).join("style.safetensors")),
        run_dir: Some(folder.join(name)),
        steps: Some(25),
        batch_size: Some(2),
        crop_secs: Some(0.5),
        seed: Some(seed),
        ..TrainSettings::default()
    };
    settings
        .resolve(folder.join("segments"), BaseDefaults::EMBEDDED)
        .unwrap()
}

fn parts(config: &TrainConfig) -> (BaseModel, TrainingSet) {
    let base = BaseModel::open(&config.model, &Device::Cpu).unwrap();
    let set = TrainingSet::open(
        &config.data,
        &base,
        &mut ConditionSource::new(None, lyrics::TokenizerSettings::default()),
        &mut Silent,
    )
    .unwrap();
    (base, set)
}

fn start(config: &TrainConfig) -> Trainer {
    let (base, set) = parts(config);
    Trainer::start(config.clone(), base, set, false).unwrap()
}

#[test]
fn stopping_and_resuming_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let whole = config(folder.path(), "whole", 3);
    start(&whole).run(&mut Silent).unwrap();

    let parted = config(folder.path(), "parted", 3);
    let stopped = start(&parted).run(&mut StopAfter(13));
    assert!(matches!(stopped, Err(LoraError::Stopped)));
    assert!(
        !parted.out.exists(),
        "an unfinished run wrote its adapter under the final name"
    );
    let (base, set) = parts(&parted);
    Trainer::resume(parted.clone(), base, set)
        .unwrap()
        .run(&mut Silent)
        .unwrap();

    let read = |config: &TrainConfig, name: &str| std::fs::read(config.run_dir.join(name)).unwrap();
    // The adapter's own name differs between the runs only by folder, so that even the header is the same.
    assert_eq!(
        std::fs::read(&whole.out).unwrap(),
        std::fs::read(&parted.out).unwrap()
    );
    assert_eq!(
        read(&whole, "best.safetensors"),
        read(&parted, "best.safetensors")
    );
    let metrics = |config: &TrainConfig| -> Vec<EpochMetrics> {
        let text = String::from_utf8(read(config, "metrics.jsonl")).unwrap();
        let line = |line: &str| EpochMetrics {
            // The one figure that is no function of the run.
            elapsed_secs: 0.0,
            ..serde_json::from_str(line).unwrap()
        };
        text.lines().map(line).collect()
    };
    assert_eq!(metrics(&whole), metrics(&parted));
    let validated = metrics(&whole)
        .iter()
        .filter(|epoch| epoch.validation_loss.is_some())
        .count();
    assert_eq!(validated, 3, "at steps 10, 20 and 25");
}

const RUN_FILES: [&str; 5] = [
    "checkpoint.safetensors",
    "metrics.jsonl",
    "best.safetensors",
    "curves.png",
    "config.toml",
];

#[test]
fn every_file_of_an_earlier_run_is_left_alone_without_force() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    std::fs::create_dir(&config.run_dir).unwrap();
    for path in RUN_FILES
        .iter()
        .map(|name| config.run_dir.join(name))
        .chain([config.out.clone()])
    {
        std::fs::write(&path, "precious").unwrap();
        let (base, set) = parts(&config);
        let error = Trainer::start(config.clone(), base, set, false)
            .err()
            .unwrap()
            .to_string();
        for word in [path.to_str().unwrap(), "--force", "--run-dir", "--resume"] {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_typing_error_costs_no_earlier_run_even_with_force() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let mut config = config(folder.path(), "run", 3);
    std::fs::create_dir(&config.run_dir).unwrap();
    for name in RUN_FILES {
        std::fs::write(config.run_dir.join(name), "precious").unwrap();
    }
    config.targets.include = vec!["q_prj".to_owned()];
    let (base, set) = parts(&config);
    assert!(Trainer::start(config.clone(), base, set, true).is_err());
    for name in RUN_FILES {
        assert_eq!(
            std::fs::read(config.run_dir.join(name)).unwrap(),
            b"precious",
            "{name}"
        );
    }
}

#[test]
fn a_replaced_run_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    assert!(start(&config).run(&mut StopAfter(13)).is_err());
    let (base, set) = parts(&config);
    // Dropped before its first checkpoint, as if it were killed.
    drop(Trainer::start(config.clone(), base, set, true).unwrap());
    let (base, set) = parts(&config);
    let error = Trainer::resume(config, base, set)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no run to resume"), "{error}");
}

#[test]
fn an_adapter_that_appeared_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    let running = start(&config);
    std::fs::write(&config.out, "precious").unwrap();
    let at_the_end = running.run(&mut Silent).unwrap_err();
    let (base, set) = parts(&config);
    let on_resuming = Trainer::resume(config.clone(), base, set).err().unwrap();
    for error in [at_the_end, on_resuming] {
        let error = error.to_string();
        assert!(
            error.contains("style.safetensors")
                && error.contains("best.safetensors")
                && error.contains("--resume"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&config.out).unwrap(), b"precious");
    std::fs::remove_file(&config.out).unwrap();
    let (base, set) = parts(&config);
    Trainer::resume(config.clone(), base, set)
        .unwrap()
        .run(&mut Silent)
        .unwrap();
    assert_eq!(
        std::fs::read(&config.out).unwrap(),
        std::fs::read(config.run_dir.join("best.safetensors")).unwrap()
    );
}

#[test]
fn a_run_started_with_force_replaces_the_adapter_also_when_resumed() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    std::fs::create_dir(&config.run_dir).unwrap();
    std::fs::write(&config.out, "old").unwrap();
    let (base, set) = parts(&config);
    let stopped = Trainer::start(config.clone(), base, set, true)
        .unwrap()
        .run(&mut StopAfter(4));
    assert!(matches!(stopped, Err(LoraError::Stopped)));
    assert_eq!(std::fs::read(&config.out).unwrap(), b"old");
    let (base, set) = parts(&config);
    Trainer::resume(config.clone(), base, set)
        .unwrap()
        .run(&mut Silent)
        .unwrap();
    assert_ne!(std::fs::read(&config.out).unwrap(), b"old");
}

/// The saved configuration names the base; the command line need not say it again.
#[test]
fn resuming_opens_the_base_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    assert!(start(&config).run(&mut StopAfter(4)).is_err());
    assert_cmd::Command::cargo_bin("lora-train")
        .unwrap()
        .current_dir(folder.path())
        .args(["--resume", "--run-dir"])
        .arg(&config.run_dir)
        .assert()
        .success();
    assert!(config.out.is_file());
}

#[test]
fn a_changed_run_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let first = config(folder.path(), "run", 3);
    assert!(start(&first).run(&mut StopAfter(4)).is_err());
    let changed = config(folder.path(), "run", 4);
    let (base, set) = parts(&changed);
    let error = Trainer::resume(changed, base, set)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("seed = 4 (was 3)") && error.contains("--force"),
        "{error}"
    );
}
