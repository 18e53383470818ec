//! First, second and interrupted runs: what is touched and what is not.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]
#![allow(
    dead_code,
    reason = "each test file uses its part of the common helpers"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use common::{Folders, outcome};

fn times(folder: &Path) -> BTreeMap<String, SystemTime> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".wav"))
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().modified().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_second_run_cuts_only_what_is_new_and_leaves_sources_alone() {
    let folders = Folders::new();
    let source = folders.song("a.wav", 13.0, 1);
    let before = (
        std::fs::read(&source).unwrap(),
        source.metadata().unwrap().modified().unwrap(),
    );
    assert_eq!(folders.cut(&[]).0, 0);
    let first = times(&folders.output);
    let manifest = folders.manifest();
    folders.song("b.wav", 7.0, 2);
    let (code, stdout, _) = folders.cut(&[]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("1 songs cut into 1 pieces") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
    let second = times(&folders.output);
    assert!(
        first.iter().all(|(name, time)| second[name] == *time),
        "an old piece was written again"
    );
    assert_eq!(
        folders.manifest()[..manifest.len()],
        manifest[..],
        "old lines changed"
    );
    assert_eq!(std::fs::read(&source).unwrap(), before.0);
    assert_eq!(source.metadata().unwrap().modified().unwrap(), before.1);
}

#[test]
fn changed_tags_reach_the_manifest_without_cutting_again() {
    let folders = Folders::new();
    folders.song("a.wav", 7.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    std::fs::write(folders.input.join("a.txt"), "flute").unwrap();
    let (_, stdout, _) = folders.cut(&[]);
    assert!(stdout.contains("0 songs cut"), "{stdout}");
    assert_eq!(folders.manifest()[0].tags, ["flute"]);
}

#[test]
fn other_settings_are_refused_by_name_until_forced() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let manifest = folders.manifest();
    let (code, _, stderr) = folders.cut(&["--max-secs", "8"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("max_secs: was 12.0, now 8.0") && stderr.contains("--force"),
        "{stderr}"
    );
    assert_eq!(folders.manifest(), manifest);
    assert_eq!(
        folders
            .cut(&["--min-secs", "3", "--max-secs", "4", "--force"])
            .0,
        0
    );
    assert!(folders.manifest().len() > manifest.len());
    let listed: Vec<String> = folders
        .manifest()
        .into_iter()
        .map(|piece| piece.path)
        .collect();
    let present: Vec<String> = times(&folders.output).into_keys().collect();
    assert_eq!(present, listed, "pieces of the first run are gone");
}

#[test]
fn a_changed_recording_is_named_until_forced() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    folders.song("b.wav", 7.0, 2);
    assert_eq!(folders.cut(&[]).0, 0);
    let before = folders.manifest();
    folders.song("a.wav", 7.0, 3);
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("a.wav: has changed since it was cut"),
        "{stderr}"
    );
    assert_eq!(folders.manifest(), before);
    assert_eq!(folders.cut(&["--force"]).0, 0);
    assert_eq!(folders.manifest().len(), 2);
}

#[test]
fn a_missing_piece_is_made_again() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let manifest = folders.manifest();
    std::fs::remove_file(folders.output.join(&manifest[0].path)).unwrap();
    assert_eq!(folders.cut(&[]).0, 0);
    assert_eq!(folders.manifest(), manifest);
    assert!(folders.output.join(&manifest[0].path).exists());
}

#[test]
fn a_renamed_recording_is_not_cut_twice() {
    let folders = Folders::new();
    let path = folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    std::fs::rename(path, folders.input.join("better name.wav")).unwrap();
    let (code, stdout, _) = folders.cut(&[]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("0 songs cut") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
}

#[test]
fn pieces_follow_a_renamed_recording_when_another_takes_its_name() {
    let folders = Folders::new();
    let path = folders.song("take1.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let before = folders.manifest();
    std::fs::rename(&path, folders.input.join("take1-old.wav")).unwrap();
    std::fs::write(folders.input.join("take1-old.txt"), "flute").unwrap();
    folders.song("take1.wav", 7.0, 2);
    let (code, stdout, stderr) = folders.cut(&[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("1 songs cut into 1 pieces") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
    let (old, new): (Vec<_>, Vec<_>) = folders
        .manifest()
        .into_iter()
        .partition(|piece| piece.source == "input/take1-old.wav");
    assert!(old.iter().all(|piece| piece.tags == ["flute"]));
    let paths = |pieces: &[dataset::Piece]| -> Vec<String> {
        pieces.iter().map(|piece| piece.path.clone()).collect()
    };
    assert_eq!(paths(&old), paths(&before));
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].source, "input/take1.wav");
    assert_whole(&folders);
}

/// Every listed piece is there with its bytes, and no other.
fn assert_whole(folders: &Folders) {
    let manifest = folders.manifest();
    let mut listed: Vec<String> = manifest.iter().map(|piece| piece.path.clone()).collect();
    listed.sort();
    let present: Vec<String> = times(&folders.output).into_keys().collect();
    assert_eq!(present, listed);
    for piece in &manifest {
        assert_eq!(
            dataset::hash_file(&folders.output.join(&piece.path)).unwrap(),
            piece.content_hash
        );
    }
    let hidden = folders.output.join(".cut-music");
    let notes = std::fs::read_dir(&hidden).unwrap().flatten();
    let notes: Vec<_> = notes.map(|entry| entry.file_name()).collect();
    assert!(
        notes.iter().all(|name| name == "lock" || name == "staged"),
        "{notes:?}"
    );
    let staged = std::fs::read_dir(hidden.join("staged"));
    assert_eq!(staged.map_or(0, Iterator::count), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_unicode_are_cut_apart() {
    use std::os::unix::ffi::OsStrExt;
    let folders = Folders::new();
    for (name, seed) in [(&b"M\xe4r.wav"[..], 1), (&b"M\xf6r.wav"[..], 2)] {
        let plain = folders.song("plain.wav", 7.0, seed);
        std::fs::rename(plain, folders.input.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 0, "{stderr}");
    let sources: Vec<String> = folders
        .manifest()
        .into_iter()
        .map(|piece| piece.source)
        .collect();
    assert_eq!(sources, ["input/M%E4r.wav", "input/M%F6r.wav"]);
    assert_whole(&folders);
    let (_, stdout, _) = folders.cut(&[]);
    assert!(stdout.contains("2 unchanged"), "{stdout}");
}

#[test]
fn force_keeps_the_pieces_of_recordings_that_are_not_in_the_input() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let other = folders.root.path().join("other");
    std::fs::rename(&folders.input, &other).unwrap();
    std::fs::create_dir(&folders.input).unwrap();
    folders.song("b.wav", 13.0, 2);
    let shorter = ["--min-secs", "3", "--max-secs", "4", "--force"];
    assert_eq!(folders.cut(&shorter).0, 0);
    let manifest = folders.manifest();
    let of = |manifest: &[dataset::Piece], source: &str| {
        let of_source = manifest.iter().filter(|piece| piece.source == source);
        of_source.count()
    };
    assert_eq!(of(&manifest, "input/a.wav"), 2, "they cannot be cut again");
    assert_eq!(of(&manifest, "input/b.wav"), 4);
    assert_whole(&folders);
    // They are cut as the others are when their recording is found again, and only they.
    std::fs::rename(other.join("a.wav"), folders.input.join("a.wav")).unwrap();
    let (code, stdout, stderr) = folders.cut(&shorter[..4]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("1 songs cut into 4 pieces") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
    assert_eq!(of(&folders.manifest(), "input/a.wav"), 4);
    assert_whole(&folders);
    let (_, stdout, _) = folders.cut(&shorter[..4]);
    assert!(stdout.contains("2 unchanged"), "{stdout}");
}

#[test]
fn force_keeps_the_pieces_of_a_recording_that_is_broken_now() {
    let folders = Folders::new();
    let path = folders.song("a.wav", 13.0, 1);
    folders.song("b.wav", 13.0, 2);
    assert_eq!(folders.cut(&[]).0, 0);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, stderr) = folders.cut(&["--force"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is cut short"), "{stderr}");
    let sources: std::collections::BTreeSet<String> = folders
        .manifest()
        .into_iter()
        .map(|piece| piece.source)
        .collect();
    assert_eq!(sources.len(), 2);
    assert_whole(&folders);
}

#[test]
fn force_stopped_while_it_reads_loses_nothing() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let before = (folders.manifest(), times(&folders.output));
    let record = std::fs::read(folders.output.join("cut-music.json")).unwrap();
    let mut request = preprocess::Request::new(folders.input.clone(), folders.output.clone());
    request.force = true;
    request.settings.max_secs = 8.0;
    let cancel = std::sync::atomic::AtomicBool::new(true);
    let report = preprocess::cut(&request, &preprocess::Silent, &cancel).unwrap();
    assert!(report.is_interrupted);
    assert_eq!((folders.manifest(), times(&folders.output)), before);
    let record_now = std::fs::read(folders.output.join("cut-music.json")).unwrap();
    assert_eq!(record_now, record, "the record tells how these were cut");
}

/// Stops a run when its second file is through the phase of cutting.
struct StopAfterOne<'a> {
    cancel: &'a std::sync::atomic::AtomicBool,
    cutting: std::sync::atomic::AtomicBool,
}

impl preprocess::Progress for StopAfterOne<'_> {
    fn begin(&self, phase: preprocess::Phase, _files: usize) {
        let is_cutting = phase == preprocess::Phase::Cutting;
        self.cutting
            .store(is_cutting, std::sync::atomic::Ordering::SeqCst);
    }

    fn file_done(&self) {
        if self.cutting.load(std::sync::atomic::Ordering::SeqCst) {
            self.cancel.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

#[test]
fn force_stopped_half_way_goes_on_without_force() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    folders.song("b.wav", 13.0, 2);
    assert_eq!(folders.cut(&[]).0, 0);
    let mut request = preprocess::Request::new(folders.input.clone(), folders.output.clone());
    (request.force, request.jobs) = (true, 1);
    (request.settings.min_secs, request.settings.max_secs) = (3.0, 4.0);
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let stop = StopAfterOne {
        cancel: &cancel,
        cutting: false.into(),
    };
    let report = preprocess::cut(&request, &stop, &cancel).unwrap();
    assert!(report.is_interrupted);
    assert_eq!(report.songs_cut, 1);
    assert_eq!(folders.manifest().len(), 4 + 2);
    assert_whole(&folders);
    let (code, stdout, _) = folders.cut(&["--min-secs", "3", "--max-secs", "4"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("1 songs cut into 4 pieces") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
    assert_whole(&folders);
}

#[test]
fn force_with_a_stranger_s_file_in_the_way_removes_nothing() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let before = folders.manifest();
    let stranger = folders.output.join("a-0009.wav");
    std::fs::write(&stranger, "precious").unwrap();
    let (code, _, stderr) = folders.cut(&["--force"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("a-0009.wav"), "{stderr}");
    std::fs::remove_file(stranger).unwrap();
    assert_eq!(folders.manifest(), before);
    assert_whole(&folders);
}

#[test]
fn a_forced_dry_run_says_what_it_would_do() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let before = (folders.manifest(), times(&folders.output));
    let (code, stdout, stderr) = folders.cut(&["--force", "--dry-run", "--max-secs", "8"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("1 songs would be cut into 2 pieces"),
        "{stdout}"
    );
    assert_eq!((folders.manifest(), times(&folders.output)), before);
}

#[test]
fn a_song_that_is_cut_again_keeps_its_side() {
    let folders = Folders::new();
    // One after the other, so that sides are not those of a single run.
    for number in 0..6 {
        folders.song(&format!("{number}.wav"), 7.0, number);
        assert_eq!(folders.cut(&["--validation", "0.5"]).0, 0);
    }
    let before = folders.manifest();
    for piece in &before {
        std::fs::remove_file(folders.output.join(&piece.path)).unwrap();
    }
    assert_eq!(folders.cut(&["--validation", "0.5"]).0, 0);
    assert_eq!(folders.manifest(), before);
    assert_whole(&folders);
}

#[test]
fn equal_stems_do_not_collide() {
    let folders = Folders::new();
    folders.song("a/song.wav", 7.0, 1);
    folders.song("b/song.wav", 7.0, 2);
    folders.song("Song.wav", 7.0, 3);
    assert_eq!(folders.cut(&[]).0, 0);
    let manifest = folders.manifest();
    assert_eq!(manifest.len(), 3);
    let lower: std::collections::BTreeSet<String> = manifest
        .iter()
        .map(|piece| piece.path.to_lowercase())
        .collect();
    assert_eq!(lower.len(), 3);
    for piece in &manifest {
        assert_eq!(
            dataset::hash_file(&folders.output.join(&piece.path)).unwrap(),
            piece.content_hash
        );
    }
    // A further song of that name, later.
    folders.song("c/song.wav", 7.0, 4);
    assert_eq!(folders.cut(&[]).0, 0);
    assert_eq!(folders.manifest().len(), 4);
}

#[test]
fn a_stranger_s_file_is_never_overwritten() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    std::fs::create_dir(&folders.output).unwrap();
    let stranger = folders.output.join("a-0002.wav");
    std::fs::write(&stranger, "precious").unwrap();
    for flags in [&[][..], &["--force"]] {
        let (code, _, stderr) = folders.cut(flags);
        assert_eq!(code, 1);
        assert!(
            stderr.contains("a-0002.wav: was not written by cut-music"),
            "{stderr}"
        );
        assert_eq!(std::fs::read(&stranger).unwrap(), b"precious");
        assert!(!folders.output.join("a-0001.wav").exists());
    }
    std::fs::remove_file(&stranger).unwrap();
    std::fs::write(folders.output.join("manifest.jsonl"), "").unwrap();
    let _ = std::fs::remove_file(folders.output.join("cut-music.json"));
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("manifest.jsonl: was not written by cut-music"),
        "{stderr}"
    );
}

#[test]
fn what_a_dead_run_left_is_cleaned_and_only_that() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let files = folders.visible_files();
    // As if a run had died while it wrote b.wav's pieces.
    folders.song("b.wav", 13.0, 2);
    let note = folders.output.join(".cut-music/pending-b");
    std::fs::write(
        note,
        r#"{"files":["b-0001.wav","b-0002.wav","a-0001.wav","../input/a.wav"]}"#,
    )
    .unwrap();
    for name in ["b-0001.wav", "b-0002.wav.part", "manifest.jsonl.part"] {
        std::fs::write(folders.output.join(name), "half").unwrap();
    }
    std::fs::write(folders.output.join("mine.txt"), "note").unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 0, "{stderr}");
    let now = folders.visible_files();
    assert!(files.iter().all(|file| now.contains(file)));
    assert!(!now.iter().any(|name| name.ends_with(".part")), "{now:?}");
    assert!(now.contains(&"mine.txt".to_owned()) && folders.input.join("a.wav").exists());
    for piece in folders.manifest() {
        assert_eq!(
            dataset::hash_file(&folders.output.join(&piece.path)).unwrap(),
            piece.content_hash
        );
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let folders = Folders::new();
    folders.song("a.wav", 13.0, 1);
    let (code, stdout, _) = folders.cut(&["--dry-run"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("1 songs would be cut into"), "{stdout}");
    assert!(!folders.output.exists());
}

#[test]
fn any_number_of_jobs_gives_the_same_pieces() {
    let (one, four) = (Folders::new(), Folders::new());
    for folders in [&one, &four] {
        for number in 0..6 {
            folders.song(&format!("{number}.wav"), 7.0 + number as f64, number);
        }
    }
    assert_eq!(one.cut(&["--jobs", "1"]).0, 0);
    assert_eq!(four.cut(&["--jobs", "4"]).0, 0);
    assert_eq!(one.manifest(), four.manifest());
}

#[cfg(unix)]
#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let folders = Folders::new();
    folders.song("a.wav", 7.0, 1);
    std::fs::create_dir_all(folders.output.join(".cut-music")).unwrap();
    let held = std::fs::File::create(folders.output.join(".cut-music/lock")).unwrap();
    held.lock().unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("another cut-music is writing here"),
        "{stderr}"
    );
}

#[cfg(unix)]
#[test]
fn a_stopped_run_lists_what_is_finished() {
    let folders = Folders::new();
    for number in 0..12 {
        folders.song(&format!("{number:02}.wav"), 60.0, number);
    }
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("cut-music"))
        .args([&folders.input, &folders.output])
        .args(["--jobs", "1", "--quiet"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Once the first pieces are there, the way Ctrl-C stops a command.
    while !folders.output.join("01-0001.wav").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    let manifest = folders.manifest();
    let listed: Vec<String> = manifest.iter().map(|piece| piece.path.clone()).collect();
    let present: Vec<String> = times(&folders.output).into_keys().collect();
    assert_eq!(
        present, listed,
        "a piece that is not listed, or the other way round"
    );
    assert!(!manifest.is_empty() && manifest.len() < 12 * 5);
    let (code, _, _) = outcome(common::cut_music().args([&folders.input, &folders.output]));
    assert_eq!(code, 0);
    let songs: std::collections::BTreeSet<String> = folders
        .manifest()
        .into_iter()
        .map(|piece| piece.source)
        .collect();
    assert_eq!(songs.len(), 12);
}
