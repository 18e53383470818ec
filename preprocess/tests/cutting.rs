//! What the pieces are.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]
#![allow(
    dead_code,
    reason = "each test file uses its part of the common helpers"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use audio::loudness::{from_db, true_peak};
use audio::{AudioBuffer, SampleFormat};
use common::{Folders, fixture, planes, write};
use dataset::{Piece, Split};

/// The bytes of a WAV file's samples, found without the code under test.
fn data_bytes(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut at = 12;
    loop {
        let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        if &bytes[at..at + 4] == b"data" {
            return bytes[at + 8..at + 8 + size].to_vec();
        }
        at += 8 + size + (size & 1);
    }
}

/// Samples that a format holds exactly, with the extremes.
fn exact_planes(format: SampleFormat, secs: f64) -> [Vec<f64>; 2] {
    let scale = 2.0_f64.powi(8 * format.bytes() as i32 - 1);
    let mut planes = planes(secs, 9);
    for sample in planes.iter_mut().flatten() {
        *sample = match format {
            SampleFormat::F32 => f64::from((*sample * 5.0) as f32),
            SampleFormat::F64 => *sample * 5.0,
            _ => (*sample * 3.0 * scale).round().clamp(-scale, scale - 1.0) / scale,
        };
    }
    planes
}

#[test]
fn pieces_end_to_end_are_the_source_at_every_depth() {
    let formats = [
        SampleFormat::U8,
        SampleFormat::I16,
        SampleFormat::I24,
        SampleFormat::I32,
        SampleFormat::F32,
        SampleFormat::F64,
    ];
    for flags in [&[][..], &["--at", "1.5,2.0001,7,99"]] {
        let folders = Folders::new();
        for format in formats {
            let path = folders.input.join(format!("{format:?}.wav"));
            write(&path, &exact_planes(format, 20.3), format);
        }
        let (code, _, stderr) = folders.cut(flags);
        assert_eq!(code, 0, "{stderr}");
        let manifest = folders.manifest();
        for format in formats {
            let label = format!("input/{format:?}.wav");
            let pieces: Vec<&Piece> = manifest
                .iter()
                .filter(|piece| piece.source == label)
                .collect();
            assert!(pieces.len() >= 2, "{format:?}");
            let joined: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| data_bytes(&folders.output.join(&piece.path)))
                .collect();
            let source = data_bytes(&folders.input.join(format!("{format:?}.wav")));
            assert!(
                joined == source,
                "{format:?} with {flags:?} differs from its source"
            );
            assert_eq!(pieces[0].start_frame, 0);
            assert!(
                pieces
                    .windows(2)
                    .all(|pair| pair[0].end_frame == pair[1].start_frame)
            );
        }
    }
}

#[test]
fn automatic_cuts_keep_the_limits_and_fall_into_pauses() {
    let folders = Folders::new();
    folders.song("a.wav", 61.0, 1);
    assert_eq!(folders.cut(&["--min-secs", "5", "--max-secs", "11"]).0, 0);
    let manifest = folders.manifest();
    assert!(
        manifest
            .iter()
            .all(|piece| (5.0..=11.0).contains(&piece.duration_secs()))
    );
    for piece in &manifest[1..] {
        assert!(
            piece.start_secs % 2.0 >= 1.78,
            "cut at {} s, outside a pause",
            piece.start_secs
        );
    }
    assert!((manifest.last().unwrap().end_secs - 61.0).abs() < 1e-9);
}

#[test]
fn given_times_are_cut_exactly_and_every_piece_is_kept() {
    let folders = Folders::new();
    folders.song("a.wav", 5.0, 1);
    let (code, _, stderr) = folders.cut(&["--at", "0.2,3,60"]);
    assert_eq!(code, 0);
    assert!(
        stderr.contains("1 of the times of --at lie behind its end"),
        "{stderr}"
    );
    let frames: Vec<_> = folders
        .manifest()
        .iter()
        .map(|piece| (piece.start_frame, piece.end_frame))
        .collect();
    assert_eq!(frames, [(0, 8_820), (8_820, 132_300), (132_300, 220_500)]);
}

#[test]
fn the_manifest_says_what_the_pieces_are() {
    let folders = Folders::new();
    folders.song("deep/歌 one.wav", 20.0, 1);
    std::fs::write(folders.input.join("deep/歌 one.txt"), "harp, slow\n").unwrap();
    assert_eq!(folders.cut(&[]).0, 0);
    for piece in folders.manifest() {
        let path = folders.output.join(&piece.path);
        assert!(piece.path.starts_with("歌 one-000"), "{}", piece.path);
        assert_eq!(piece.source, "input/deep/歌 one.wav");
        assert_eq!(
            piece.source_hash,
            dataset::hash_file(&folders.input.join("deep/歌 one.wav")).unwrap()
        );
        assert_eq!(piece.content_hash, dataset::hash_file(&path).unwrap());
        assert_eq!(piece.tags, ["harp", "slow"]);
        let sound = audio::read(&path).unwrap();
        assert_eq!(
            (sound.sample_rate_hz, sound.channels.len()),
            (piece.sample_rate_hz, 2)
        );
        assert_eq!(sound.frames() as u64, piece.frames());
        assert!((f64::from(sound.peak()) - piece.peak).abs() < 1e-5);
        let lufs = audio::loudness::integrated_lufs(&sound).unwrap();
        assert!((lufs - piece.loudness_lufs.unwrap()).abs() < 0.02);
        assert_eq!(piece.gain_db, 0.0);
    }
}

#[test]
fn a_loudness_target_is_met_as_far_as_peaks_allow() {
    let folders = Folders::new();
    folders.song("a.wav", 20.0, 1);
    assert_eq!(folders.cut(&["--loudness", "-20"]).0, 0);
    for piece in folders.manifest() {
        let sound = audio::read(&folders.output.join(&piece.path)).unwrap();
        assert!((piece.loudness_lufs.unwrap() + 20.0).abs() < 0.05);
        assert!((audio::loudness::integrated_lufs(&sound).unwrap() + 20.0).abs() < 0.05);
        assert!(piece.gain_db != 0.0);
    }
    // Far too loud a target: the ceiling decides.
    let (code, _, stderr) = folders.cut(&["--loudness", "-3", "--peak-ceiling", "-2", "--force"]);
    assert_eq!(code, 0, "{stderr}");
    for piece in folders.manifest() {
        let sound = audio::read(&folders.output.join(&piece.path)).unwrap();
        let peak = true_peak(&sound);
        assert!(peak <= from_db(-2.0) + 1e-4, "true peak {peak}");
        assert!(
            peak >= from_db(-2.1),
            "gain was held back more than needed: {peak}"
        );
        assert!(piece.loudness_lufs.unwrap() < -3.0);
    }
}

#[test]
fn a_piece_too_short_for_loudness_takes_its_song_s_gain() {
    let folders = Folders::new();
    folders.song("a.wav", 10.0, 1);
    assert_eq!(folders.cut(&["--at", "0.3", "--loudness", "-22"]).0, 0);
    let manifest = folders.manifest();
    let song = audio::read(&folders.input.join("a.wav")).unwrap();
    let song_gain = -22.0 - audio::loudness::integrated_lufs(&song).unwrap();
    assert_eq!(manifest[0].loudness_lufs, None);
    assert!(
        (manifest[0].gain_db - song_gain).abs() <= 0.011,
        "{} instead of {song_gain}",
        manifest[0].gain_db
    );
    assert!((manifest[1].loudness_lufs.unwrap() + 22.0).abs() < 0.05);
}

#[test]
fn silence_is_trimmed_on_request() {
    let folders = Folders::new();
    let mut sides = planes(8.0, 1);
    for side in &mut sides {
        let mut padded = vec![0.0; 3 * 44_100];
        padded.append(side);
        padded.extend(vec![0.0; 5 * 44_100]);
        *side = padded;
    }
    write(&folders.input.join("a.wav"), &sides, SampleFormat::I16);
    assert_eq!(folders.cut(&["--trim-silence"]).0, 0);
    let manifest = folders.manifest();
    let (first, last) = (manifest.first().unwrap(), manifest.last().unwrap());
    assert!(
        (2.85..=3.0).contains(&first.start_secs),
        "{}",
        first.start_secs
    );
    assert!((10.75..=11.1).contains(&last.end_secs), "{}", last.end_secs);
}

#[test]
fn a_recording_without_sound_is_left_out() {
    let folders = Folders::new();
    folders.song("a.wav", 11.0, 1);
    // A dither's noise, and far more quiet music than a normal recording's.
    for (name, level) in [("empty.wav", 2e-5), ("quiet.wav", 3e-4)] {
        let mut sides = planes(11.0, 2);
        sides
            .iter_mut()
            .flatten()
            .for_each(|sample| *sample *= level);
        write(&folders.input.join(name), &sides, SampleFormat::F32);
    }
    let (code, _, stderr) = folders.cut(&[]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("empty.wav") && stderr.contains("silent"),
        "{stderr}"
    );
    let manifest = folders.manifest();
    let of = |name: &str| {
        manifest
            .iter()
            .filter(|piece| piece.source.ends_with(name))
            .count()
    };
    assert!(of("a.wav") > 0 && of("quiet.wav") > 0);
    assert_eq!(of("empty.wav"), 0);
    assert_eq!(folders.cut(&["--at", "5", "--force"]).0, 0);
}

#[test]
fn short_rests_are_kept_or_dropped_as_asked() {
    let folders = Folders::new();
    folders.song("a.wav", 11.0, 1);
    folders.song("b.wav", 2.0, 2);
    let limits = ["--min-secs", "6", "--max-secs", "10"];
    assert_eq!(folders.cut(&limits).0, 0);
    assert_eq!(folders.manifest().len(), 3);
    let (code, _, stderr) = folders.cut(&[&limits[..], &["--drop-short", "--force"]].concat());
    assert_eq!(code, 2);
    assert!(
        stderr.contains("b.wav") && stderr.contains("no stretch of 6 s"),
        "{stderr}"
    );
    assert_eq!(folders.manifest().len(), 1);
    assert_eq!(
        folders.visible_files(),
        ["a-0001.wav", "cut-music.json", "manifest.jsonl"]
    );
}

#[test]
fn other_rates_channels_and_codings_become_stereo_at_the_rate() {
    let folders = Folders::new();
    let mono = AudioBuffer::new(22_050, vec![vec![0.25; 22_050 * 8]]).unwrap();
    audio::write_wav(&folders.input.join("mono.wav"), &mono, SampleFormat::I16).unwrap();
    std::fs::copy(fixture("tone.mp3"), folders.input.join("tone.mp3")).unwrap();
    assert_eq!(folders.cut(&[]).0, 0);
    let manifest = folders.manifest();
    assert_eq!(manifest.len(), 2);
    for piece in manifest {
        let path = folders.output.join(&piece.path);
        let decoder = audio::Decoder::open(&path).unwrap();
        assert_eq!(
            decoder.info().sample_format,
            Some(SampleFormat::F32),
            "{}",
            piece.path
        );
        let sound = audio::read(&path).unwrap();
        assert_eq!((sound.sample_rate_hz, sound.channels.len()), (44_100, 2));
    }
    let (code, _, _) = folders.cut(&["--bit-depth", "24", "--sample-rate", "48000", "--force"]);
    assert_eq!(code, 0);
    for piece in folders.manifest() {
        let decoder = audio::Decoder::open(&folders.output.join(&piece.path)).unwrap();
        assert_eq!(decoder.info().sample_format, Some(SampleFormat::I24));
        assert_eq!(decoder.info().sample_rate_hz, 48_000);
    }
}

#[test]
fn no_song_is_on_both_sides_and_each_side_has_one() {
    let folders = Folders::new();
    for number in 0..5 {
        folders.song(&format!("{number}.wav"), 8.0, number);
    }
    // The same recording again, under another name.
    std::fs::copy(folders.input.join("0.wav"), folders.input.join("copy.wav")).unwrap();
    assert_eq!(folders.cut(&["--validation", "0.4"]).0, 0);
    let mut sides: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for piece in folders.manifest() {
        sides
            .entry(piece.source_hash)
            .or_default()
            .insert(piece.split == Split::Validation);
    }
    assert!(sides.values().all(|sides| sides.len() == 1));
    assert_eq!(
        sides.values().filter(|sides| sides.contains(&true)).count(),
        2
    );

    // The same songs under other names and in another order: the same split.
    let others = Folders::new();
    for number in 0..5 {
        others.song(&format!("x{}.wav", 9 - number), 8.0, number);
    }
    assert_eq!(others.cut(&["--validation", "0.4"]).0, 0);
    for piece in others.manifest() {
        assert!(sides[&piece.source_hash].contains(&(piece.split == Split::Validation)));
    }
}

#[test]
fn the_held_out_song_is_chosen_among_songs_that_can_be_cut() {
    // Whatever the hashes are, one of two good songs is held out, however many broken ones there are.
    let folders = Folders::new();
    folders.song("a.wav", 7.0, 1);
    folders.song("b.wav", 7.0, 2);
    for number in 0..6 {
        std::fs::write(
            folders.input.join(format!("broken{number}.wav")),
            format!("text {number}"),
        )
        .unwrap();
    }
    assert_eq!(folders.cut(&[]).0, 2);
    let held_out: BTreeSet<bool> = folders
        .manifest()
        .iter()
        .map(|piece| piece.split == Split::Validation)
        .collect();
    assert_eq!(held_out.len(), 2);
}

#[test]
fn a_single_song_is_trained_on_and_said_to_be_alone() {
    let folders = Folders::new();
    let path = folders.song("a.wav", 13.0, 1);
    let (code, stdout, stderr) = common::run(&[&path, &folders.output]);
    assert_eq!(code, 0);
    assert!(
        stderr.contains("only one song") && stdout.contains("1 to train, 0 held out"),
        "{stdout}{stderr}"
    );
    assert!(
        folders
            .manifest()
            .iter()
            .all(|piece| piece.split == Split::Train)
    );
}
