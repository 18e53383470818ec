//! Every bad input through the command: its message and its exit code.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]
#![allow(
    dead_code,
    reason = "each test file uses its part of the common helpers"
)]

mod common;

use common::{Folders, cut_music, fixture, outcome, run};

/// A good song beside the bad file: the bad one is named, skipped and counted, the good one cut.
fn assert_skipped(prepare: impl FnOnce(&Folders), name: &str, expected: &str) {
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    prepare(&folders);
    let (code, stdout, stderr) = folders.cut(&[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("skipped: ") && stderr.contains(name),
        "{stderr}"
    );
    assert!(
        stderr.contains(expected),
        "expected {expected:?} in: {stderr}"
    );
    assert!(
        stdout.contains("1 songs cut into 1 pieces") && stdout.contains("1 skipped"),
        "{stdout}"
    );
    assert_eq!(
        folders.visible_files(),
        ["cut-music.json", "good-0001.wav", "manifest.jsonl"]
    );
}

#[test]
fn truncated_mp3() {
    for name in ["tone.mp3", "bare.mp3"] {
        let prepare = |folders: &Folders| {
            let bytes = std::fs::read(fixture(name)).unwrap();
            std::fs::write(folders.input.join("cut.mp3"), &bytes[..bytes.len() / 2]).unwrap();
        };
        assert_skipped(prepare, "cut.mp3", "is cut short");
    }
}

#[test]
fn wav_header_that_lies_about_its_size() {
    for (size, expected) in [
        (0xffff_fff0_u32, "lies about its size"),
        (16, "lies about its size"),
        (2_000_000, "is cut short"),
    ] {
        let prepare = |folders: &Folders| {
            let mut bytes = std::fs::read(folders.song("liar.wav", 3.0, 5)).unwrap();
            bytes[40..44].copy_from_slice(&size.to_le_bytes());
            std::fs::write(folders.input.join("liar.wav"), bytes).unwrap();
        };
        assert_skipped(prepare, "liar.wav", expected);
    }
}

#[test]
fn zero_length_file() {
    let prepare = |folders: &Folders| std::fs::write(folders.input.join("nil.flac"), "").unwrap();
    assert_skipped(prepare, "nil.flac", "is empty (0 bytes)");
}

#[test]
fn text_file_named_wav() {
    let prepare = |folders: &Folders| {
        std::fs::write(folders.input.join("poem.wav"), "roses are red").unwrap()
    };
    assert_skipped(prepare, "poem.wav", "it looks like text");
}

#[test]
fn opus_is_named() {
    let prepare = |folders: &Folders| {
        std::fs::copy(fixture("tone.opus"), folders.input.join("tone.opus")).unwrap();
    };
    assert_skipped(
        prepare,
        "tone.opus",
        "Opus is not supported; convert it first",
    );
}

#[cfg(unix)]
#[test]
fn unreadable_file() {
    // A dangling link cannot be read by anyone; permissions do not stop every user.
    let prepare = |folders: &Folders| {
        std::os::unix::fs::symlink("nowhere", folders.input.join("gone.mp3")).unwrap();
    };
    assert_skipped(prepare, "gone.mp3", "cannot be opened");
}

#[cfg(unix)]
#[test]
fn file_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    let locked = folders.song("locked.wav", 7.0, 2);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    if std::fs::File::open(&locked).is_ok() {
        assert_eq!(code, 0, "this user may read everything");
    } else {
        assert_eq!(code, 2);
        assert!(stderr.contains("locked.wav: cannot be read"), "{stderr}");
    }
}

#[cfg(unix)]
#[test]
fn link_loops_are_survived() {
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    std::os::unix::fs::symlink(&folders.input, folders.input.join("again")).unwrap();
    std::os::unix::fs::symlink("self.wav", folders.input.join("self.wav")).unwrap();
    let (code, stdout, stderr) = folders.cut(&[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("self.wav"), "{stderr}");
    assert!(stdout.contains("1 songs cut into 1 pieces"), "{stdout}");
}

#[cfg(unix)]
#[test]
fn links_into_the_output_are_not_followed() {
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    let link = |to: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(to, folders.input.join(name)).unwrap();
    };
    link(&folders.output, "pieces");
    link(folders.root.path(), "above");
    link(&folders.output.join("good-0001.wav"), "piece.wav");
    // The first run finds the links dangling, the second finds pieces behind them.
    let _ = folders.cut(&[]);
    let (code, stdout, stderr) = folders.cut(&[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("0 songs cut") && stdout.contains("1 unchanged"),
        "{stdout}"
    );
    assert_eq!(folders.manifest().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_pipe_named_like_a_recording_is_not_waited_for() {
    let make_pipe = |folders: &Folders| {
        let made = std::process::Command::new("mkfifo")
            .arg(folders.input.join("pipe.wav"))
            .status();
        assert!(made.unwrap().success());
    };
    assert_skipped(make_pipe, "pipe.wav", "is no regular file");
    let folders = Folders::new();
    make_pipe(&folders);
    let (code, _, stderr) = run(&[&folders.input.join("pipe.wav"), &folders.output]);
    assert_eq!(code, 1);
    assert!(stderr.contains("is no regular file"), "{stderr}");
}

#[test]
fn samples_beyond_measure() {
    let prepare = |folders: &Folders| {
        let mut planes = common::planes(7.0, 2);
        planes[0][99] = 1e303;
        let path = folders.input.join("loud.wav");
        common::write(&path, &planes, audio::SampleFormat::F64);
    };
    assert_skipped(prepare, "loud.wav", "beyond");
}

#[test]
fn empty_folder_and_folder_without_sound() {
    let folders = Folders::new();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("is an empty folder"), "{stderr}");
    std::fs::write(folders.input.join("cover.jpg"), "x").unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("holds no sound files (1 other files)"),
        "{stderr}"
    );
    assert!(!folders.output.exists());
}

#[test]
fn missing_input_and_nested_output() {
    let folders = Folders::new();
    let (code, _, stderr) = run(&[&folders.root.path().join("none"), &folders.output]);
    assert_eq!(code, 1);
    assert!(stderr.contains("none: cannot be read"), "{stderr}");
    folders.song("good.wav", 7.0, 1);
    for output in [
        folders.input.join("pieces"),
        folders.input.clone(),
        folders.root.path().to_owned(),
    ] {
        let (code, _, stderr) = run(&[&folders.input, &output]);
        assert_eq!(code, 1);
        assert!(stderr.contains("lies inside input"), "{stderr}");
    }
    assert!(!folders.input.join("pieces").exists());
}

#[test]
fn mistakes_in_flags_fail_with_1_not_2() {
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    for flags in [
        &["--max-secs", "2"][..],
        &["--at", "3,1"],
        &["--at", "x"],
        &["--at", "3", "--trim-silence"],
        &["--loudness", "5"],
        &["--no-such-flag"],
    ] {
        let (code, _, stderr) = folders.cut(flags);
        assert_eq!(code, 1, "{flags:?}: {stderr}");
        assert!(stderr.contains(flags[0]), "{flags:?}: {stderr}");
    }
    assert!(!folders.output.exists());
}

#[test]
fn damaged_manifest_and_record() {
    let folders = Folders::new();
    folders.song("good.wav", 7.0, 1);
    assert_eq!(folders.cut(&[]).0, 0);
    let manifest = folders.output.join("manifest.jsonl");
    let good = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &good[..good.len() / 2]).unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("manifest.jsonl: line 1"), "{stderr}");
    std::fs::write(&manifest, good).unwrap();
    std::fs::write(folders.output.join("cut-music.json"), "{}").unwrap();
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cut-music.json: cannot be understood"),
        "{stderr}"
    );
}

/// The system refuses to let files grow: what a full disk does to the writer.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_leaves_nothing_half_written() {
    let folders = Folders::new();
    for number in 0..4 {
        folders.song(&format!("{number}.wav"), 20.0, number);
    }
    // Pieces of 6 to 12 s have 1 to 2 MB; 256 blocks of 512 bytes or 1 KiB are less.
    let mut command = assert_cmd::Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\""])
        .arg(cut_music().get_program())
        .args([&folders.input, &folders.output]);
    let (code, _, stderr) = outcome(&mut command);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("cannot be written"), "{stderr}");
    assert!(
        !folders
            .visible_files()
            .iter()
            .any(|name| name.contains(".wav")),
        "{:?}",
        folders.visible_files()
    );
    assert!(folders.manifest().is_empty());
    // With room again, the same command completes.
    assert_eq!(folders.cut(&[]).0, 0);
    assert_eq!(
        folders
            .manifest()
            .iter()
            .map(|piece| &piece.source)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        4
    );
}

/// The same with a file system that is really full, where mounting one is permitted.
#[cfg(target_os = "linux")]
#[test]
fn full_file_system_keeps_finished_songs_only() {
    let folders = Folders::new();
    for number in 0..6 {
        folders.song(&format!("{number}.wav"), 20.0, number);
    }
    std::fs::create_dir(&folders.output).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=9m", "tmpfs"])
        .arg(&folders.output)
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return; // Not permitted here; the test above stands for it.
    }
    let result = std::panic::catch_unwind(|| {
        let (code, _, stderr) = folders.cut(&["--jobs", "1"]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("No space left"), "{stderr}");
        let listed: Vec<String> = folders
            .manifest()
            .into_iter()
            .map(|piece| piece.path)
            .collect();
        let present: Vec<String> = folders
            .visible_files()
            .into_iter()
            .filter(|name| name.contains(".wav"))
            .collect();
        assert_eq!(present, listed);
        assert!(!listed.is_empty(), "songs that fitted stay");
    });
    let unmounted = std::process::Command::new("umount")
        .arg(&folders.output)
        .status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    result.unwrap();
}

/// Neither needs the folders that are needed otherwise, and nothing goes with them.
#[test]
fn completions_and_manual_name_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = run(&[&"--completions", &shell]);
        assert_eq!(code, 0, "{stderr}");
        assert!(
            script.contains("peak-ceiling") && script.contains("cut-music"),
            "{shell}"
        );
    }
    let (code, page, stderr) = run(&[&"--man-page"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(page.replace('\\', "").contains("--trim-silence"), "{page}");
    assert_eq!(run(&[&"--man-page", &"--force"]).0, 1);
    assert_eq!(run(&[&"--completions", &"tcsh"]).0, 1);
}

#[test]
fn help_is_as_documented() {
    let (code, stdout, _) = outcome(cut_music().env("COLUMNS", "100").arg("--help"));
    assert_eq!(code, 0);
    let trimmed = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    let expected = std::fs::read_to_string(fixture("help.txt")).unwrap();
    assert_eq!(
        trimmed(&stdout),
        trimmed(&expected),
        "update tests/fixtures/help.txt and docs/cut-music.md when this is meant"
    );
}
