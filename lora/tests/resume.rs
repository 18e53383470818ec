//! A run that was stopped and resumed ends in the same bytes as one that was not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::{Path, PathBuf};

use candle_core::Device;
use journal::Record;
use lora::LoraError;
use lora::adapter::Adapter;
use lora::base::BaseModel;
use lora::progress::{Progress, Silent};
use lora::train::{
    Augmentation, BaseDefaults, Checkpointing, ConditionSource, LossWeighting, TrainConfig,
    TrainSettings, Trainer, TrainingSet,
};

/// Asks for a stop after some steps of training.
struct StopAfter(usize);

impl Progress for StopAfter {
    fn skip(&mut self, _units: usize) {}
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
        data: Some(folder.join("segments")),
        out: Some(folder.join(name).join("style.safetensors")),
        run_dir: Some(folder.join(name)),
        steps: Some(25),
        batch_size: Some(2),
        crop_secs: Some(0.5),
        preview_steps: Some(10),
        preview_clips: Some(1),
        preview_secs: Some(0.5),
        seed: Some(seed),
        ..TrainSettings::default()
    };
    settings.resolve(BaseDefaults::EMBEDDED).unwrap()
}

fn parts(config: &TrainConfig) -> (BaseModel, TrainingSet) {
    let base = BaseModel::open(&config.model, &Device::Cpu).unwrap();
    let set = TrainingSet::open(
        &config.data,
        &base,
        &mut ConditionSource::new(None, lyrics::TokenizerSettings::default()),
        &config.augmentations(),
        &mut Silent,
    )
    .unwrap();
    (base, set)
}

fn start(config: &TrainConfig) -> Trainer {
    let (base, set) = parts(config);
    Trainer::start(config.clone(), base, set, false).unwrap()
}

/// What a run wrote down, without the figures that are no functions of it.
fn records(config: &TrainConfig) -> Vec<Record> {
    let mut records = journal::read_records(&config.run_dir).unwrap();
    for record in &mut records {
        match record {
            Record::Step(step) => (step.step_secs, step.elapsed_secs) = (0.0, 0.0),
            Record::Epoch(epoch) => epoch.elapsed_secs = 0.0,
            _ => {}
        }
    }
    records
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
    Trainer::resume(parted.clone(), base, set, false, &mut Silent)
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
    assert_eq!(records(&whole), records(&parted));
    let validated: Vec<usize> = records(&whole)
        .iter()
        .filter(|record| matches!(record, Record::Validation(_)))
        .map(Record::step)
        .collect();
    assert_eq!(validated, [0, 10, 20, 25]);
    let previewed = |config: &TrainConfig| {
        let names = std::fs::read_dir(config.run_dir.join("previews")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(previewed(&whole), previewed(&parted));
    for name in previewed(&whole) {
        let name = format!("previews/{}", name.display());
        assert_eq!(read(&whole, &name), read(&parted, &name), "{name}");
    }
    let page = String::from_utf8(read(&parted, "report.html")).unwrap();
    assert!(page.contains("finished after 25 steps") && page.contains("<audio"));
}

/// Files of a run, one of which is enough for the folder to be taken.
const RUN_FILES: [&str; 5] = [
    "checkpoints/step-00000010.safetensors",
    "metrics.jsonl",
    "best.safetensors",
    "report.html",
    "config.toml",
];

fn write_precious(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "precious").unwrap();
}

#[test]
fn every_file_of_an_earlier_run_is_left_alone_without_force() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    for path in RUN_FILES
        .iter()
        .map(|name| config.run_dir.join(name))
        .chain([config.out.clone()])
    {
        write_precious(&path);
        let (base, set) = parts(&config);
        let error = Trainer::start(config.clone(), base, set, false)
            .err()
            .unwrap()
            .to_string();
        for word in ["--force", "--run-dir", "--resume"] {
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
    for name in RUN_FILES {
        write_precious(&config.run_dir.join(name));
    }
    config.include = vec!["q_prj".to_owned()];
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

/// A run that was replaced and stopped before its first checkpoint begins again: nothing of the old one comes back.
#[test]
fn a_replaced_run_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    assert!(start(&config).run(&mut StopAfter(13)).is_err());
    let (base, set) = parts(&config);
    // Dropped before its first checkpoint, as if it were killed.
    drop(Trainer::start(config.clone(), base, set, true).unwrap());
    let (base, set) = parts(&config);
    let again = Trainer::resume(config, base, set, false, &mut Silent).unwrap();
    assert_eq!(again.steps_done(), 0);
}

/// What failed before its first step costs nobody anything: it neither blocks the name nor has to be forced.
#[test]
fn a_run_without_a_step_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    assert!(matches!(
        start(&config).run(&mut StopAfter(0)),
        Err(LoraError::Stopped)
    ));
    start(&config).run(&mut Silent).unwrap();
}

#[test]
fn two_programs_never_work_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    let first = start(&config);
    let (base, set) = parts(&config);
    let error = Trainer::start(config.clone(), base, set, true)
        .err()
        .unwrap();
    assert!(error.to_string().contains("another lora-train"), "{error}");
    drop(first);
    start(&config).run(&mut Silent).unwrap();
}

#[test]
fn a_damaged_checkpoint_costs_one_interval_and_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let with_intervals = |name| TrainConfig {
        checkpoint_steps: 5,
        ..config(folder.path(), name, 3)
    };
    let (whole, parted) = (with_intervals("whole"), with_intervals("parted"));
    start(&whole).run(&mut Silent).unwrap();
    assert!(start(&parted).run(&mut StopAfter(17)).is_err());
    let checkpoints = parted.run_dir.join("checkpoints");
    let newest = checkpoints.join("step-00000017.safetensors");
    let mut bytes = std::fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let (base, set) = parts(&parted);
    let resumed = Trainer::resume(parted.clone(), base, set, false, &mut Silent).unwrap();
    assert_eq!(resumed.steps_done(), 15);
    resumed.run(&mut Silent).unwrap();
    assert_eq!(
        std::fs::read(&whole.out).unwrap(),
        std::fs::read(&parted.out).unwrap()
    );
    let kept = std::fs::read_dir(checkpoints).unwrap().count();
    assert_eq!(kept, parted.keep);
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
    let on_resuming = Trainer::resume(config.clone(), base, set, false, &mut Silent)
        .err()
        .unwrap();
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
    Trainer::resume(config.clone(), base, set, false, &mut Silent)
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
    Trainer::resume(config.clone(), base, set, false, &mut Silent)
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
    let error = Trainer::resume(changed, base, set, false, &mut Silent)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("seed = 4 (was 3)") && error.contains("--force"),
        "{error}"
    );
}

#[test]
fn a_changed_tag_is_a_change_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    assert!(start(&config).run(&mut StopAfter(4)).is_err());
    let entries = std::fs::read_dir(&config.data).unwrap();
    let mut pieces = entries.map(|entry| entry.unwrap().path());
    let is_sound = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "wav");
    let piece = pieces.find(is_sound).unwrap();
    std::fs::write(piece.with_extension("txt"), "piano, tempo:120").unwrap();
    let (base, set) = parts(&config);
    let resumed = Trainer::resume(config, base, set, false, &mut Silent);
    let error = resumed.err().unwrap().to_string();
    assert!(error.contains("or tags"), "{error}");
}

#[test]
fn a_forced_change_is_taken_and_named_in_the_adapter() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let first = config(folder.path(), "run", 3);
    start(&first).run(&mut Silent).unwrap();
    // A finished run has more to learn with more steps, and only then.
    let (base, set) = parts(&first);
    let error = Trainer::resume(first.clone(), base, set, true, &mut Silent)
        .err()
        .unwrap();
    assert!(error.to_string().contains("finished"), "{error}");
    let longer = TrainConfig { steps: 30, ..first };
    let (base, set) = parts(&longer);
    let resumed = Trainer::resume(longer.clone(), base, set, true, &mut Silent).unwrap();
    assert_eq!(resumed.steps_done(), 25);
    resumed.run(&mut Silent).unwrap();
    let adapter = Adapter::load(&longer.out, &Device::Cpu).unwrap();
    let changes = &adapter.description.changes;
    assert_eq!(changes, &["from step 25: steps = 30 (was 25)"]);
    let told = lora::inspect::describe(&longer.out, None, &Device::Cpu).unwrap();
    let line = format!("changed in training: {}", changes[0]);
    assert!(told.contains(&line), "{told:?}");
    // A change of shape is too large, whatever is forced.
    let other = TrainConfig { rank: 3, ..longer };
    let (base, set) = parts(&other);
    let error = Trainer::resume(other, base, set, true, &mut Silent)
        .err()
        .unwrap();
    assert!(error.to_string().contains("rank = 3 (was 8)"), "{error}");
}

/// Every kind of state a run may have goes through a stop.
#[test]
fn parts_of_batches_running_means_and_patterns_survive_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let with_all = |name| TrainConfig {
        accumulate: 2,
        ema_decay: 0.9,
        output_rate_ratio: 4.0,
        tag_drop: 0.3,
        augment: vec![Augmentation::Swap, Augmentation::Polarity],
        augment_tempo: vec![0.9, 1.25],
        augment_pitch: vec![-2],
        loss_weighting: LossWeighting::MinSnr,
        prior_clips: 2,
        rank_pattern: vec!["proj_out=3".parse().unwrap()],
        checkpointing: Checkpointing::Share(0.5),
        ..config(folder.path(), name, 3)
    };
    let (whole, parted) = (with_all("whole"), with_all("parted"));
    start(&whole).run(&mut Silent).unwrap();
    for stop in [1, 7, 9] {
        let run = match stop {
            1 => start(&parted),
            _ => {
                let (base, set) = parts(&parted);
                Trainer::resume(parted.clone(), base, set, false, &mut Silent).unwrap()
            }
        };
        assert!(run.run(&mut StopAfter(stop)).is_err());
    }
    let (base, set) = parts(&parted);
    let last = Trainer::resume(parted.clone(), base, set, false, &mut Silent).unwrap();
    // The clips of the base alone count as progress too: two in each run.
    assert_eq!(last.steps_done(), 12);
    last.run(&mut Silent).unwrap();
    assert_eq!(
        std::fs::read(&whole.out).unwrap(),
        std::fs::read(&parted.out).unwrap()
    );
    // What min-SNR makes of a loss is below it; both are written down.
    for record in records(&whole) {
        let (loss, unweighted) = match record {
            Record::Step(step) => (step.loss, step.unweighted_loss),
            Record::Epoch(epoch) => (epoch.loss, epoch.unweighted_loss),
            _ => continue,
        };
        assert!(unweighted.unwrap() > loss);
    }
    let adapter = Adapter::load(&whole.out, &Device::Cpu).unwrap();
    let ranks: Vec<_> = adapter
        .layers
        .iter()
        .map(|(name, layer)| (name.ends_with("proj_out"), layer.rank()))
        .collect();
    assert!(ranks.contains(&(true, Some(3))) && ranks.contains(&(false, Some(8))));
}

/// A rate that breaks the numbers is halved, three times at most; the good state stays and the message tells what to do.
#[test]
fn broken_numbers_are_undone() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let wild = |name| TrainConfig {
        // Beyond what settings allow: products of such factors overflow.
        learning_rate: 1e25,
        warm_up_steps: 0,
        gradient_clip: 0.0,
        ..config(folder.path(), name, 3)
    };
    let whole = wild("whole");
    let mut notes = Notes::default();
    let error = start(&whole).run(&mut notes).unwrap_err();
    assert!(
        matches!(error, LoraError::NotFinite { halvings: 3, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("--learning-rate") && text.contains(".wav"),
        "{text}"
    );
    assert_eq!(
        notes
            .0
            .iter()
            .filter(|note| note.contains("half the learning rate"))
            .count(),
        3
    );
    let report = std::fs::read_to_string(whole.run_dir.join("report.html")).unwrap();
    assert!(
        report.contains("the rate was halved 3 times"),
        "the page tells how it ended"
    );
    let (base, set) = parts(&whole);
    let saved = Trainer::resume(whole.clone(), base, set, false, &mut Silent).unwrap();
    // The state before the first step that broke.
    assert!(saved.run(&mut Silent).is_err());
    assert!(!whole.out.exists());
}

/// At its end it would find an adapter that it may not replace: it is refused before it begins.
#[test]
fn a_finished_run_without_checkpoints_does_not_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let config = config(folder.path(), "run", 3);
    start(&config).run(&mut Silent).unwrap();
    std::fs::remove_dir_all(config.run_dir.join("checkpoints")).unwrap();
    for force in [false, true] {
        let (base, set) = parts(&config);
        let resumed = Trainer::resume(config.clone(), base, set, force, &mut Silent);
        let error = resumed.err().unwrap().to_string();
        assert!(
            error.contains("no checkpoint left") && error.contains("style.safetensors"),
            "{error}"
        );
    }
}

/// Numbers that are finite still, and far above where they were, are no better.
#[test]
fn a_loss_that_climbs_far_is_undone_too() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let wild = TrainConfig {
        learning_rate: 1.0,
        warm_up_steps: 0,
        ..config(folder.path(), "wild", 3)
    };
    let mut notes = Notes::default();
    // Whether it ends well is chance: three halvings may do.
    let _ = start(&wild).run(&mut notes);
    let told = |note: &&String| note.contains("far above") && note.contains("half the");
    let halvings = notes.0.iter().filter(told).count();
    assert!(halvings > 0, "{:?}", notes.0);
    for record in records(&wild) {
        if let Record::Step(step) = record {
            assert!(step.loss < 100.0, "{step:?}");
        }
    }
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn begin(&mut self, _phase: &str, _total: usize) {}
    fn advance(&mut self) {}
    fn end(&mut self) {}
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// Forms at other tempos and pitches are encoded once, belong to the data, and leave what is measured alone.
#[test]
fn changed_forms_are_encoded_once_and_only_of_what_is_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let plain = config(folder.path(), "plain", 3);
    let changed = TrainConfig {
        augment_tempo: vec![0.8],
        augment_pitch: vec![3],
        ..plain.clone()
    };
    let encoded = || {
        let cached = std::fs::read_dir(plain.data.join(".latents")).unwrap();
        let mut times: Vec<_> = cached
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        times.sort();
        times
    };
    let (_, own) = parts(&plain);
    let own_latents = encoded().len();
    let (_, set) = parts(&changed);
    let latents = encoded();
    assert_eq!(latents.len(), own_latents + 2 * set.training.len());
    assert_ne!(own.data_hash, set.data_hash);
    let (_, again) = parts(&changed);
    assert_eq!(encoded(), latents, "latents were made anew");
    assert_eq!(again.training, set.training);
    assert_eq!(set.validation, own.validation);
    assert!(set.validation.iter().all(|piece| piece.forms() == 1));
    for piece in &set.training {
        let frames = [0, 1, 2].map(|form| piece.form(form).frames());
        assert_eq!(piece.forms(), 3);
        assert!(frames[1].abs_diff(frames[0] * 5 / 4) <= 1, "{frames:?}");
        assert_eq!(frames[2], frames[0]);
    }
}

/// A form too short for one latent frame is no reason to lose the piece.
#[test]
fn a_form_that_cannot_be_made_leaves_the_piece() {
    let folder = tempfile::tempdir().unwrap();
    let plain = config(folder.path(), "plain", 3);
    let base = BaseModel::open(&plain.model, &Device::Cpu).unwrap();
    common::segments(folder.path(), base.hop() + base.hop() / 4);
    let changed = TrainConfig {
        augment_tempo: vec![0.8, 2.0],
        ..plain.clone()
    };
    let (_, own) = parts(&plain);
    let (_, set) = parts(&changed);
    assert_eq!(set.training.len(), own.training.len());
    assert!(set.training.iter().all(|piece| piece.forms() == 2));
    assert_eq!(set.skipped.len(), set.training.len());
    assert!(
        set.skipped[0].contains("piece-0.wav at 2 of its tempo"),
        "{:?}",
        set.skipped
    );
}
