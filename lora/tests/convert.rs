//! `lora-convert` as a user meets it, and adapters of other programs on a released model.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use candle_core::Device;
use checkpoint::TensorFile;
use lora::adapter::{Adapter, LayerFactors, Target, layer_shapes};
use lora::models::Hub;
use lora::progress::Silent;
use testing::pseudo_random;

const ORIGINAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/adapters/model_lora_1234.pt"
);
/// A tiny release of DiffRhythm.
const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoint/tests/fixtures");

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    folder.join(name).display().to_string()
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::cargo_bin(program)
        .unwrap()
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HUB_CACHE", folder.join("hub"))
        .args(arguments)
        .output()
        .unwrap()
}

fn convert(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, "lora-convert", arguments)
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
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

#[test]
fn adapters_go_from_layout_to_layout_and_what_is_assumed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let output = convert(at, &[ORIGINAL, "peft", "--to", "peft"]);
    expect(&output, 0, &["alpha", "16", "peft"]);
    expect(
        &convert(at, &["peft", "one.safetensors", "--to", "single"]),
        0,
        &[],
    );
    let output = convert(
        at,
        &["one.safetensors", "comfy.safetensors", "--to", "comfyui"],
    );
    expect(&output, 0, &["comfy.safetensors"]);
    expect(
        &convert(at, &["comfy.safetensors", "back.pt", "--to", "original"]),
        0,
        &[],
    );
    let inspected = convert(at, &["--inspect", "back.pt"]);
    expect(
        &inspected,
        0,
        &[
            "original project",
            "LoRA",
            "transformer.transformer_blocks.3",
            "SHA-256",
        ],
    );
    let again = ["back.pt", "one.safetensors", "--to", "single"];
    expect(&convert(at, &again), 1, &["one.safetensors", "--force"]);
    expect(&convert(at, &[&again[..], &["--force"]].concat()), 0, &[]);
}

#[test]
fn another_scale_than_the_originals_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let peft = fixture("peft");
    let output = convert(folder.path(), &[&peft, "out.pt", "--to", "original"]);
    expect(&output, 0, &["lora_infer.py", "lora_B"]);
}

/// An adapter for the tiny release, in the layout asked for.
fn adapter_for_release(path: &Path, target: Target) {
    let mut adapter = Adapter::load(Path::new(ORIGINAL), &Device::Cpu).unwrap();
    let factors = |index| {
        let (a, b) = (
            pseudo_random((8, 64), index),
            pseudo_random((64, 8), index + 1),
        );
        LayerFactors::low_rank(a, b, 2.0)
    };
    adapter.layers = ["q_proj", "v_proj"]
        .map(|name| format!("transformer.transformer_blocks.1.self_attn.{name}"))
        .into_iter()
        .zip([factors(1), factors(3)])
        .collect();
    adapter.write(path, target, false).unwrap();
}

#[test]
fn the_base_is_a_name_a_file_or_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    adapter_for_release(&at.join("style.pt"), Target::Original);
    let merge =
        |base: &str, out: &str| convert(at, &["style.pt", out, "--to", "merged", "--base", base]);
    let file = format!("{RELEASE}/cfm_model.pt");
    expect(&merge(&file, "a.safetensors"), 0, &["model_state_dict"]);
    expect(&merge(RELEASE, "b.safetensors"), 0, &[]);
    for (base, words) in [
        ("nowhere", ["nowhere", "--base takes", "embedded"]),
        (
            "diffrhythm-base",
            ["cfm_model.pt", "not on this machine", "MB"],
        ),
        (
            "embedded",
            ["does not fit", "base embedded", "transformer_blocks.1"],
        ),
        (
            ".",
            [
                "no transformer's weights",
                "cfm_model.pt",
                "diffusion_pytorch_model",
            ],
        ),
    ] {
        expect(&merge(base, "c.safetensors"), 1, &words);
    }
    assert!(!at.join("c.safetensors").exists());
}

/// Merged at strength 0 the embedded base is what it was, and a base still.
#[test]
fn the_embedded_base_can_be_merged() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let base = lora::base::weights("embedded", &Hub::from_env(), &mut Silent).unwrap();
    let name = "transformer.transformer_blocks.0.self_attn.q_proj";
    let &(outputs, inputs) = &layer_shapes(&base)[name];
    let mut adapter = Adapter::load(Path::new(ORIGINAL), &Device::Cpu).unwrap();
    let (a, b) = (
        pseudo_random((2, inputs), 1),
        pseudo_random((outputs, 2), 2),
    );
    adapter.layers = [(name.to_owned(), LayerFactors::low_rank(a, b, 1.0))].into();
    let embedded = lora::base::BaseModel::embedded(&Device::Cpu).unwrap();
    adapter.description.base = Some(embedded.identity().clone());
    adapter.save(&at.join("style.safetensors")).unwrap();
    let merge = |out: &str, strength: &str| {
        let arguments = [
            "style.safetensors",
            out,
            "--to",
            "merged",
            "--base",
            "embedded",
        ];
        let output = convert(at, &[&arguments[..], &["--strength", strength]].concat());
        expect(&output, 0, &[out]);
        TensorFile::open(&at.join(out)).unwrap()
    };
    for (out, strength) in [("same.safetensors", "0"), ("other.safetensors", "1")] {
        let merged = merge(out, strength);
        for tensor in base.names() {
            let is_same = merged.bytes(tensor).unwrap() == base.bytes(tensor).unwrap();
            let is_adapted = tensor.strip_suffix(".weight") == Some(name);
            assert_eq!(is_same, strength == "0" || !is_adapted, "{tensor}");
        }
    }
    let inspected = convert(at, &["--inspect", "other.safetensors"]);
    expect(&inspected, 0, &["a base of Lorelei"]);
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let peft = fixture("peft");
    for (more, words) in [
        (&["--to", "single", "--strength", "2"][..], "--strength"),
        (&["--to", "peft", "--precision", "f16"], "--precision"),
        (&["--to", "safetensors", "--base", "embedded"], "--base"),
        (&["--to", "safetensors"], "is a folder"),
        (&["--to", "merged"], "--base"),
        (&["--to", "single", "--alpha", "0"], "above 0"),
        (&["--to", "single", "--alpha", "7"], "alpha 5"),
    ] {
        let output = convert(
            folder.path(),
            &[&[peft.as_str(), "out.safetensors"], more].concat(),
        );
        expect(&output, 1, &[words]);
    }
    expect(&convert(folder.path(), &[&peft]), 2, &["OUT"]);
    let output = convert(folder.path(), &["--inspect", &peft, "--force"]);
    expect(&output, 2, &["--force"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn inspecting_says_what_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let lokr = fixture("lokr.safetensors");
    for (file, words) in [
        (
            ORIGINAL,
            &["rank: 8", "alpha: 16", "scale: 2", "step: 1234"][..],
        ),
        (&fixture("peft_dora"), &["DoRA", "before DoRA's lengths"]),
        (
            &lokr,
            &[
                "LoKr",
                "Kronecker",
                "scale: 1.5",
                "transformer_transformer_blocks_1: ",
            ],
        ),
        (
            &fixture("ace/base.safetensors"),
            &["ACE-Step", "tensors: 96", "parameters: 84904", "float32"],
        ),
        (&format!("{RELEASE}/cfm_model.pt"), &["DiffRhythm"]),
        (
            &format!("{RELEASE}/vae_model.pt"),
            &["Oobleck", "TorchScript"],
        ),
    ] {
        expect(&convert(folder.path(), &["--inspect", file]), 0, words);
    }
    let output = convert(folder.path(), &["--inspect", &lokr]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("alpha"));
}

/// One adapter in three layouts is one song, and another than without it.
#[test]
fn a_released_model_sings_with_adapters_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let release = at.join("release");
    std::fs::create_dir(&release).unwrap();
    for name in ["cfm_model.pt", "vae_model.pt"] {
        std::fs::copy(Path::new(RELEASE).join(name), release.join(name)).unwrap();
    }
    let song = |out: &str, more: &[&str]| {
        let arguments = ["--model", "release", "--causal", "true", "--out", out];
        let arguments = [&arguments[..], &["--seconds", "0.3", "--steps", "2"], more].concat();
        let output = run(at, "lora-infer", &arguments);
        expect(&output, 0, &[out]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(more.is_empty() || told.contains("applied 4 of 4"), "{told}");
        std::fs::read(at.join(out)).unwrap()
    };
    let plain = song("plain.wav", &[]);
    let adapted = [
        ("style.pt", Target::Original),
        ("style-peft", Target::Peft),
        ("style.safetensors", Target::ComfyUi),
    ]
    .map(|(name, target)| {
        adapter_for_release(&at.join(name), target);
        song(&format!("{name}.wav"), &["--lora", name])
    });
    assert_ne!(plain, adapted[0]);
    assert_eq!(adapted[0], adapted[1]);
    assert_eq!(adapted[0], adapted[2]);
}

#[test]
fn a_training_checkpoint_becomes_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = testing::release_file("cfm_model.safetensors");
    let tensors = candle_core::safetensors::load(&model, &Device::Cpu).unwrap();
    let both: std::collections::HashMap<_, _> = tensors
        .iter()
        .flat_map(|(name, tensor)| {
            let average = (tensor * 0.5).unwrap();
            [
                (format!("model_state_dict.{name}"), tensor.clone()),
                (format!("ema_model_state_dict.ema_model.{name}"), average),
            ]
        })
        .collect();
    candle_core::safetensors::save(&both, at.join("both.safetensors")).unwrap();
    let ema = format!("{RELEASE}/cfm_model_ema.pt");
    let whole = TensorFile::open(&model).unwrap();
    for (number, (input, taken)) in [
        ("both.safetensors", "model_state_dict"),
        (&ema, "ema_model_state_dict"),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("new/{number}.safetensors");
        let output = convert(at, &[input, &out, "--to", "safetensors"]);
        expect(&output, 0, &[taken, "other tensors"]);
        let written = TensorFile::open(&at.join(out)).unwrap();
        assert!(written.names().eq(whole.names()));
        let name = "transformer.proj_out.weight";
        assert_eq!(written.bytes(name).unwrap(), whole.bytes(name).unwrap());
    }
    let trainer = format!("{RELEASE}/trainer.pt");
    let output = convert(at, &[&trainer, "t.safetensors", "--to", "safetensors"]);
    expect(
        &output,
        0,
        &[
            "values that are no tensors",
            "left behind",
            "--precision f16",
        ],
    );
    std::fs::write(at.join("empty.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    let output = convert(
        at,
        &["empty.safetensors", "e.safetensors", "--to", "safetensors"],
    );
    expect(&output, 1, &["no tensors"]);
}

#[test]
fn hashes_are_taken_as_people_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = testing::release_file("vae_model.pt").display().to_string();
    for (input, to) in [(ORIGINAL, "single"), (&model, "safetensors")] {
        let inspected = convert(at, &["--inspect", input]);
        let told = String::from_utf8(inspected.stdout).unwrap();
        let digits = told.lines().find_map(|line| line.strip_prefix("SHA-256: "));
        let digits = digits.unwrap();
        let run = |hash: &str| {
            let arguments = [input, "out.safetensors", "--to", to, "--force", "--sha256"];
            convert(at, &[&arguments[..], &[hash]].concat())
        };
        expect(&run(&format!("sha256:{}", digits.to_uppercase())), 0, &[]);
        expect(
            &run(&"0".repeat(64)),
            1,
            &["expected 0000", "download it again"],
        );
        expect(&run("abc"), 2, &["64 hexadecimal digits"]);
    }
}

#[test]
fn outputs_that_cannot_be_are_told_first() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("file.safetensors"), "mine").unwrap();
    std::fs::create_dir(at.join("folder.safetensors")).unwrap();
    for (out, to, more, words) in [
        ("x.pt", "single", &[][..], "x.safetensors"),
        ("x.safetensors", "original", &[], "x.pt"),
        ("file.safetensors", "peft", &["--force"], "is a file"),
        ("folder.safetensors", "single", &["--force"], "is a folder"),
        ("file.safetensors", "single", &[], "--force"),
    ] {
        let output = convert(at, &[&[ORIGINAL, out, "--to", to], more].concat());
        expect(&output, 1, &[words]);
    }
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 2);
    let base = format!("{RELEASE}/cfm_model.pt");
    let output = convert(at, &[&base, "y.pt", "--to", "safetensors"]);
    expect(&output, 1, &["y.safetensors"]);
}

#[test]
fn folders_and_shards_are_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["vae_model.pt", "cfm_model.pt"] {
        std::fs::copy(testing::release_file(name), at.join(name)).unwrap();
    }
    let words = ["cfm_model.pt:", "DiffRhythm", "vae_model.pt:", "Oobleck"];
    expect(&convert(at, &["--inspect", "."]), 0, &words);
    let index = format!("{RELEASE}/shards.safetensors.index.json");
    let bytes: u64 = ["1", "2"]
        .iter()
        .map(|number| format!("{RELEASE}/shards-0000{number}-of-00002.safetensors"))
        .map(|shard| std::fs::metadata(shard).unwrap().len())
        .sum();
    let size = format!("size: {bytes} bytes in all shards");
    expect(&convert(at, &["--inspect", &index]), 0, &[&size]);
    expect(
        &convert(at, &["--inspect", &fixture("peft")]),
        0,
        &["SHA-256"],
    );
}

/// A stop is a stop: code 130, and nothing is left of the output.
#[cfg(unix)]
#[test]
fn a_stopped_conversion_leaves_nothing() {
    const BYTES: u64 = 1 << 30;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let header = format!(
        r#"{{"w":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{BYTES}]}}}}"#,
        BYTES / 4
    );
    // Zeros that take no space on the disk.
    let file = std::fs::File::create(at.join("model.safetensors")).unwrap();
    let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    std::io::Write::write_all(&mut &file, &start).unwrap();
    file.set_len(start.len() as u64 + BYTES).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("lora-convert"))
        .current_dir(at)
        .args([
            "model.safetensors",
            "out.safetensors",
            "--to",
            "safetensors",
        ])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 1);
}

fn merge(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, "lora-merge", arguments)
}

#[test]
fn adapters_are_added_subtracted_and_brought_to_a_rank() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (one, two) = (fixture("peft"), fixture("peft_rslora"));
    let weighted = format!("{one}:0.7");
    let sum = ["sum", &weighted, &two, "--out", "sum.safetensors"];
    expect(&merge(at, &sum), 0, &["sum.safetensors"]);
    expect(&merge(at, &sum), 1, &["sum.safetensors", "--force"]);
    let less = [
        "sum",
        "sum.safetensors",
        "--subtract",
        &weighted,
        "--rank",
        "2",
        "--out",
        "new/less.safetensors",
    ];
    expect(
        &merge(at, &less),
        0,
        &["squared norm", "q_proj", "%", "new/less.safetensors"],
    );
    let inspected = convert(at, &["--inspect", "new/less.safetensors"]);
    expect(&inspected, 0, &["rank: 2"]);
    let folder_of_peft = ["sum", &two, "--to", "peft", "--out", "two"];
    expect(&merge(at, &folder_of_peft), 0, &["two"]);
    let replaced = [
        "sum",
        "sum.safetensors",
        "--out",
        "sum.safetensors",
        "--force",
    ];
    expect(&merge(at, &replaced), 1, &["would be replaced"]);
    let limited = format!("{one}:0.5:time=0-0.5");
    let limited = ["sum", &limited, "--out", "x.safetensors"];
    expect(&merge(at, &limited), 1, &["lora-infer --lora"]);
    let dora = [
        "sum",
        &fixture("peft_dora"),
        "--rank",
        "4",
        "--out",
        "x.safetensors",
    ];
    expect(&merge(at, &dora), 1, &["peft_dora", "--base"]);
    let endings = ["sum", &two, "--out", "x.pt"];
    expect(&merge(at, &endings), 1, &["x.safetensors"]);
    for (out, better) in [("e3.wav", "e3.safetensors"), ("x", "x.safetensors")] {
        expect(&merge(at, &["sum", &two, "--out", out]), 1, &[better]);
        assert!(!at.join(out).exists());
    }
    for rank in ["0", "4097", "-1", "2.5"] {
        expect(
            &merge(at, &["sum", &two, "--rank", rank, "--out", "x.safetensors"]),
            2,
            &["from 1 to 4096"],
        );
    }
    // What is read is refused before it is read.
    std::fs::write(at.join("torn.safetensors"), "torn").unwrap();
    let torn = ["torn.safetensors", "--out", "torn.safetensors", "--force"];
    expect(
        &merge(at, &[&["sum"], &torn[..]].concat()),
        1,
        &["would be replaced"],
    );
    let extracted = ["--base", &two, "--rank", "1"];
    let extracted = [&["extract"], &torn[..], &extracted].concat();
    expect(&merge(at, &extracted), 1, &["would be replaced"]);
    let none = format!("{two}:0");
    for (parts, idle) in [
        (&[two.as_str(), "--subtract", &two][..], true),
        (&[two.as_str(), "--subtract", &two, "--rank", "2"][..], true),
        (&[none.as_str()][..], true),
        (&[two.as_str(), &none][..], false),
    ] {
        let out = ["--out", "sum.safetensors", "--force"];
        let output = merge(at, &[&["sum"], parts, &out].concat());
        expect(&output, 0, &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(told.contains("no effect"), idle, "{parts:?}: {told}");
    }
}

#[test]
fn an_adapter_is_taken_out_of_a_checkpoint_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (one, base) = (fixture("peft"), fixture("base.safetensors"));
    let merged = [&one, "tuned.safetensors", "--to", "merged", "--base", &base];
    expect(&convert(at, &merged), 0, &[]);
    let rank = |rank| {
        [
            "extract",
            "tuned.safetensors",
            "--base",
            &base,
            "--rank",
            rank,
            "--out",
            "style.safetensors",
        ]
    };
    expect(
        &merge(at, &rank("3")),
        0,
        &["100.00 %", "7 layers", "style.safetensors"],
    );
    let taken = [
        "style.safetensors",
        "again.safetensors",
        "--to",
        "merged",
        "--base",
        &base,
    ];
    expect(&convert(at, &taken), 0, &["again.safetensors"]);
    let same = [
        "extract",
        &base,
        "--base",
        &base,
        "--rank",
        "1",
        "--out",
        "none.safetensors",
    ];
    expect(&merge(at, &same), 1, &["nothing to extract"]);
    assert!(!at.join("none.safetensors").exists());
}
