//! A run's journal: what is written is there, and a resumed run goes on as if it had never stopped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{run, step, write_sounds};
use journal::{Journal, JournalError, JournalOptions, METRICS_FILE, Record, read_records};

fn options() -> JournalOptions {
    JournalOptions {
        settings: vec![("rank".to_owned(), "8".to_owned())],
        started_unix_secs: 1_700_000_000,
        ..JournalOptions::default()
    }
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("tfevents"))
        .collect();
    files.sort();
    files
}

fn write_all(journal: &mut Journal, records: &[Record]) {
    for record in records {
        journal.write(record).unwrap();
    }
}

#[test]
fn every_record_is_in_its_file_when_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("runs/style");
    let mut journal = Journal::create(&run_dir, options()).unwrap();
    for (index, record) in run().iter().enumerate() {
        journal.write(record).unwrap();
        let text = fs::read_to_string(run_dir.join(METRICS_FILE)).unwrap();
        assert_eq!(text.lines().count(), index + 1);
        assert!(text.ends_with('\n'));
        assert_eq!(journal.records().unwrap(), run()[..=index]);
    }
    journal.finish().unwrap();
    assert_eq!(read_records(&run_dir).unwrap(), run());
}

#[test]
fn lines_are_told_apart_by_their_kind() {
    let kinds: Vec<String> = run()[4..]
        .iter()
        .map(|record| {
            serde_json::to_value(record).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        ["step", "epoch", "validation", "preview", "warning", "note"]
    );
}

#[test]
fn an_interrupted_run_leaves_the_files_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    for run_dir in [&whole, &torn] {
        write_sounds(run_dir, &run());
        write_all(&mut Journal::create(run_dir, options()).unwrap(), &run());
    }
    // Killed while writing, after a checkpoint at step 2.
    let metrics = torn.join(METRICS_FILE);
    let mut text = fs::read_to_string(&metrics).unwrap();
    text += "{\"kind\":\"note\",\"step\":1,\"te";
    fs::write(&metrics, text).unwrap();
    let later = JournalOptions {
        started_unix_secs: 1_700_009_000,
        ..options()
    };
    let mut journal = Journal::resume(&torn, 2, later).unwrap();
    assert_eq!(journal.records().unwrap(), run()[..3]);
    write_all(&mut journal, &run()[3..]);
    assert_eq!(
        fs::read(&metrics).unwrap(),
        fs::read(whole.join(METRICS_FILE)).unwrap()
    );
    let (old, new) = (event_files(&whole), event_files(&torn));
    assert_eq!((old.len(), new.len()), (1, 1), "{new:?}");
    assert!(
        old[0].file_name() < new[0].file_name(),
        "behind the old one"
    );
    assert_eq!(fs::read(&old[0]).unwrap(), fs::read(&new[0]).unwrap());
}

#[test]
fn event_files_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder
        .path()
        .join("events.out.tfevents.1700000000.host.1.0");
    fs::write(&other, "theirs").unwrap();
    drop(Journal::create(folder.path(), options()).unwrap());
    assert_eq!(event_files(folder.path()).len(), 2);
    let without = JournalOptions {
        tensorboard: false,
        ..options()
    };
    drop(Journal::resume(folder.path(), 0, without).unwrap());
    assert_eq!(event_files(folder.path()), [other]);
}

#[test]
fn sounds_are_in_the_event_file_unless_they_are_not_wanted() {
    let size = |sounds_in_tensorboard| {
        let folder = tempfile::tempdir().unwrap();
        write_sounds(folder.path(), &run());
        let options = JournalOptions {
            sounds_in_tensorboard,
            ..options()
        };
        write_all(
            &mut Journal::create(folder.path(), options).unwrap(),
            &run(),
        );
        fs::metadata(&event_files(folder.path())[0]).unwrap().len()
    };
    assert!(
        size(true) > size(false) + 2 * 1_200,
        "two clips of 1,200 bytes"
    );
}

#[test]
fn a_new_run_does_not_replace_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    write_all(
        &mut Journal::create(folder.path(), options()).unwrap(),
        &[step(1)],
    );
    let error = Journal::create(folder.path(), options()).unwrap_err();
    assert!(matches!(error, JournalError::Exists { .. }));
    assert!(error.to_string().contains(METRICS_FILE), "{error}");
    assert_eq!(read_records(folder.path()).unwrap(), [step(1)]);
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let error = Journal::create(&in_the_way, options()).unwrap_err();
    assert!(
        error.to_string().contains("file cannot be read or written"),
        "{error}"
    );
    fs::create_dir(folder.path().join(METRICS_FILE)).unwrap();
    let error = read_records(folder.path()).unwrap_err();
    assert!(error.to_string().contains(METRICS_FILE), "{error}");
}

/// What `a_full_disk_leaves_no_torn_line` does in a process whose files may not grow beyond 4 KiB: the folder is in the environment.
/// Without one there is nothing to test.
#[cfg(unix)]
#[test]
fn writes_until_the_disk_is_full() {
    let Some(folder) = std::env::var_os("JOURNAL_FOLDER").map(PathBuf::from) else {
        return;
    };
    let options = JournalOptions {
        tensorboard: false,
        ..options()
    };
    let mut journal = Journal::create(&folder, options).unwrap();
    let error = (0..1_000).find_map(|number| journal.write(&step(number)).err());
    let error = error.unwrap().to_string();
    assert!(
        error.contains(METRICS_FILE) && error.contains("the space left"),
        "{error}"
    );
    // A shorter line fits where the longer one did not.
    journal.write(&run()[9]).unwrap();
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"trap '' XFSZ; ulimit -f 4; exec "$0" --exact writes_until_the_disk_is_full"#;
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("JOURNAL_FOLDER", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    let text = fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap();
    let records = read_records(folder.path()).unwrap();
    assert_eq!(records.len(), text.lines().count(), "no line is torn");
    assert_eq!(records.last(), Some(&run()[9]));
}
