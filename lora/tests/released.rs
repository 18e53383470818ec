//! Released models through the commands, on toy weights in the released layout.
#![allow(dead_code, reason = "the common part serves several tests")]
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod common;

use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;

/// Width of its style vectors.
const STYLE_WIDTH: usize = 16;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder with the transformer's file of that name and the autoencoder.
    fn with(transformer: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.add("model", transformer, transformer);
        place.add("model", "vae_model.pt", "vae_model.pt");
        place
    }

    fn add(&self, model: &str, file: &str, name: &str) {
        let folder = self.path(model);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(testing::release_file(file), folder.join(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn style(&self, name: &str, width: usize, seed: u64) {
        let values = nn::Stream::new(seed).normal_vec(width);
        embed::vector::write(&self.path(name), &values).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(assert_cmd::cargo::cargo_bin(program))
            .current_dir(self.folder.path())
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HUB_CACHE", self.path("hub"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .args(["--threads", "2"])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// A clip of the model in `model`, as bytes.
    fn clip(&self, model: &str, out: &str, more: &[&str]) -> Vec<u8> {
        let fixed = [
            "--model",
            model,
            "--steps",
            "2",
            "--seconds",
            "0.2",
            "--causal",
            "false",
        ];
        let output = self.run("lora-infer", &[&fixed[..], &["--out", out], more].concat());
        assert!(output.status.success(), "{}", told(&output));
        std::fs::read(self.path(out)).unwrap()
    }

    fn refused(&self, program: &str, arguments: &[&str], words: &[&str]) {
        let output = self.run(program, arguments);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        for word in words {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

/// WAV files whose samples differ by rounding alone.
fn assert_alike(left: &[u8], right: &[u8]) {
    assert_eq!(left.len(), right.len());
    let samples = |bytes: &[u8]| -> Vec<i32> {
        let pairs = bytes[44..].chunks_exact(2);
        let sample = |pair: &[u8]| i32::from(i16::from_le_bytes([pair[0], pair[1]]));
        pairs.map(sample).collect()
    };
    let pairs = samples(left).into_iter().zip(samples(right));
    let furthest = pairs.map(|(left, right)| (left - right).abs()).max();
    assert!(furthest.unwrap() <= 2, "{furthest:?}");
}

#[test]
fn every_file_format_gives_the_same_sound() {
    let place = Place::with("cfm_model.pt");
    place.add("ema", "cfm_model_ema.pt", "cfm_model.pt");
    place.add("ema", "vae_model.safetensors", "vae_model.safetensors");
    place.add("plain", "cfm_model.safetensors", "cfm_model.safetensors");
    place.add("plain", "vae_model.pt", "vae_model.pt");
    let first = place.clip("model", "a.wav", &[]);
    assert!(place.clip("ema", "b.wav", &[]) == first);
    assert!(place.clip("plain", "c.wav", &[]) == first);
    assert!(place.clip("model/cfm_model.pt", "d.wav", &[]) == first);
    assert!(place.clip("model", "e.wav", &["--weights", "f32"]) == first);
    assert!(place.clip("model", "f.wav", &["--seed", "1"]) != first);
}

/// Where the system's folder for caches is named by a variable.
#[cfg(target_os = "linux")]
#[test]
fn four_bits_are_made_once_and_made_again_when_damaged() {
    use std::os::unix::fs::MetadataExt;

    let place = Place::with("cfm_model.pt");
    let first = place.clip("model", "a.wav", &["--weights", "nf4"]);
    let kept = || {
        let folder = std::fs::read_dir(place.path("cache/lorelei/quantised")).unwrap();
        let paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(paths.len(), 1, "{paths:?}");
        // One that is written anew is another file under the name; one that is used has another time.
        let number = paths[0].metadata().unwrap().ino();
        (paths[0].clone(), number)
    };
    let (path, written) = kept();
    assert!(place.clip("model", "b.wav", &["--weights", "nf4"]) == first);
    assert_eq!(kept().1, written);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bad).unwrap();
    assert!(place.clip("model", "c.wav", &["--weights", "nf4"]) == first);
    // The order of what the header tells of the file may be another.
    let mended = std::fs::read(&path).unwrap();
    let weights = good.len() / 2..;
    assert_eq!(mended.len(), good.len());
    assert!(mended[weights.clone()] == good[weights], "not mended");
    // Nowhere to keep it: a note, and the same sound.
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    std::fs::write(place.path("cache"), "in the way").unwrap();
    assert!(place.clip("model", "d.wav", &["--weights", "nf4"]) == first);
}

#[test]
fn a_style_moves_the_sound_and_its_width_is_checked() {
    let place = Place::with("cfm_model.pt");
    place.style("style.npy", STYLE_WIDTH, 1);
    place.style("negative.safetensors", STYLE_WIDTH, 2);
    place.style("wide.npy", 512, 3);
    let without = place.clip("model", "a.wav", &[]);
    let with = place.clip("model", "b.wav", &["--style", "style.npy"]);
    assert!(with != without);
    let away = [
        "--style",
        "style.npy",
        "--negative-style",
        "negative.safetensors",
    ];
    assert!(place.clip("model", "c.wav", &away) != with);
    let wide = [
        "--model",
        "model",
        "--seconds",
        "0.2",
        "--style",
        "wide.npy",
    ];
    place.refused("lora-infer", &wide, &["wide.npy", "512", "16"]);
}

#[test]
fn clips_of_a_batch_are_those_made_alone() {
    let place = Place::with("cfm_model.pt");
    let alone = [0, 1, 2].map(|seed: u32| {
        let seed = seed.to_string();
        place.clip("model", &format!("alone{seed}.wav"), &["--seed", &seed])
    });
    let fixed = [
        "--model",
        "model",
        "--steps",
        "2",
        "--seconds",
        "0.2",
        "--causal",
        "false",
    ];
    let batch = ["--count", "3", "--batch", "2", "--out", "clips"];
    let output = place.run("lora-infer", &[&fixed[..], &batch].concat());
    assert!(output.status.success(), "{}", told(&output));
    for (seed, alone) in alone.iter().enumerate() {
        let made = std::fs::read(place.path(&format!("clips/base-seed{seed}.wav"))).unwrap();
        // Other shapes of products round differently.
        assert_alike(&made, alone);
    }
}

#[test]
fn edits_and_continuations_keep_what_they_should() {
    let place = Place::with("cfm_model.pt");
    let sound = place.clip("model", "known.wav", &[]);
    let edit = ["--edit", "known.wav", "--spans", "0.05-0.1"];
    let edited = place.clip("model", "edited.wav", &edit);
    assert!(edited != sound);
    assert_eq!(edited.len(), sound.len());
    // A clip of twice the length goes on from the known one.
    let fixed = ["--model", "model", "--steps", "2", "--causal", "false"];
    let longer = [
        "--seconds",
        "0.4",
        "--continue",
        "known.wav",
        "--out",
        "longer.wav",
    ];
    let output = place.run("lora-infer", &[&fixed[..], &longer].concat());
    assert!(output.status.success(), "{}", told(&output));
    let full = [
        "--seconds",
        "0.2",
        "--continue",
        "known.wav",
        "--out",
        "full.wav",
    ];
    place.refused(
        "lora-infer",
        &[&fixed[..], &full].concat(),
        &["known.wav", "--seconds"],
    );
    for (spans, words) in [
        ("7-8", "spans nothing"),
        ("-", "keeps nothing"),
        ("0-0.1,0.1-3", "keeps nothing"),
    ] {
        let nothing = ["--seconds", "0.2", "--edit", "known.wav", "--spans", spans];
        place.refused("lora-infer", &[&fixed[..], &nothing].concat(), &[words]);
    }
    for (seconds, spans, words) in [
        ("0.1", "0.05-", "the clip has the first 0.1"),
        (
            "0.3",
            "0.05-0.1",
            "the rest of the clip, to 0.3 s, is made too",
        ),
        ("0.2", "0.1-100", "--spans end at 100 s"),
    ] {
        let out = format!("{seconds}.wav");
        let edit = [
            "--edit",
            "known.wav",
            "--spans",
            spans,
            "--seconds",
            seconds,
            "--out",
            &out,
        ];
        let output = place.run("lora-infer", &[&fixed[..], &edit].concat());
        assert!(
            output.status.success() && told(&output).contains(words),
            "{}",
            told(&output)
        );
    }
}

#[test]
fn chunks_are_decoded_as_the_releases_decode_them() {
    let place = Place::with("cfm_model.pt");
    // 0.2 s are 138 latent frames of this autoencoder: two chunks of 128. It sees less far than they overlap.
    let exact = place.clip("model", "a.wav", &[]);
    let chunked = place.clip("model", "b.wav", &["--chunked"]);
    assert_alike(&chunked, &exact);
}

#[test]
fn what_is_missing_or_another_model_is_named() {
    let place = Place::with("cfm_model.pt");
    place.refused(
        "lora-infer",
        &["--model", "diffrhythm-v1.2"],
        &[
            "cfm_model.pt of ASLP-lab/DiffRhythm-1_2",
            "2220 MB",
            "vae_model.pt",
            "HF_HUB_OFFLINE",
        ],
    );
    place.add("alone", "cfm_model.pt", "cfm_model.pt");
    place.refused(
        "lora-infer",
        &["--model", "alone"],
        &["vae_model.pt", "--vae"],
    );
    place.add("wrong", "vae_model.pt", "cfm_model.pt");
    place.add("wrong", "vae_model.pt", "vae_model.pt");
    place.refused(
        "lora-infer",
        &["--model", "wrong"],
        &["cfm_model.pt", "DiffRhythm"],
    );
    place.refused(
        "lora-infer",
        &["--model", "nowhere"],
        &["nowhere", "--list-models"],
    );
    let bytes = std::fs::read(place.path("model/cfm_model.pt")).unwrap();
    std::fs::write(place.path("model/cfm_model.pt"), &bytes[..bytes.len() / 2]).unwrap();
    place.refused(
        "lora-infer",
        &["--model", "model"],
        &["cfm_model.pt", "again"],
    );
    place.refused(
        "lora-infer",
        &["--chunked"],
        &["--chunked", "released song models"],
    );
}

#[test]
fn what_flags_say_is_checked_before_a_model_is_asked_for() {
    let place = Place::with("cfm_model.pt");
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.path(name), bytes).unwrap();
    write("utf16.lrc", b"[\x000\x000\x00:\x000\x001\x00]\x00a\x00");
    write("taken.wav", b"");
    write("huge.txt", b"");
    for (flags, words) in [
        (&["--cfg", "-1"][..], &["--cfg -1.0", "0 to 100"][..]),
        (
            &["--cfg", "0", "--negative-style", "a.npy"],
            &["--cfg 0", "--negative-style"],
        ),
        (&["--seconds", "-3"], &["-3.0 s"]),
        (&["--seconds", "1e300"], &["1e300 s", "95.1"]),
        (&["--edit", "taken.wav", "--spans", "a-b"], &["--spans a-b"]),
        (&["--edit", "none.wav", "--spans", "1-2"], &["none.wav"]),
        (&["--lyrics", "none.lrc"], &["none.lrc"]),
        (
            &["--lyrics", "utf16.lrc"],
            &["utf16.lrc", "iconv -f UTF-16LE"],
        ),
        (&["--lyrics-data", "none"], &["--lyrics-data none"]),
        (&["--style", "none.npy"], &["none.npy"]),
        (&["--style-audio", "none.wav"], &["none.wav"]),
        (&["--lora", "none.safetensors"], &["none.safetensors"]),
        (&["--lora", "none.safetensors:x"], &["strength"]),
        (&["--out", "taken.wav"], &["taken.wav", "--force"]),
        (&["--out", "huge.txt/x.wav"], &["huge.txt", "folder"]),
    ] {
        let output = place.run(
            "lora-infer",
            &[&["--model", "diffrhythm-v1.2"], flags].concat(),
        );
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {told}");
        assert!(!told.contains("not on this machine"), "{flags:?}: {told}");
        for word in words {
            assert!(told.contains(word), "{flags:?}: {word}: {told}");
        }
    }
    let output = place.run("lora-infer", &["--seed", "-1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("'-1' for '--seed"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_missing_style_encoder_is_named_with_all_its_files() {
    let place = Place::with("cfm_model.pt");
    let fixed = ["--model", "model", "--prompt", "sad piano"];
    let files = [
        "config.json of OpenMuQ/MuQ-MuLan-large",
        "pytorch_model.bin",
        "2700 MB",
        "tokenizer.json of FacebookAI/xlm-roberta-base",
        "with --style-encoder",
    ];
    place.refused("lora-infer", &fixed, &files);
    place.refused(
        "lora-infer",
        &["--model", "diffrhythm-base"],
        &["with --model and --vae"],
    );
    let output = place.run("lora-infer", &["--list-models"]);
    assert!(
        told(&output).contains("HF_HUB_OFFLINE forbids"),
        "{}",
        told(&output)
    );
}

#[test]
fn without_a_terminal_every_clip_is_announced() {
    let place = Place::with("cfm_model.pt");
    let fixed = [
        "--model",
        "model",
        "--steps",
        "2",
        "--seconds",
        "0.1",
        "--causal",
        "true",
    ];
    let output = place.run(
        "lora-infer",
        &[&fixed[..], &["--seed", "7", "--out", "a.wav"]].concat(),
    );
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("making the clip of seed 7 without adapters, 2 steps"),
        "{said}"
    );
}

#[test]
fn another_programs_configuration_in_the_folder_is_left_alone() {
    let place = Place::with("cfm_model.pt");
    let without = place.clip("model", "a.wav", &[]);
    std::fs::write(
        place.path("model/config.json"),
        r#"{"_class_name": "Other"}"#,
    )
    .unwrap();
    assert!(place.clip("model", "b.wav", &[]) == without);
}

#[test]
fn the_original_projects_training_is_counted_without_its_model() {
    let place = Place::with("cfm_model.pt");
    let output = place.run("lora-train", &["--preset", "diffrhythm-opera", "--dry-run"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("trainable: 2,179,584 of 1,109,315,648 parameters (0.1965 %)"),
        "{told}"
    );
}

#[test]
fn an_adapter_of_a_song_model_is_trained_and_fits_every_copy_of_it() {
    let place = Place::with("cfm_model.pt");
    place.add("plain", "cfm_model.safetensors", "cfm_model.safetensors");
    place.add("plain", "vae_model.safetensors", "vae_model.safetensors");
    common::segments(place.folder.path(), 44_100 / 5);
    for piece in 0..6 {
        place.style(
            &format!("segments/piece-{piece}.style.npy"),
            STYLE_WIDTH,
            piece,
        );
    }
    let fixed = [
        "--model",
        "model",
        "--data",
        "segments",
        "--steps",
        "2",
        "--batch-size",
        "2",
    ];
    let output = place.run(
        "lora-train",
        &[&fixed[..], &["--causal", "false", "--reference-defects"]].concat(),
    );
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("every piece has its style vector"), "{said}");
    let without = place.clip("plain", "a.wav", &[]);
    let strong = ["--lora", "style.safetensors:5"];
    assert!(place.clip("plain", "b.wav", &strong) != without);
    assert_eq!(
        place.clip("plain", "c.wav", &["--lora", "style.safetensors:0"]),
        without
    );
    place.refused(
        "lora-infer",
        &["--lora", "style.safetensors"],
        &[
            "style.safetensors: trained on model",
            "pass --model with the path of model",
        ],
    );
}
