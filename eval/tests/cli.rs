//! The `lora-eval` command, from folders of WAVs to table, JSON, picture and exit code.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::f32::consts::TAU;
use std::path::Path;

use assert_cmd::Command;
use audio::{AudioBuffer, SampleFormat, write_wav};
use predicates::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

const RATE_HZ: u32 = 44_100;

/// Three folders of four clips of two seconds: `reference` and `candidate` in one style, `baseline` in another.
struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (index, folder) in ["reference", "candidate", "baseline"]
            .into_iter()
            .enumerate()
        {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            for clip in 0..4 {
                let seed = 10 * index as u32 + clip;
                let samples = if folder == "baseline" {
                    hissing(seed)
                } else {
                    plucked(seed)
                };
                write(
                    &root.path().join(folder).join(format!("clip-{clip}.wav")),
                    samples,
                );
            }
        }
        Self { root }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::cargo_bin("lora-eval").unwrap();
        command.current_dir(self.root.path()).args([
            "--reference",
            "reference",
            "--candidate",
            "candidate",
        ]);
        command
    }
}

fn write(path: &Path, samples: Vec<f32>) {
    write_wav(
        path,
        &AudioBuffer::new(RATE_HZ, vec![samples; 2]).unwrap(),
        SampleFormat::I16,
    )
    .unwrap();
}

/// Random numbers from 0 up to 1.
fn random(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    }
}

/// Decaying notes of a pentatonic scale at random times.
fn plucked(seed: u32) -> Vec<f32> {
    let mut random = random(seed);
    let mut samples = vec![0.0; 2 * RATE_HZ as usize];
    let mut start = 0;
    while start < samples.len() {
        let semitone = [0.0, 2.0, 4.0, 7.0, 9.0, 12.0][(random() * 6.0) as usize];
        for (n, sample) in samples[start..].iter_mut().take(20_000).enumerate() {
            let secs = n as f32 / RATE_HZ as f32;
            let phase = TAU * 220.0 * 2f32.powf(semitone / 12.0) * secs;
            *sample += 0.2 * (phase.sin() + 0.5 * (2.0 * phase).sin()) * (-8.0 * secs).exp();
        }
        start += 3000 + (random() * 12_000.0) as usize;
    }
    samples
}

/// Swelling noise.
fn hissing(seed: u32) -> Vec<f32> {
    let mut random = random(seed);
    let mut sample = |n: u32| (random() - 0.5) * 0.3 * (1.0 + (n as f32 * 2e-4).sin());
    (0..2 * RATE_HZ).map(&mut sample).collect()
}

fn number(json: &Value, path: &str) -> f64 {
    let found = json.pointer(path).and_then(Value::as_f64);
    assert!(found.is_some(), "no number at {path} in {json:#}");
    found.unwrap()
}

#[test]
fn json_holds_values_with_intervals_and_prefers_the_same_style() {
    let folders = Folders::new();
    let output = folders
        .command()
        .args(["--baseline", "baseline", "--json", "-"])
        .assert()
        .success();
    let json: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    for set in ["candidate", "baseline"] {
        for distance in ["afd", "spectral_distance", "kernel_distance"] {
            let [low, value, high] = ["low", "value", "high"]
                .map(|end| number(&json, &format!("/{set}/{distance}/{end}")));
            assert!(
                low <= value && value <= high,
                "{set} {distance}: {low} {value} {high}"
            );
        }
    }
    for distance in ["afd", "spectral_distance", "kernel_distance"] {
        assert!(
            number(&json, &format!("/candidate/{distance}/value"))
                < number(&json, &format!("/baseline/{distance}/value"))
        );
        assert!(number(&json, &format!("/difference/{distance}/high")) < 0.0);
        assert_eq!(json["difference"][distance]["excludes_zero"], true);
        assert!(
            number(
                &json,
                &format!("/difference/{distance}/relative_percent/value")
            ) < -20.0
        );
    }
    assert_eq!(json["difference"]["paired"], true);
    assert_eq!(json["statistics_version"], 1);
    let table = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        table.contains("Audio Feature Distance"),
        "the table moves to standard error: {table}"
    );
}

#[test]
fn table_picture_and_json_file() {
    let folders = Folders::new();
    folders
        .command()
        .args([
            "--baseline",
            "baseline",
            "--training",
            "candidate",
            "--json",
            "out.json",
            "--picture",
            "out.png",
        ])
        .assert()
        .success()
        .stdout(predicate::str::contains(
            "Audio Feature Distance (statistics v1)",
        ))
        .stdout(predicate::str::contains("Mel-spectral distance in dB²"))
        .stdout(predicate::str::contains(
            "Kernel Audio Distance (times 100;",
        ))
        .stdout(predicate::str::contains("paired"))
        .stderr(predicate::str::contains("resembles clip-"));
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(folders.path("out.json")).unwrap()).unwrap();
    assert!(number(&json, "/nearest/candidate/highest") > 0.99);
    let [low, mean, high] =
        ["low", "mean", "high"].map(|end| number(&json, &format!("/nearest/baseline/{end}")));
    assert!(low < mean && mean < high, "{low} {mean} {high}");
    assert!(number(&json, "/reference/kernel_distance").abs() < 100.0);
    assert_eq!(json["nearest"]["training_pieces"], 4);
    let picture = std::fs::read(folders.path("out.png")).unwrap();
    assert_eq!(&picture[1..4], b"PNG");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folders = Folders::new();
    let run = |seed: &str| {
        let mut command = folders.command();
        command.args([
            "--baseline",
            "baseline",
            "--json",
            "-",
            "--bootstrap",
            "200",
            "--seed",
            seed,
        ]);
        command.assert().success().get_output().stdout.clone()
    };
    assert_eq!(run("4"), run("4"));
    assert_ne!(run("4"), run("5"));
}

#[test]
fn a_set_equal_to_the_reference_has_distance_zero() {
    let folders = Folders::new();
    let mut command = Command::cargo_bin("lora-eval").unwrap();
    command.current_dir(folders.root.path()).args([
        "--reference",
        "reference",
        "--candidate",
        "reference",
        "--json",
        "-",
    ]);
    let json: Value =
        serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap();
    assert!(number(&json, "/candidate/afd/value") < 1e-12);
    assert!(json.get("baseline").is_none() && json.get("difference").is_none());
}

#[test]
fn different_names_are_not_paired() {
    let folders = Folders::new();
    std::fs::rename(
        folders.path("baseline/clip-0.wav"),
        folders.path("baseline/other.wav"),
    )
    .unwrap();
    folders
        .command()
        .args(["--baseline", "baseline"])
        .assert()
        .success()
        .stdout(predicate::str::contains("not paired"))
        .stderr(predicate::str::contains("file names differ"));
}

#[test]
fn bad_files_are_named_skipped_and_counted() {
    let folders = Folders::new();
    let bad = |name: &str| folders.path("candidate").join(name);
    std::fs::write(bad("empty.wav"), b"").unwrap();
    std::fs::write(
        bad("text.wav"),
        b"this is a text file named .wav, and long enough to be looked at",
    )
    .unwrap();
    write(&bad("short.wav"), vec![0.1; 2000]);
    write(&bad("silent.wav"), vec![0.0; 88_200]);
    let nan = AudioBuffer::new(RATE_HZ, vec![vec![f32::NAN; 88_200]; 2]).unwrap();
    write_wav(&bad("nan.wav"), &nan, SampleFormat::F32).unwrap();
    let result = folders
        .command()
        .args(["--json", "out.json"])
        .assert()
        .code(2);
    let told = String::from_utf8_lossy(&result.get_output().stderr).into_owned();
    for name in [
        "empty.wav",
        "text.wav",
        "short.wav",
        "silent.wav",
        "nan.wav",
    ] {
        assert_eq!(told.matches(name).count(), 1, "{name} in {told}");
    }
    assert!(told.contains("5 files were skipped"), "{told}");
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(folders.path("out.json")).unwrap()).unwrap();
    assert_eq!(json["skipped"].as_array().unwrap().len(), 5);
    assert_eq!(json["candidate"]["clips"], 4);
}

#[test]
fn folders_without_sound_end_with_their_name() {
    let folders = Folders::new();
    std::fs::create_dir(folders.path("empty")).unwrap();
    std::fs::create_dir(folders.path("silent")).unwrap();
    write(&folders.path("silent/zero.wav"), vec![0.0; 88_200]);
    for (folder, reason) in [
        ("empty", "no sound files"),
        ("nowhere", "cannot be listed"),
        ("silent", "is silent"),
    ] {
        folders
            .command()
            .args(["--baseline", folder])
            .assert()
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains(folder).and(predicate::str::contains(reason)));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_unicode_costs_no_result() {
    use std::os::unix::ffi::OsStrExt as _;
    let folders = Folders::new();
    let bad = std::ffi::OsStr::from_bytes(b"M\xe4r.wav");
    std::fs::write(folders.path("candidate").join(bad), b"").unwrap();
    folders
        .command()
        .args(["--json", "out.json"])
        .assert()
        .code(2);
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(folders.path("out.json")).unwrap()).unwrap();
    assert_eq!(json["skipped"][0]["path"], "candidate/M\u{fffd}r.wav");
    assert_eq!(json["candidate"]["clips"], 4);
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_counted_as_skipped() {
    let folders = Folders::new();
    std::os::unix::fs::symlink("nowhere", folders.path("candidate/gone.wav")).unwrap();
    folders
        .command()
        .assert()
        .code(2)
        .stderr(predicate::str::contains("gone.wav: cannot be read"));
}

#[test]
fn files_that_are_there_are_replaced_only_by_force() {
    let folders = Folders::new();
    for (flag, name) in [("--json", "out.json"), ("--picture", "out.png")] {
        std::fs::write(folders.path(name), "precious").unwrap();
        let told = predicate::str::contains(name).and(predicate::str::contains("--force"));
        let mut command = folders.command();
        command.args([flag, name]).assert().code(1).stderr(told);
        assert_eq!(std::fs::read(folders.path(name)).unwrap(), b"precious");
        folders
            .command()
            .args([flag, name, "--force"])
            .assert()
            .success();
        assert_ne!(std::fs::read(folders.path(name)).unwrap(), b"precious");
    }
}

/// A piece of four frames, as a manifest lists it.
fn listed(path: &str, song: char, split: &str) -> String {
    format!(
        r#"{{"version":1,"path":"{path}","source":"in/{song}.wav","source_hash":"sha256:{song}","start_secs":0,"end_secs":2,
        "start_frame":0,"end_frame":88200,"sample_rate_hz":44100,"channels":2,"loudness_lufs":null,"gain_db":0,"peak":0.5,
        "split":"{split}","content_hash":"sha256:{}"}}"#,
        "0".repeat(64)
    )
    .replace('\n', "")
}

#[test]
fn held_out_pieces_of_a_manifest_are_no_training_pieces() {
    let folders = Folders::new();
    let lines: Vec<String> = (0..4)
        .map(|clip| {
            let split = if clip == 0 { "train" } else { "validation" };
            let song = char::from(b'a' + clip);
            listed(&format!("clip-{clip}.wav"), song, split)
        })
        .collect();
    std::fs::write(folders.path("baseline/manifest.jsonl"), lines.join("\n")).unwrap();
    folders
        .command()
        .args(["--training", "baseline", "--json", "out.json"])
        .assert()
        .success();
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(folders.path("out.json")).unwrap()).unwrap();
    assert_eq!(json["nearest"]["training_pieces"], 1);

    let held_out = lines[1..].join("\n");
    std::fs::write(folders.path("baseline/manifest.jsonl"), held_out).unwrap();
    folders
        .command()
        .args(["--training", "baseline"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("3 are held out"));
}

#[test]
fn a_single_clip_has_no_interval() {
    let folders = Folders::new();
    for clip in 1..4 {
        std::fs::remove_file(folders.path(&format!("candidate/clip-{clip}.wav"))).unwrap();
    }
    let output = folders.command().args(["--json", "-"]).assert().success();
    let json: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert!(
        json["candidate"]["afd"]["low"].is_null() && json["candidate"]["afd"]["value"].is_number()
    );
}

#[test]
fn results_that_cannot_be_written_are_errors() {
    let folders = Folders::new();
    for flag in ["--json", "--picture"] {
        folders
            .command()
            .args([flag, "missing-folder/out"])
            .assert()
            .code(1)
            .stderr(predicate::str::contains("missing-folder"))
            // Once: the cause is not part of the error's own text too.
            .stderr(predicate::str::contains("os error 2").count(1));
    }
}

#[test]
fn arguments_are_checked() {
    Command::cargo_bin("lora-eval")
        .unwrap()
        .assert()
        .code(2)
        .stderr(predicate::str::contains("--reference"));
    Folders::new()
        .command()
        .args(["--bootstrap", "3"])
        .assert()
        .code(2);
}

#[test]
fn statistics_of_a_folder() {
    let folders = Folders::new();
    let mut command = Command::cargo_bin("lora-eval").unwrap();
    command.current_dir(folders.root.path()).args([
        "statistics",
        ".",
        "--out",
        "v.json",
        "--crop-secs",
        "1.5",
    ]);
    command
        .assert()
        .success()
        .stdout(predicate::str::contains("from 12 pieces"));
    let text = std::fs::read_to_string(folders.path("v.json")).unwrap();
    let statistics = features::FeatureStatistics::from_json(&text, "v.json").unwrap();
    assert_eq!(statistics.clips(), 12);
    command
        .assert()
        .code(1)
        .stderr(predicate::str::contains("v.json: is there already"));
    command.arg("--force").assert().success();
}

/// A base of toy size.
const TINY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../lora/tests/fixtures/tiny-base.safetensors"
);

/// Factors for the base's last layer, in PEFT's names.
fn write_adapter(path: &Path) {
    use candle_core::{Device, Tensor};
    let mut base = lora::base::BaseModel::open(TINY, &Device::Cpu).unwrap();
    let outline = lora::base::Outline::of(&mut base);
    let is_last = |layer: &&lora::base::LayerOutline| layer.name == "transformer.proj_out";
    let layer = outline.layers.iter().find(is_last).unwrap();
    let factors = [("A", (2, layer.inputs)), ("B", (layer.outputs, 2))];
    let tensors = factors.map(|(letter, shape)| {
        let name = format!("base_model.model.{}.lora_{letter}.weight", layer.name);
        (name, Tensor::full(0.3f32, shape, &Device::Cpu).unwrap())
    });
    candle_core::safetensors::save(&tensors.into(), path).unwrap();
}

#[test]
fn an_adapter_is_heard_before_it_is_measured() {
    let folder = TempDir::new().unwrap();
    let reference = folder.path().join("real");
    std::fs::create_dir(&reference).unwrap();
    for seed in 0..3 {
        write(&reference.join(format!("{seed}.wav")), plucked(seed));
    }
    write_adapter(&folder.path().join("style.safetensors"));
    let run = |more: &[&str]| {
        let mut command = Command::cargo_bin("lora-eval").unwrap();
        command.current_dir(folder.path());
        let fixed = [
            "--reference",
            "real",
            "--lora",
            "style.safetensors",
            "--model",
            TINY,
        ];
        let short = ["--count", "2", "--seconds", "1.5", "--bootstrap", "100"];
        command.args(fixed).args(short).args(more).assert()
    };
    run(&["--json", "result.json"]).success();
    let result = std::fs::read_to_string(folder.path().join("result.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&result).unwrap().is_object());
    let clip = |arm: &str, seed: u32| {
        let path = format!("lora-eval-clips/{arm}/seed{seed}.wav");
        std::fs::read(folder.path().join(path)).unwrap()
    };
    assert!(clip("adapter", 0) != clip("base", 0));
    assert!(clip("adapter", 0) != clip("adapter", 1));
    // Nothing is replaced unasked, and what is wrong is named.
    run(&[])
        .failure()
        .stderr(predicate::str::contains("--clips").and(predicate::str::contains("--force")));
    run(&["--candidate", "real"]).code(2);
}

/// Neither needs the folders that are needed otherwise.
#[test]
fn completions_and_manual_name_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = Command::cargo_bin("lora-eval").unwrap();
        command
            .args(["--completions", shell])
            .assert()
            .success()
            .stdout(
                predicate::str::contains("lora-eval").and(predicate::str::contains("baseline")),
            );
    }
    let mut command = Command::cargo_bin("lora-eval").unwrap();
    command
        .arg("--man-page")
        .assert()
        .success()
        .stdout(predicate::str::contains("bootstrap").and(predicate::str::contains("STATISTICS")));
}
