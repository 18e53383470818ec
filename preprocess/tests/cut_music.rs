//! `cut-music` as a user meets it: exact pieces, splits, second runs, and every kind of bad input with its message and exit code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use audio::{AudioBuffer, SampleFormat};
use dataset::{Piece, Split};

const RATE_HZ: u32 = 44_100;

fn cut(folder: &Path, arguments: &[&str]) -> Output {
    Command::cargo_bin("cut-music")
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

/// Tones with pauses, both channels different, whose samples are all exact in 8 bits and so in every depth.
fn song(secs: f64, pitch_hz: f64) -> AudioBuffer {
    let frames = (secs * f64::from(RATE_HZ)) as usize;
    let channel = |pan: f64| -> Vec<f32> {
        (0..frames)
            .map(|frame| {
                let time = frame as f64 / f64::from(RATE_HZ);
                let gate = if (time % 4.0) < 3.5 { 1.0 } else { 0.05 };
                let value = (time * pitch_hz * std::f64::consts::TAU + pan).sin() * 0.5 * gate;
                ((value * 128.0).round() / 128.0) as f32
            })
            .collect()
    };
    AudioBuffer {
        sample_rate_hz: RATE_HZ,
        channels: vec![channel(0.0), channel(0.7)],
    }
}

fn write(path: &Path, secs: f64, pitch_hz: f64, format: SampleFormat) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    audio::write_wav(path, &song(secs, pitch_hz), format).unwrap();
}

fn input(songs: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..songs {
        let path = folder.path().join(format!("input/song {index}.wav"));
        write(
            &path,
            21.0 + index as f64,
            200.0 + 37.0 * index as f64,
            SampleFormat::I16,
        );
    }
    folder
}

fn manifest(folder: &Path) -> Vec<Piece> {
    dataset::read_manifest(&folder.join("segments")).unwrap()
}

fn data_chunk(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut at = 12;
    while &bytes[at..at + 4] != b"data" {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        at += 8 + length + length % 2;
    }
    let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    bytes[at + 8..at + 8 + length].to_vec()
}

#[test]
fn pieces_laid_end_to_end_are_the_source_at_every_depth() {
    for (format, depth_bytes) in [
        (SampleFormat::U8, 1),
        (SampleFormat::I16, 2),
        (SampleFormat::I24, 3),
        (SampleFormat::I32, 4),
        (SampleFormat::F32, 4),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("input/song.wav");
        write(&source, 29.37, 220.0, format);
        ends(&cut(folder.path(), &["input", "segments"]), 0, &[]);
        let pieces = manifest(folder.path());
        assert!(pieces.len() >= 3, "{format:?}");
        let joined: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| data_chunk(&folder.path().join("segments").join(&piece.path)))
            .collect();
        let original = data_chunk(&source);
        assert_eq!(
            original.len(),
            song(29.37, 220.0).frames() * 2 * depth_bytes
        );
        assert!(
            joined == original,
            "{format:?}: the pieces are not the source"
        );
    }
}

#[test]
fn lengths_keep_their_bounds_and_cuts_fall_on_pauses() {
    let folder = input(1);
    ends(
        &cut(
            folder.path(),
            &["input", "segments", "--min-secs", "3", "--max-secs", "6"],
        ),
        0,
        &[],
    );
    let pieces = manifest(folder.path());
    for piece in &pieces[..pieces.len() - 1] {
        let secs = piece.duration_secs();
        assert!((3.0..=6.0).contains(&secs), "{secs}");
        assert!(
            piece.end_secs % 4.0 >= 3.45,
            "the cut at {} s is in a tone",
            piece.end_secs
        );
    }
    assert_eq!(pieces.first().unwrap().start_frame, 0);
    assert!(
        pieces
            .windows(2)
            .all(|pair| pair[0].end_frame == pair[1].start_frame)
    );
}

#[test]
fn given_times_are_cut_exactly() {
    let folder = input(1);
    ends(
        &cut(folder.path(), &["input", "segments", "--at", "5,12.5"]),
        0,
        &[],
    );
    let frames: Vec<_> = manifest(folder.path())
        .iter()
        .map(|piece| (piece.start_frame, piece.end_frame))
        .collect();
    assert_eq!(
        frames,
        [(0, 220_500), (220_500, 551_250), (551_250, 926_100)]
    );
}

#[test]
fn no_song_is_on_both_sides_and_hashes_are_the_files() {
    let folder = input(5);
    ends(&cut(folder.path(), &["input", "segments"]), 0, &[]);
    let mut sides: BTreeMap<String, Vec<Split>> = BTreeMap::new();
    for piece in manifest(folder.path()) {
        let path = folder.path().join("segments").join(&piece.path);
        assert_eq!(piece.content_hash, dataset::hash_file(&path).unwrap());
        sides
            .entry(piece.source_hash)
            .or_default()
            .push(piece.split);
    }
    assert!(
        sides
            .values()
            .all(|side| side.iter().all(|split| *split == side[0]))
    );
    assert!(
        sides.values().any(|side| side[0] == Split::Train)
            && sides.values().any(|side| side[0] == Split::Validation)
    );
}

#[test]
fn a_second_run_does_only_what_is_new_and_sources_stay() {
    let folder = input(2);
    let source = folder.path().join("input/song 0.wav");
    let before = std::fs::read(&source).unwrap();
    ends(&cut(folder.path(), &["input", "segments"]), 0, &[]);
    let first = manifest(folder.path());
    let stamp = |piece: &Piece| {
        std::fs::metadata(folder.path().join("segments").join(&piece.path))
            .unwrap()
            .modified()
            .unwrap()
    };
    let stamps: Vec<_> = first.iter().map(stamp).collect();
    write(
        &folder.path().join("input/more/été.wav"),
        15.0,
        500.0,
        SampleFormat::I24,
    );
    ends(
        &cut(folder.path(), &["input", "segments"]),
        0,
        &["1 song", "2 unchanged"],
    );
    let second = manifest(folder.path());
    assert!(second.len() > first.len());
    assert!(first.iter().all(|piece| second.contains(piece)));
    assert_eq!(first.iter().map(stamp).collect::<Vec<_>>(), stamps);
    assert_eq!(std::fs::read(&source).unwrap(), before);
}

#[test]
fn a_strangers_file_is_not_overwritten() {
    let folder = input(1);
    let stranger = folder.path().join("segments/song 0-0001.wav");
    ends(&cut(folder.path(), &["input", "elsewhere"]), 0, &[]);
    let name = dataset::read_manifest(&folder.path().join("elsewhere")).unwrap()[0]
        .path
        .clone();
    std::fs::create_dir(folder.path().join("segments")).unwrap();
    let stranger = stranger.with_file_name(&name);
    std::fs::write(&stranger, "mine").unwrap();
    ends(&cut(folder.path(), &["input", "segments"]), 1, &[&name]);
    assert_eq!(std::fs::read(&stranger).unwrap(), b"mine");
}

#[test]
fn loudness_reaches_its_target_and_peaks_stay_below_the_ceiling() {
    let folder = input(1);
    ends(
        &cut(folder.path(), &["input", "segments", "--loudness", "-23"]),
        0,
        &[],
    );
    for piece in manifest(folder.path())
        .iter()
        .filter(|piece| piece.duration_secs() > 3.0)
    {
        assert!(
            (piece.loudness_lufs.unwrap() + 23.0).abs() < 0.2,
            "{:?}",
            piece.loudness_lufs
        );
    }
    let loud = input(1);
    ends(
        &cut(loud.path(), &["input", "segments", "--loudness", "-3"]),
        0,
        &[],
    );
    let ceiling = 10f64.powf(-1.0 / 20.0) + 1e-3;
    assert!(
        manifest(loud.path())
            .iter()
            .all(|piece| piece.peak <= ceiling)
    );
}

#[test]
fn folders_without_music_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("input")).unwrap();
    ends(
        &cut(folder.path(), &["input", "segments"]),
        1,
        &["input", "empty"],
    );
    std::fs::write(folder.path().join("input/notes.txt"), "no music").unwrap();
    ends(&cut(folder.path(), &["input", "segments"]), 1, &["input"]);
    ends(
        &cut(folder.path(), &["nowhere", "segments"]),
        1,
        &["nowhere"],
    );
    assert!(!folder.path().join("segments/manifest.jsonl").exists());
}

#[test]
fn an_output_inside_the_input_is_refused() {
    let folder = input(1);
    ends(
        &cut(folder.path(), &["input", "input/segments"]),
        1,
        &["input"],
    );
    assert!(!folder.path().join("input/segments").exists());
}

/// Puts a bad file beside a good one: the good one is cut, the bad one named and counted, and the exit code says so.
#[track_caller]
fn skipped(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = input(1);
    std::fs::write(folder.path().join("input").join(name), bytes).unwrap();
    let mut expected = vec![name, "1 skipped"];
    expected.extend(words);
    ends(&cut(folder.path(), &["input", "segments"]), 2, &expected);
    assert!(!manifest(folder.path()).is_empty());
    assert!(
        manifest(folder.path())
            .iter()
            .all(|piece| piece.source.contains("song 0"))
    );
    let leftovers = |path: PathBuf| path.extension().is_some_and(|ending| ending == "part");
    assert!(
        !std::fs::read_dir(folder.path().join("segments"))
            .unwrap()
            .any(|entry| leftovers(entry.unwrap().path()))
    );
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../audio/tests/fixtures")
            .join(name),
    )
    .unwrap()
}

#[test]
fn broken_files_are_named_skipped_and_counted() {
    skipped("empty.wav", b"", &[]);
    skipped("letter.wav", b"Dear diary, this is no music at all.\n", &[]);
    let mp3 = fixture("tone.mp3");
    skipped("cut.mp3", &mp3[..mp3.len() * 2 / 3], &[]);
    skipped("words.opus", &fixture("tone.opus"), &["Opus"]);
    let folder = input(1);
    let mut lying = std::fs::read(folder.path().join("input/song 0.wav")).unwrap();
    lying.truncate(lying.len() / 2);
    skipped("lying.wav", &lying, &[]);
}

#[cfg(unix)]
#[test]
fn unreadable_files_and_link_loops_are_survived() {
    let folder = input(1);
    let input = folder.path().join("input");
    std::os::unix::fs::symlink(&input, input.join("loop")).unwrap();
    ends(&cut(folder.path(), &["input", "segments"]), 0, &[]);
    std::os::unix::fs::symlink("gone.wav", input.join("dangling.wav")).unwrap();
    ends(
        &cut(folder.path(), &["input", "segments"]),
        2,
        &["dangling.wav", "1 skipped"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let folder = input(1);
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1500k", "tmpfs"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not run: a tmpfs cannot be mounted here");
        return;
    }
    let output = cut(folder.path(), &["input", "disk/segments"]);
    let wavs: Vec<PathBuf> = std::fs::read_dir(disk.join("segments"))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    let broken = wavs.iter().any(|path| {
        path.extension().is_some_and(|ending| ending == "part")
            || path.extension().is_some_and(|ending| ending == "wav") && audio::read(path).is_err()
    });
    std::process::Command::new("umount")
        .arg(&disk)
        .status()
        .unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    ends(&output, output.status.code().unwrap(), &["space"]);
    assert!(!broken, "{wavs:?}");
}
