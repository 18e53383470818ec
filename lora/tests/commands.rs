//! The commands as a user meets them: files, messages, exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use common::TINY;
use lora::adapter::Adapter;

const OTHER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/other-base.safetensors"
);

/// A short run on the tiny base.
const TRAIN: [&str; 10] = [
    "--data",
    "segments",
    "--model",
    TINY,
    "--steps",
    "4",
    "--batch-size",
    "2",
    "--crop-secs",
    "0.5",
];

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::cargo_bin(program)
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn train(folder: &Path, more: &[&str]) -> Output {
    run(folder, "lora-train", &[&TRAIN[..], more].concat())
}

fn infer(folder: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["--model", TINY, "--seconds", "0.5", "--steps", "2"];
    arguments.extend(more);
    run(folder, "lora-infer", &arguments)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    succeeds(&train(folder.path(), &[]));
    folder
}

#[test]
fn training_leaves_an_adapter_and_a_run_folder() {
    let folder = trained();
    for name in [
        "style.safetensors",
        "runs/style/config.toml",
        "runs/style/metrics.jsonl",
        "runs/style/report.html",
    ] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    let first = std::fs::read(folder.path().join("style.safetensors")).unwrap();
    fails(
        &train(folder.path(), &[]),
        1,
        &["style.safetensors", "--force"],
    );
    succeeds(&train(folder.path(), &["--force"]));
    assert_eq!(
        first,
        std::fs::read(folder.path().join("style.safetensors")).unwrap()
    );
    fails(
        &run(folder.path(), "lora-train", &["--resume"]),
        1,
        &["finished"],
    );
}

#[test]
fn the_configuration_file_chooses_the_base() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let text = format!("model = {OTHER:?}\nsteps = 2\nbatch_size = 2\ncrop_secs = 0.5\n");
    std::fs::write(folder.path().join("run.toml"), text).unwrap();
    let base_of = |more: &[&str], name: &str| {
        let mut arguments = vec!["--data", "segments", "--config", "run.toml", "--out", name];
        arguments.extend(more);
        succeeds(&run(folder.path(), "lora-train", &arguments));
        let adapter = Adapter::load(&folder.path().join(name), &candle_core::Device::Cpu).unwrap();
        adapter.description.base.unwrap()
    };
    let expected = |path: &str| {
        let base = lora::base::BaseModel::open(path, &candle_core::Device::Cpu).unwrap();
        base.identity().clone()
    };
    assert_ne!(expected(OTHER), expected(TINY));
    assert_eq!(base_of(&[], "file.safetensors"), expected(OTHER));
    assert_eq!(
        base_of(&["--model", TINY], "flag.safetensors"),
        expected(TINY)
    );
}

/// What is printed changes nothing, on the base it was printed for and on others, and sets what was asked for.
#[test]
fn a_printed_configuration_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let printed = |arguments: &[&str]| {
        let output = run(at, "lora-train", &[arguments, &["--print-config"]].concat());
        succeeds(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(" = "));
        lines
            .map(|line| line.trim_start_matches("# ").to_owned())
            .collect()
    };
    std::fs::write(at.join("printed.toml"), printed(&[])).unwrap();
    let text = printed(&[]);
    assert!(
        text.contains("\n# learning_rate = 0.002  # (default: 0.002; depends on the base)"),
        "{text}"
    );
    assert!(
        text.lines()
            .all(|line| line.is_empty() || line.starts_with('#')),
        "{text}"
    );
    for more in [
        &[][..],
        &["--model", TINY],
        &["--model", "diffrhythm-base"],
        &["--preset", "diffrhythm-opera", "--model", "diffrhythm-base"],
        &["--method", "lokr"],
        &["--out", "mine.safetensors"],
        &["--epochs", "3"],
        &["--memory", "8GB"],
    ] {
        let with = [more, &["--config", "printed.toml"]].concat();
        assert_eq!(printed(more), printed(&with), "{more:?}");
    }
    // What was asked for is set, and every comment is a setting without its sign.
    let asked = [
        "--rank",
        "3",
        "--model",
        TINY,
        "--device",
        "cpu",
        "--threads",
        "2",
    ];
    let asked = printed(&[&asked[..], &["--memory", "900MB"]].concat());
    std::fs::write(at.join("asked.toml"), &asked).unwrap();
    for line in [
        "rank = 3",
        "device = \"cpu\"",
        "threads = 2",
        "memory = \"900MB\"",
    ] {
        assert!(asked.lines().any(|own| own == line), "{line}: {asked}");
    }
    assert_eq!(printed(&["--config", "asked.toml"]), asked);
    std::fs::write(at.join("all.toml"), values(&asked).join("\n")).unwrap();
    let all = printed(&["--config", "all.toml"]);
    assert!(
        all.lines().any(|line| line == "learning_rate = 0.0002"),
        "{all}"
    );
}

#[test]
fn a_dry_run_refuses_what_the_run_would() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let dry = |more: &[&str]| train(folder.path(), &[more, &["--dry-run"]].concat());
    succeeds(&dry(&["--repeats", "song-0=2"]));
    fails(
        &dry(&["--repeats", "nosuch=2"]),
        1,
        &["nosuch=2", "--repeats"],
    );
    fails(
        &dry(&["--learning-rate", "-1"]),
        1,
        &["--learning-rate", "-1"],
    );
    fails(&dry(&["--threads", "0"]), 1, &["--threads", "1024"]);
    #[cfg(not(feature = "cuda"))]
    fails(&dry(&["--device", "cuda"]), 1, &["cuda:0"]);
    std::fs::write(folder.path().join("card.toml"), "device = \"cuda:7\"\n").unwrap();
    #[cfg(not(feature = "cuda"))]
    fails(&dry(&["--config", "card.toml"]), 1, &["cuda:7"]);
    succeeds(&dry(&["--config", "card.toml", "--device", "cpu"]));
    std::fs::write(folder.path().join("card.toml"), "device = \"gpu\"\n").unwrap();
    fails(
        &dry(&["--config", "card.toml"]),
        1,
        &["card.toml", "cuda:N"],
    );
    // Nothing was begun for it.
    let output = train(folder.path(), &["--repeats", "nosuch=2"]);
    fails(&output, 1, &["nosuch=2"]);
    assert!(!folder.path().join("segments/.latents").exists());
}

/// The file is to blame that cannot be read, not the sound beside it.
#[test]
fn a_broken_sidecar_is_named_itself() {
    let folder = tempfile::tempdir().unwrap();
    let segments = common::segments(folder.path(), 44_100);
    let refused = |name: &str, contents: &[u8], word: &str| {
        std::fs::write(segments.join(name), contents).unwrap();
        let output = train(folder.path(), &[]);
        fails(&output, 1, &[name, word]);
        let text = text(&output);
        assert!(!text.contains(".wav") && !text.contains("space"), "{text}");
        std::fs::remove_file(segments.join(name)).unwrap();
    };
    refused("piece-1.txt", &[0xff, 0xfe, b'a', 0], "UTF-8");
    refused("piece-2.json", b"{", "take it away");
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let output = train(folder.path(), &["--dry-run"]);
    succeeds(&output);
    let text = text(&output);
    for word in ["trainable:", "memory:"] {
        assert!(text.contains(word), "{text}");
    }
    // Targets and other layers, told apart.
    for (mark, name) in [
        ("* ", "blocks.0.self_attn.q_proj"),
        ("* ", "proj_out"),
        ("  ", "mlp."),
    ] {
        let marked = |line: &str| line.starts_with(mark) && line.contains(name);
        assert!(text.lines().any(marked), "{mark}{name}: {text}");
    }
    assert!(
        !folder.path().join("runs").exists() && !folder.path().join("segments/.latents").exists()
    );
}

#[test]
fn one_seed_one_sound_and_nothing_is_overwritten() {
    let folder = trained();
    let made = infer(
        folder.path(),
        &[
            "--lora",
            "style.safetensors",
            "--seed",
            "7",
            "--out",
            "a.wav",
        ],
    );
    succeeds(&made);
    let text = text(&made);
    let counts = text
        .split("applied ")
        .nth(1)
        .and_then(|rest| rest.split(" tensors").next())
        .unwrap();
    let (applied, total) = counts.split_once(" of ").unwrap();
    assert!(
        applied == total && applied.parse::<usize>().unwrap() > 0,
        "{text}"
    );
    succeeds(&infer(
        folder.path(),
        &[
            "--lora",
            "style.safetensors:1",
            "--seed",
            "7",
            "--out",
            "b.wav",
        ],
    ));
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.wav"), bytes("b.wav"));
    fails(
        &infer(folder.path(), &["--seed", "8", "--out", "a.wav"]),
        1,
        &["a.wav", "--force"],
    );
    assert_eq!(bytes("a.wav"), bytes("b.wav"));
    let sound = audio::read(&folder.path().join("a.wav")).unwrap();
    assert_eq!(
        (sound.sample_rate_hz, sound.channels.len(), sound.frames()),
        (44_100, 2, 22_050)
    );
}

#[test]
fn the_output_is_a_wav_file_or_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["song.flac", "song.MP3", "song.m4a"] {
        fails(
            &infer(folder.path(), &["--out", name]),
            1,
            &[name, "WAV only"],
        );
        assert!(!folder.path().join(name).exists());
    }
    fails(
        &infer(folder.path(), &["--out", "song.wav", "--count", "2"]),
        1,
        &["song.wav", "--count"],
    );
    succeeds(&infer(folder.path(), &["--out", "song.WAV"]));
    assert!(folder.path().join("song.WAV").is_file());
    succeeds(&infer(folder.path(), &["--out", "take.2"]));
    assert!(folder.path().join("take.2/base-seed0.wav").is_file());
}

#[test]
fn strength_zero_with_a_prompt_is_the_base() {
    let folder = trained();
    let arguments = |lora| {
        [
            "--lora",
            lora,
            "--base-too",
            "--prompt",
            "lofi",
            "--out",
            "a.wav",
            "--force",
        ]
    };
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    succeeds(&infer(folder.path(), &arguments("style.safetensors:0")));
    assert_eq!(bytes("a.wav"), bytes("a-base.wav"));
    succeeds(&infer(folder.path(), &arguments("style.safetensors:1")));
    assert_ne!(bytes("a.wav"), bytes("a-base.wav"));
}

#[test]
fn an_adapters_trigger_word_may_stand_in_the_prompt() {
    let folder = trained();
    let bytes = |prompt: &str| {
        let arguments = [
            "--lora",
            "style.safetensors",
            "--prompt",
            prompt,
            "--out",
            "a.wav",
            "--force",
        ];
        succeeds(&infer(folder.path(), &arguments));
        std::fs::read(folder.path().join("a.wav")).unwrap()
    };
    assert!(bytes("lofi") == bytes("Style, lofi"));
    fails(&infer(folder.path(), &["--prompt", "style"]), 1, &["style"]);
}

#[test]
fn a_recording_goes_on_and_is_kept_sample_by_sample() {
    let folder = tempfile::tempdir().unwrap();
    let wave = |frequency: f32| {
        (0..30_000)
            .map(|at| 0.3 * (at as f32 * frequency).sin())
            .collect()
    };
    let sound = audio::AudioBuffer {
        sample_rate_hz: 44_100,
        channels: vec![wave(0.03), wave(0.05)],
    };
    audio::write_wav(
        &folder.path().join("own.wav"),
        &sound,
        audio::SampleFormat::F32,
    )
    .unwrap();
    let made = |arguments: &[&str]| {
        let all = [
            arguments,
            &["--seconds", "1", "--out", "out.wav", "--force"],
        ]
        .concat();
        let all = [&["--model", TINY, "--steps", "2"], &all[..]].concat();
        succeeds(&run(folder.path(), "lora-infer", &all));
        audio::read(&folder.path().join("out.wav"))
            .unwrap()
            .channels
    };
    let is_kept = |made: &[Vec<f32>], samples: std::ops::Range<usize>| {
        let pairs = made.iter().zip(&sound.channels);
        let mut pairs = pairs.flat_map(|(made, own)| samples.clone().map(|at| (made[at], own[at])));
        pairs.all(|(made, own)| (made - own).abs() < 1.0 / 32_000.0)
    };
    let continued = made(&["--continue", "own.wav"]);
    assert_eq!(continued[1].len(), 44_100);
    // But for the 20 ms in which it goes over into what is made.
    assert!(is_kept(&continued, 0..29_000));
    let edited = made(&["--edit", "own.wav", "--spans", "0.2-0.4"]);
    assert!(is_kept(&edited, 0..6_000) && is_kept(&edited, 20_600..29_000));
    assert!(!is_kept(&edited, 9_000..17_000));
}

#[test]
fn both_arms_get_equal_names() {
    let folder = trained();
    succeeds(&infer(
        folder.path(),
        &[
            "--lora",
            "style.safetensors",
            "--base-too",
            "--count",
            "2",
            "--out",
            "clips",
        ],
    ));
    for name in [
        "clips/adapter/style-seed0.wav",
        "clips/base/style-seed0.wav",
        "clips/adapter/style-seed1.wav",
        "clips/base/style-seed1.wav",
    ] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    succeeds(&infer(folder.path(), &["--lora", "style.safetensors"]));
    succeeds(&infer(folder.path(), &["--lora", "style.safetensors"]));
    assert!(
        folder.path().join("style-seed0.wav").is_file()
            && folder.path().join("style-seed0-2.wav").is_file()
    );
}

/// `lora-infer --list-tags | head -1`: the reader is gone before the lines come.
#[test]
fn a_closed_pipe_is_no_error() {
    let folder = trained();
    for (program, arguments) in [
        ("lora-infer", &["--model", TINY, "--list-tags"][..]),
        ("lora-train", &["--model", TINY, "--list-tags"]),
        // Notes on standard error may go unread as well; the clip is made all the same.
        (
            "lora-infer",
            &[
                "--model",
                TINY,
                "--lora",
                "style.safetensors",
                "--seconds",
                "0.5",
                "--out",
                "unread.wav",
            ],
        ),
    ] {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let command = assert_cmd::cargo::cargo_bin(program);
        let quiet = std::process::Command::new(&command)
            .current_dir(folder.path())
            .args(arguments)
            .arg("--force")
            .stdout(closed())
            .output()
            .unwrap();
        fails(&quiet, 0, &[]);
        let both = std::process::Command::new(&command)
            .current_dir(folder.path())
            .args(arguments)
            .arg("--force")
            .stdout(closed())
            .stderr(closed())
            .status()
            .unwrap();
        assert_eq!(both.code(), Some(0), "{program} {arguments:?}");
    }
    assert!(folder.path().join("unread.wav").is_file());
}

#[test]
fn prompts_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let tags = run(
        folder.path(),
        "lora-infer",
        &["--model", TINY, "--list-tags"],
    );
    assert!(
        String::from_utf8_lossy(&tags.stdout)
            .lines()
            .any(|tag| tag == "lofi")
    );
    fails(
        &infer(folder.path(), &["--prompt", "lofy"]),
        1,
        &["lofy", "lofi", "--list-tags"],
    );
    fails(
        &infer(folder.path(), &["--prompt", "tempo:0"]),
        1,
        &["tempo"],
    );
    fails(&infer(folder.path(), &["--seconds", "-1"]), 2, &[]);
    fails(
        &infer(folder.path(), &["--lora", "style.safetensors:loud"]),
        1,
        &["loud", "not a number"],
    );
    let missing = infer(folder.path(), &["--lora", "nowhere.safetensors"]);
    fails(&missing, 1, &["nowhere.safetensors", "check the path"]);
    // File, remedy, and the cause behind it once.
    let told = text(&missing);
    assert_eq!(told.matches("No such file").count(), 1, "{told}");
}

#[test]
fn data_that_cannot_be_trained_on_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fails(&train(folder.path(), &[]), 1, &["segments"]);
    std::fs::create_dir(folder.path().join("segments")).unwrap();
    fails(
        &train(folder.path(), &[]),
        1,
        &["manifest.jsonl", "cut-music"],
    );
    std::fs::write(folder.path().join("segments/manifest.jsonl"), "").unwrap();
    fails(&train(folder.path(), &[]), 1, &["cut-music"]);
    std::fs::write(
        folder.path().join("segments/manifest.jsonl"),
        "{ not json\n",
    )
    .unwrap();
    fails(&train(folder.path(), &[]), 1, &["manifest.jsonl", "line 1"]);
}

/// A WAV of quiet noise, other for each seed, in the place of a piece.
fn replace_piece(folder: &Path, name: &str, seed: u64) {
    let noise = nn::Stream::new(seed).normal_vec(44_100);
    let channel: Vec<f32> = noise
        .iter()
        .map(|value| (value * 0.1).clamp(-0.9, 0.9))
        .collect();
    let sound = audio::AudioBuffer {
        sample_rate_hz: 44_100,
        channels: vec![channel.clone(), channel],
    };
    let path = folder.join("segments").join(name);
    audio::write_wav(&path, &sound, audio::SampleFormat::I16).unwrap();
}

#[test]
fn an_edited_piece_is_trained_on_as_it_is_now() {
    let folder = trained();
    let adapter =
        |name: &str| Adapter::load(&folder.path().join(name), &candle_core::Device::Cpu).unwrap();
    let original = adapter("style.safetensors");
    let piece = folder.path().join("segments/piece-1.wav");
    let untouched = std::fs::read(&piece).unwrap();
    replace_piece(folder.path(), "piece-1.wav", 99);
    let output = train(folder.path(), &["--out", "edited.safetensors"]);
    succeeds(&output);
    let lines: Vec<String> = text(&output)
        .lines()
        .filter(|line| line.contains("changed since"))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("piece-1.wav") && !lines[0].contains("piece-0.wav"),
        "{lines:?}"
    );
    let edited = adapter("edited.safetensors");
    assert_ne!(edited.description.data_hash, original.description.data_hash);
    assert_ne!(
        edited.description.validation_loss, original.description.validation_loss,
        "the latents of before the edit were used"
    );
    // What was edited must not have taken the place of the original in the cache.
    std::fs::write(&piece, untouched).unwrap();
    let output = train(folder.path(), &["--out", "again.safetensors"]);
    succeeds(&output);
    assert!(!text(&output).contains("changed since"));
    assert_eq!(
        adapter("again.safetensors").description.validation_loss,
        original.description.validation_loss
    );
}

#[test]
fn a_missing_piece_is_named_even_if_its_latents_are_cached() {
    let folder = trained();
    std::fs::remove_file(folder.path().join("segments/piece-2.wav")).unwrap();
    fails(
        &train(folder.path(), &["--force"]),
        1,
        &["piece-2.wav", "cut again", "remove its line"],
    );
}

#[test]
fn a_piece_shorter_than_a_latent_frame_is_left_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 2_000);
    fails(
        &train(folder.path(), &[]),
        1,
        &["piece-0.wav", "shorter than one latent frame"],
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    fails(
        &train(folder.path(), &["--rank", "0"]),
        1,
        &["--rank", "from 1 to 4096"],
    );
    fails(
        &train(folder.path(), &["--dropout", "1.5"]),
        1,
        &["dropout", "1.5"],
    );
    for (flag, value, limit) in [
        ("--batch-size", "4611686018427387904", "4096"),
        ("--rank", "1000000000000", "4096"),
    ] {
        for dry_run in [&[][..], &["--dry-run"]] {
            let flags = [&["--steps", "1", flag, value][..], dry_run].concat();
            let arguments = [&["--data", "segments", "--model", TINY][..], &flags].concat();
            let output = run(folder.path(), "lora-train", &arguments);
            fails(&output, 1, &[flag, value, limit]);
        }
    }
    // Within the bound of epochs, beyond that of steps: four pieces in crops of one.
    for epochs in ["9223372036854775808", "999999999"] {
        let arguments = ["--data", "segments", "--model", TINY, "--batch-size", "1"];
        let output = run(
            folder.path(),
            "lora-train",
            &[&arguments[..], &["--epochs", epochs]].concat(),
        );
        fails(&output, 1, &["--epochs", epochs, "1000000000"]);
    }
    for (flags, words) in [
        (["--include", "q_prj"], ["include", "q_prj"]),
        (["--exclude", "q_prj"], ["exclude", "q_prj"]),
        (["--exclude", "*"], ["exclude", "no layer to adapt"]),
    ] {
        fails(&train(folder.path(), &flags), 1, &words);
        let dry_run = train(folder.path(), &[flags[0], flags[1], "--dry-run"]);
        fails(&dry_run, 1, &words);
        fails(&dry_run, 1, &["self_attn.q_proj", "mlp."]);
    }
    assert!(!folder.path().join("runs").exists());
    std::fs::write(
        folder.path().join("run.toml"),
        "rank = 4\nlerning_rate = 1.0\n",
    )
    .unwrap();
    fails(
        &train(folder.path(), &["--config", "run.toml"]),
        1,
        &["run.toml", "lerning_rate"],
    );
    fails(&run(folder.path(), "lora-train", &[]), 2, &["--data"]);
}

#[test]
fn an_adapter_and_a_model_in_each_others_place_are_told_as_what_they_are() {
    const ADAPTER: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/village.safetensors"
    );
    const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/base/lorelei-base.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let infer = |flag, file| {
        let arguments = [flag, file, "--prompt", "lofi", "--out", "a.wav"];
        run(folder.path(), "lora-infer", &arguments)
    };
    let as_model = infer("--model", ADAPTER);
    fails(
        &as_model,
        1,
        &["village.safetensors", "an adapter", "--lora"],
    );
    let as_adapter = infer("--lora", BASE);
    fails(
        &as_adapter,
        1,
        &[
            "lorelei-base.safetensors",
            "Whole models are no adapters",
            "--model",
        ],
    );
    assert!(
        text(&as_adapter).lines().count() < 10,
        "not all its tensors"
    );
}

#[test]
fn an_adapter_for_another_base_is_refused_by_name() {
    let folder = trained();
    let output = run(
        folder.path(),
        "lora-infer",
        &[
            "--model",
            OTHER,
            "--lora",
            "style.safetensors",
            "--seconds",
            "0.5",
        ],
    );
    fails(
        &output,
        1,
        &["style.safetensors: trained on tiny-base", "pass --model"],
    );
}

/// Claims, cuts and poisons `good` in turn; `check` sees each file and the words its error must have.
fn damaged(good: &[u8], broken: &[&str], mut check: impl FnMut(&[u8], &[&str])) {
    let mut claims = good.to_vec();
    claims[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let header = usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let mut poisoned = good.to_vec();
    // An f16 and an f32 of these bytes is not a number.
    poisoned[8 + header..8 + header + 8]
        .copy_from_slice(&[0xff, 0x7f, 0xc0, 0x7f, 0xff, 0x7f, 0xc0, 0x7f]);
    for (bytes, words) in [
        (&claims[..], broken),
        (&good[..good.len() / 2], broken),
        (&good[..4], broken),
        (&[], broken),
        (&poisoned, &["tensor", "holds NaN", "damaged"]),
    ] {
        check(bytes, words);
    }
}

#[test]
fn damaged_adapters_and_bases_are_named_with_the_reason() {
    let folder = trained();
    let bad = folder.path().join("bad.safetensors");
    let flags = |flag| [flag, "bad.safetensors", "--out", "bad.wav"];
    let adapter = std::fs::read(folder.path().join("style.safetensors")).unwrap();
    // What is wrong with a file that is none is told, and tested, by `checkpoint`.
    damaged(&adapter, &[], |bytes, words| {
        std::fs::write(&bad, bytes).unwrap();
        let output = infer(folder.path(), &flags("--lora"));
        fails(&output, 1, &["bad.safetensors"]);
        fails(&output, 1, words);
    });
    damaged(&std::fs::read(TINY).unwrap(), &[], |bytes, words| {
        std::fs::write(&bad, bytes).unwrap();
        let output = run(folder.path(), "lora-infer", &flags("--model"));
        fails(&output, 1, &["bad.safetensors"]);
        fails(&output, 1, words);
    });
    assert!(!folder.path().join("bad.wav").exists());
    assert!(std::fs::read_dir(folder.path()).unwrap().all(|entry| {
        entry
            .unwrap()
            .path()
            .extension()
            .is_none_or(|ending| ending != "part")
    }));
}

#[test]
fn an_adapter_that_blows_up_makes_no_file() {
    let folder = trained();
    let mut adapter = Adapter::load(
        &folder.path().join("style.safetensors"),
        &candle_core::Device::Cpu,
    )
    .unwrap();
    for layer in adapter.layers.values_mut() {
        if let nn::Delta::LowRank { a, b } = &mut layer.delta {
            *a = (&*a * 1e18).unwrap();
            *b = (&*b * 1e18).unwrap();
        }
    }
    adapter
        .save(&folder.path().join("wild.safetensors"))
        .unwrap();
    let output = infer(
        folder.path(),
        &["--lora", "wild.safetensors:3", "--out", "wild.wav"],
    );
    fails(
        &output,
        1,
        &[
            "wild.safetensors at strength 3",
            "the latents became",
            "lower the strength",
            "--cfg",
        ],
    );
    assert!(!folder.path().join("wild.wav").exists());
}

#[test]
fn the_adapters_header_tells_what_it_is() {
    let folder = trained();
    let adapter = Adapter::load(
        &folder.path().join("style.safetensors"),
        &candle_core::Device::Cpu,
    )
    .unwrap();
    let description = &adapter.description;
    let base = description.base.as_ref().unwrap();
    assert_eq!(
        (description.rank, description.alpha, description.dropout),
        (8, 16.0, 0.25)
    );
    assert_eq!((base.name.as_str(), base.version), ("tiny-base", 1));
    assert_eq!(base.sha256.len(), 64);
    assert_eq!(description.data_hash.len(), 64);
    assert_eq!(description.trigger_words, ["style"]);
}

/// All files below a folder, hidden ones too.
#[cfg(target_os = "linux")]
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// No room for an adapter anywhere: a limit on the size of files stands for the full disk, which only root can make.
#[cfg(target_os = "linux")]
#[test]
fn no_room_leaves_no_adapter() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    // Latents and configuration of the tiny base have 1 to 2 KiB, an adapter 30; 8 blocks of 512 bytes or 1 KiB are in between.
    let output = Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(assert_cmd::cargo::cargo_bin("lora-train"))
        .args(TRAIN)
        .output()
        .unwrap();
    fails(&output, 1, &[".safetensors", "too large", "space left"]);
    let left = files_below(folder.path());
    for name in [
        "style.safetensors",
        "best.safetensors",
        "checkpoint.safetensors",
    ] {
        assert!(!left.iter().any(|path| path.ends_with(name)), "{left:?}");
    }
    let part = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "part");
    assert!(!left.iter().any(part), "{left:?}");
    // With room again, the same command completes once it may replace what the first left of itself.
    succeeds(&train(folder.path(), &["--force"]));
}

/// The same with a device that is really full, where mounting one is permitted: only the adapter's own place has no room.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_adapter() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| {
        std::process::Command::new("mount")
            .args(arguments)
            .arg(&disk)
            .status()
    };
    if !mount(&["-t", "tmpfs", "-o", "size=8k", "tmpfs"]).is_ok_and(|status| status.success()) {
        eprintln!("not run: a tmpfs cannot be mounted here; no_room_leaves_no_adapter is");
        return;
    }
    let output = train(folder.path(), &["--out", "disk/style.safetensors"]);
    let left: Vec<_> = std::fs::read_dir(&disk)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    std::process::Command::new("umount")
        .arg(&disk)
        .status()
        .unwrap();
    fails(&output, 1, &["disk/style.safetensors", "No space left"]);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_place_where_no_adapter_can_be_is_refused_before_the_training() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    for (flags, word) in [
        (&["--out", "v1", "--run-dir", "v1"][..], "--run-dir"),
        (&["--run-dir", "segments"][..], "--run-dir"),
        (&["--out", "segments"][..], "--out"),
        (
            &["--out", "segments/manifest.jsonl/a.safetensors"][..],
            "manifest.jsonl",
        ),
        (&["--out", "z"][..], ".safetensors"),
        (&["--out", "style.wav"][..], ".safetensors"),
        (
            &["--out", "segments/new/a.safetensors", "--force"][..],
            "folder of the pieces",
        ),
    ] {
        let output = train(folder.path(), flags);
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        let text = text(&output);
        assert!(
            text.contains(word) && !text.contains("best loss"),
            "{flags:?}: {text}"
        );
        assert!(!folder.path().join("runs").exists(), "{flags:?}");
    }
}

/// A base or a piece that the adapter's name leads to stays what it is.
#[test]
fn what_a_run_reads_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    common::segments(folder.path(), 44_100);
    let base = std::fs::read(TINY).unwrap();
    std::fs::write(folder.path().join("base.safetensors"), &base).unwrap();
    let steps = "steps = 2\nbatch_size = 2\ncrop_secs = 0.5\n";
    std::fs::write(folder.path().join("run.safetensors"), steps).unwrap();
    let trained_to = |out: &str| {
        let at = ["--data", "segments", "--model", "base.safetensors"];
        let settings = ["--config", "run.safetensors", "--force", "--out", out];
        run(folder.path(), "lora-train", &[&at[..], &settings].concat())
    };
    for out in ["base.safetensors", "./run.safetensors"] {
        fails(&trained_to(out), 1, &["read", out]);
    }
    assert_eq!(
        std::fs::read(folder.path().join("base.safetensors")).unwrap(),
        base
    );
    #[cfg(unix)]
    {
        let piece = folder.path().join("segments/piece-0.wav");
        std::os::unix::fs::symlink(piece, folder.path().join("link.safetensors")).unwrap();
        fails(&trained_to("link.safetensors"), 1, &["pieces", "--out"]);
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn an_adapter_acts_at_its_times_and_on_its_layers() {
    let folder = trained();
    let at = folder.path();
    let clip = |lora: Option<&str>, out: &str| {
        let mut arguments = vec!["--out", out, "--steps", "4"];
        arguments.extend(lora.into_iter().flat_map(|lora| ["--lora", lora]));
        let output = run(
            at,
            "lora-infer",
            &[&["--model", TINY, "--seconds", "0.5"][..], &arguments].concat(),
        );
        succeeds(&output);
        (std::fs::read(at.join(out)).unwrap(), text(&output))
    };
    let style = "style.safetensors";
    let base = clip(None, "base.wav").0;
    let whole = clip(Some(style), "whole.wav").0;
    assert_ne!(base, whole);
    let all = format!("{style}:1:time=0-1:include=*");
    assert_eq!(clip(Some(&all), "all.wav").0, whole);
    // The steps begin at 0, 0.25, 0.5 and 0.75.
    let (nothing, told) = clip(Some(&format!("{style}:time=0.3-0.45")), "nothing.wav");
    assert_eq!(nothing, base);
    assert!(told.contains("none of the 4 steps begins"), "{told}");
    for (part, word) in [
        ("time=0-0.5", "times 0-0.5"),
        ("exclude=proj_out", "not proj_out"),
    ] {
        let (made, told) = clip(Some(&format!("{style}:{part}")), &format!("{part}.wav"));
        assert!(made != whole && made != base, "{part}");
        assert!(told.contains(word), "{told}");
    }
    for (part, word) in [
        ("time=0.5-0.2", "time=0.2-0.7"),
        ("include=q_prog", "include=q_prog"),
        ("layers=x", ":exclude=LAYERS"),
    ] {
        let lora = format!("{style}:{part}");
        fails(&infer(at, &["--lora", &lora, "--out", "x.wav"]), 1, &[word]);
    }
}

/// Every program tells shells and `man` about its flags, and needs nothing else for it.
#[test]
fn completions_and_manual_name_the_flags() {
    for (program, flag, part) in [
        ("lora-train", "learning-rate", "--augment-tempo"),
        ("lora-merge", "subtract", "LORA-MERGE EXTRACT"),
        ("lora-infer", "style-audio", "--list-models"),
        ("lora-convert", "inspect", "--precision"),
    ] {
        let told = |arguments: &[&str]| {
            let output = Command::new(assert_cmd::cargo::cargo_bin(program))
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{program} {arguments:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for shell in ["bash", "zsh", "fish"] {
            let script = told(&["--completions", shell]);
            assert!(script.contains(flag) && script.contains(program), "{shell}");
        }
        let page = told(&["--man-page"]).replace('\\', "");
        assert!(page.contains(flag) && page.contains(part), "{page}");
    }
    let nothing = Command::new(assert_cmd::cargo::cargo_bin("lora-merge"));
    let output = { nothing }.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
