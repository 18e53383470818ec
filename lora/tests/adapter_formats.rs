//! Adapters of other programs: what they do to a model's weights is what their own libraries make of them.
//!
//! The files are made by `fixtures/adapters/make.py`, and by the references whose cases lie in `dit/tests/fixtures`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use checkpoint::{ElementType, Precision, TensorFile};
use lora::adapter::{
    Adapter, AdapterFormat, BaseIdentity, LayerFactors, MergeOptions, Method, Target, detach_all,
    layer_shapes, merge, write_merged,
};
use lora::progress::Silent;
use nn::{Linear, Mode, VisitLinears};
use testing::{assert_close, assert_equal, pseudo_random};

const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    folder.join(name)
}

/// A case that the transformers are tested with.
fn case(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dit/tests/fixtures");
    folder.join(name)
}

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// The linear layers of a model, without what connects them.
struct Layers(Vec<Linear>);

impl Layers {
    /// All matrices of a file of weights.
    fn of(path: &Path) -> Self {
        let tensors = tensors(path);
        let mut names: Vec<&str> = tensors
            .keys()
            .filter_map(|name| name.strip_suffix(".weight"))
            .filter(|name| tensors[&format!("{name}.weight")].rank() == 2)
            .collect();
        names.sort_unstable();
        let layer = |name: &str| {
            let bias = tensors.get(&format!("{name}.bias")).cloned();
            Linear::new(name, tensors[&format!("{name}.weight")].clone(), bias).unwrap()
        };
        Self(names.into_iter().map(layer).collect())
    }

    fn base() -> Self {
        Self::of(&fixture("base.safetensors"))
    }

    /// The output of every layer for some input of a batch.
    fn outputs(&self, batch: usize) -> Vec<Tensor> {
        let output = |layer: &Linear| {
            let x = pseudo_random((batch, 3, layer.in_features()), 1);
            layer.forward(&x, &Mode::Inference).unwrap()
        };
        self.0.iter().map(output).collect()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let weight = |layer: &Linear| (layer.name().to_owned(), layer.weight().unwrap());
        self.0.iter().map(weight).collect()
    }
}

impl VisitLinears for Layers {
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear)) {
        self.0.iter_mut().for_each(visit);
    }
}

fn identity() -> BaseIdentity {
    BaseIdentity {
        name: "test".into(),
        version: 1,
        sha256: String::new(),
        causal: None,
    }
}

fn load(path: &Path) -> Adapter {
    Adapter::load(path, &Device::Cpu).unwrap()
}

#[track_caller]
fn attach(adapter: &Adapter, layers: &mut Layers, strength: f64) {
    let attachment = adapter
        .attach(layers, &identity(), strength, Path::new("test"))
        .unwrap();
    assert_eq!(attachment.applied, attachment.total);
}

/// File, its library's merged weights, format, method of its layers.
const CASES: &[(&str, &str, AdapterFormat, Method)] = {
    use AdapterFormat::*;
    use Method::*;
    &[
        ("peft", "peft", PeftFolder, Lora),
        ("peft/adapter_model.safetensors", "peft", PeftFile, Lora),
        ("peft_default", "peft", PeftFolder, Lora),
        ("peft_bin", "peft", PeftFolder, Lora),
        ("peft_rslora", "peft_rslora", PeftFolder, Lora),
        ("peft_patterns", "peft_patterns", PeftFolder, Lora),
        ("peft_dora", "peft_dora", PeftFolder, Dora),
        ("peft_lokr", "peft_lokr", PeftFolder, Lokr),
        ("peft_lokr_whole", "peft_lokr_whole", PeftFolder, Lokr),
        ("diffusers.safetensors", "peft", Diffusers, Lora),
        (
            "diffusers_patterns.safetensors",
            "peft_patterns",
            Diffusers,
            Lora,
        ),
        ("kohya.safetensors", "kohya", ComfyUi, Lora),
        ("comfyui.safetensors", "comfyui", ComfyUi, Lora),
        ("lokr.safetensors", "lokr", Lycoris, Lokr),
        ("lokr_both.safetensors", "lokr_both", Lycoris, Lokr),
        ("lokr_mixed.safetensors", "lokr_mixed", Lycoris, Lokr),
        ("lokr_full.safetensors", "lokr_full", Lycoris, Lokr),
        (
            "lycoris_rslora.safetensors",
            "lycoris_rslora",
            ComfyUi,
            Lora,
        ),
        ("dokr_outputs.safetensors", "dokr_outputs", Lycoris, Dokr),
        ("dokr_inputs.safetensors", "dokr_inputs", Lycoris, Dokr),
        ("sa3_lora.safetensors", "sa3_lora", StableAudio3, Lora),
        (
            "sa3_dora_rows.safetensors",
            "sa3_dora_rows",
            StableAudio3,
            Dora,
        ),
        (
            "sa3_dora_cols.safetensors",
            "sa3_dora_cols",
            StableAudio3,
            Dora,
        ),
    ]
};

#[test]
fn every_layout_does_to_the_weights_what_its_library_does() {
    for (file, merged_by_library, format, method) in CASES {
        let adapter = load(&fixture(file));
        assert_eq!(adapter.format, *format, "{file}");
        assert!(
            adapter
                .layers
                .values()
                .all(|layer| layer.method() == *method),
            "{file}"
        );
        let expected = tensors(&fixture(&format!("{merged_by_library}.merged.safetensors")));
        let mut layers = Layers::base();
        attach(&adapter, &mut layers, 1.0);
        merge(&mut layers).unwrap();
        let mut compared = 0;
        for (name, weight) in layers.weights() {
            let name = format!("{name}.weight");
            assert_close(
                &format!("{file} {name}"),
                &weight,
                &expected[&name],
                TOLERANCE,
            );
            compared += 1;
        }
        assert_eq!(compared, expected.len(), "{file}");
    }
}

/// Attached means merged, at any strength; the weight goes straight from the base's to the adapted one; 0 is the base to the bit.
#[test]
fn strengths_lead_from_the_base_to_the_adapted_weights() {
    for (file, ..) in CASES {
        let adapter = load(&fixture(file));
        let base = Layers::base();
        let mut adapted = Layers::base();
        attach(&adapter, &mut adapted, 1.0);
        merge(&mut adapted).unwrap();
        for (strength, batch) in [(0.0, 1), (1.0, 2), (0.3, 2), (-1.5, 1)] {
            let mut layers = Layers::base();
            attach(&adapter, &mut layers, strength);
            let attached = layers.outputs(batch);
            for (index, (name, weight)) in base.weights().into_iter().enumerate() {
                let far = adapted.0[index].weight().unwrap();
                let between =
                    ((&weight * (1.0 - strength)).unwrap() + (far * strength).unwrap()).unwrap();
                let layer = Linear::new(&name, between, base.0[index].bias().cloned()).unwrap();
                let x = pseudo_random((batch, 3, layer.in_features()), 1);
                let expected = layer.forward(&x, &Mode::Inference).unwrap();
                let what = format!("{file} {name} at {strength}");
                assert_close(&what, &attached[index], &expected, 2.0 * TOLERANCE);
            }
            if strength == 0.0 {
                for (found, expected) in attached.iter().zip(base.outputs(batch)) {
                    assert_equal(file, found, &expected);
                }
            }
            merge(&mut layers).unwrap();
            for (found, expected) in layers.outputs(batch).iter().zip(&attached) {
                assert_close(file, found, expected, 2.0 * TOLERANCE);
            }
            detach_all(&mut layers);
        }
    }
}

#[test]
fn our_own_file_keeps_every_method_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (file, ..) in CASES {
        let adapter = load(&fixture(file));
        let path = folder.path().join("own.safetensors");
        adapter.save(&path).unwrap();
        let again = load(&path);
        assert_eq!(again.format, AdapterFormat::Lorelei);
        assert_eq!(again.metadata, adapter.metadata, "{file}");
        assert_eq!(
            again.layers.keys().collect::<Vec<_>>(),
            adapter.layers.keys().collect::<Vec<_>>()
        );
        for (name, layer) in &adapter.layers {
            let own = &again.layers[name];
            assert_eq!(own.scale.to_bits(), layer.scale.to_bits(), "{file} {name}");
            assert_eq!(own.method(), layer.method());
            for (own, layer) in own.tensors().into_iter().zip(layer.tensors()) {
                assert_equal(&format!("{file} {name}"), own, layer);
            }
        }
    }
}

#[test]
fn the_references_adapters_merge_as_they_do() {
    for name in ["d_lora_dit", "d2_lora_pattern_rslora"] {
        let adapter = load(&case(name).join("lora"));
        let base = case("b_stable_audio_dit/transformer/diffusion_pytorch_model.safetensors");
        let mut layers = Layers::of(&base);
        attach(&adapter, &mut layers, 1.0);
        merge(&mut layers).unwrap();
        let golden = tensors(&case(name).join("golden.safetensors"));
        let mut compared = 0;
        for (layer, weight) in layers.weights() {
            if let Some(expected) = golden.get(&format!("merged.{layer}.weight")) {
                assert_close(&format!("{name} {layer}"), &weight, expected, TOLERANCE);
                compared += 1;
            }
        }
        assert_eq!(compared, adapter.layers.len());
    }
}

/// ACE-Step's transformer, whose adapter diffusers and PEFT saved.
#[test]
fn diffusers_file_and_pefts_folder_are_one_adapter() {
    let expected = tensors(&fixture("ace/merged.safetensors"));
    for file in ["ace/pytorch_lora_weights.safetensors", "ace/peft"] {
        let adapter = load(&fixture(file));
        let mut layers = Layers::of(&fixture("ace/base.safetensors"));
        attach(&adapter, &mut layers, 1.0);
        merge(&mut layers).unwrap();
        let mut compared = 0;
        for (layer, weight) in layers.weights() {
            if let Some(expected) = expected.get(&format!("{layer}.weight")) {
                assert_close(&format!("{file} {layer}"), &weight, expected, TOLERANCE);
                compared += 1;
            }
        }
        assert_eq!(compared, expected.len(), "{file}");
    }
}

/// `lora_infer.py` adds `x (A B) 2`, whatever the rank is and whatever the scale was.
#[test]
fn a_written_pt_is_right_times_two() {
    let folder = tempfile::tempdir().unwrap();
    for (rank, scale) in [
        (8, 2.0),
        (8, 0.75),
        (3, 2.0),
        (3, 4.0),
        (16, 2.0),
        (16, 1.0),
    ] {
        let (a, b) = (pseudo_random((rank, 12), 1), pseudo_random((8, rank), 2));
        let expected = (b.matmul(&a).unwrap() * scale).unwrap();
        let mut adapter = load(&fixture("peft"));
        let layer = LayerFactors::low_rank(a, b, scale);
        adapter.layers = [("transformer.proj_out".to_owned(), layer)].into();
        let path = folder.path().join(format!("{rank}-{scale}.pt"));
        adapter.write(&path, Target::Original, false).unwrap();
        let again = load(&path);
        let layer = &again.layers["transformer.proj_out"];
        let what = format!("rank {rank}, scale {scale}");
        assert_eq!(layer.scale, 2.0, "{what}");
        assert_eq!(layer.rank(), Some(rank.max(8)), "{what}");
        let tensors = layer.tensors();
        let product = (tensors[1].matmul(tensors[0]).unwrap() * 2.0).unwrap();
        assert_close(&what, &product, &expected, TOLERANCE);
    }
}

#[test]
fn an_alpha_that_no_training_makes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    for alpha in [0.0f32, -5.0] {
        let mut tensors = tensors(&fixture("comfyui.safetensors"));
        for (name, tensor) in &mut tensors {
            if name.ends_with("1.mlp.alpha") {
                *tensor = Tensor::new(alpha, &Device::Cpu).unwrap();
            }
        }
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = Adapter::load(&path, &Device::Cpu).unwrap_err().to_string();
        for words in ["changed.safetensors", "1.mlp", &format!("alpha {alpha}")] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}

/// The original's pickle and the reference's copy of it in PEFT's layout are one adapter.
#[test]
fn the_originals_file_is_turned_and_takes_its_alpha() {
    let original = load(&fixture("model_lora_1234.pt"));
    let peft = load(&case("dr_train/peft"));
    assert_eq!(original.format, AdapterFormat::Original);
    assert_eq!(
        (original.description.alpha, original.description.step),
        (16.0, 1234)
    );
    assert_eq!(original.layers.len(), 22);
    for (name, layer) in &peft.layers {
        let own = &original.layers[name];
        assert_eq!(own.scale, layer.scale);
        for (own, layer) in own.tensors().into_iter().zip(layer.tensors()) {
            assert_equal(name, own, layer);
        }
    }
    let other = Adapter::load_with_alpha(&fixture("model_lora_1234.pt"), Some(4.0), &Device::Cpu);
    assert!(
        other
            .unwrap()
            .layers
            .values()
            .all(|layer| layer.scale == 0.5)
    );
}

#[test]
fn slashes_and_missing_alphas_are_read() {
    let adapter = load(&fixture("loraw.ckpt"));
    assert_eq!(adapter.format, AdapterFormat::Loraw);
    assert!(adapter.layers.values().all(|layer| layer.scale == 1.0));
    attach(&adapter, &mut Layers::base(), 1.0);
}

/// Saves tensors under changed names.
fn changed(folder: &Path, change: impl Fn(&str) -> String) -> PathBuf {
    let tensors = tensors(&fixture("comfyui.safetensors"));
    let tensors: HashMap<String, Tensor> = tensors
        .into_iter()
        .map(|(name, tensor)| (change(&name), tensor))
        .collect();
    let path = folder.join("changed.safetensors");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

#[test]
fn nothing_is_dropped_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    // Tensors of unknown methods: the whole list.
    let path = changed(folder.path(), |name| {
        name.replace("q_proj.lora_down", "q_proj.lora_sideways")
    });
    let error = Adapter::load(&path, &Device::Cpu).unwrap_err().to_string();
    for words in [
        "changed.safetensors",
        "2 of its 21 tensors",
        "blocks.0.self_attn.q_proj.lora_sideways",
        "blocks.1.self_attn.q_proj.lora_sideways",
        "merged",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    // Layers that the model has not: the whole list, and nothing is attached.
    let path = changed(folder.path(), |name| name.replace("mlp", "mpl"));
    let (adapter, mut layers) = (load(&path), Layers::base());
    let refused = adapter.attach(&mut layers, &identity(), 1.0, &path);
    let error = refused.unwrap_err().to_string();
    for words in [
        "changed.safetensors",
        "blocks.0.mpl",
        "blocks.1.mpl",
        "no layer",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(layers.0.iter().all(|layer| layer.adapters().len() == 0));
    // Half of a pair.
    let path = changed(folder.path(), |name| {
        name.replace("1.mlp.lora_up", "2.mlp.lora_up")
    });
    let error = Adapter::load(&path, &Device::Cpu).unwrap_err().to_string();
    assert!(
        error.contains("only one of") && error.contains("mlp"),
        "{error}"
    );
}

#[test]
fn other_sizes_say_what_was_expected() {
    let adapter = load(&case("dr_train/peft"));
    let mut layers = Layers::base();
    let error = adapter
        .attach(&mut layers, &identity(), 1.0, Path::new("peft"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("proj_out is for a (8, 128) layer, the base has (6, 12)"),
        "{error}"
    );
}

#[test]
fn contradictions_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |change: fn(&str) -> String| {
        let text = std::fs::read_to_string(fixture("peft/adapter_config.json")).unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), change(&text)).unwrap();
        let weights = fixture("peft/adapter_model.safetensors");
        std::fs::copy(weights, folder.path().join("adapter_model.safetensors")).unwrap();
        let error = Adapter::load(folder.path(), &Device::Cpu).unwrap_err();
        error.to_string()
    };
    for (change, words) in [
        (
            (|text| text.replace("\"r\": 3", "\"r\": 4")) as fn(&str) -> String,
            "rank 3, its settings say 4",
        ),
        (
            |text| text.replace("\"use_dora\": false", "\"use_dora\": true"),
            "no magnitudes",
        ),
        (|text| text.replace("\"LORA\"", "\"OFT\""), "OFT"),
        (
            |text| {
                text.replace(
                    "\"modules_to_save\": null",
                    "\"modules_to_save\": [\"proj_out\"]",
                )
            },
            "modules_to_save",
        ),
        (
            |text| text.replace("\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 2}"),
            "no expression",
        ),
        (|text| text[..text.len() / 2].to_owned(), "does not parse"),
    ] {
        let error = copy(change);
        assert!(error.contains(words), "{words}: {error}");
    }
    std::fs::remove_file(folder.path().join("adapter_config.json")).unwrap();
    let error = Adapter::load(folder.path(), &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
    let stated = Adapter::load_with_alpha(&fixture("peft"), Some(9.0), &Device::Cpu);
    let error = stated.unwrap_err().to_string();
    assert!(
        error.contains("alpha 5") && error.contains("--alpha 9"),
        "{error}"
    );
    let whole = Adapter::load(&fixture("base.safetensors"), &Device::Cpu);
    assert!(
        whole
            .unwrap_err()
            .to_string()
            .contains("Whole models are no adapters")
    );
}

fn weights_with(adapter: &Adapter) -> Vec<(String, Tensor)> {
    let mut layers = Layers::base();
    attach(adapter, &mut layers, 1.0);
    merge(&mut layers).unwrap();
    layers.weights()
}

/// Every layout that can say what an adapter is says it so that it reads back as the same change; the others refuse and say what can.
#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for (file, _, _, method) in CASES {
        let shapes = layer_shapes(&TensorFile::open(&fixture("base.safetensors")).unwrap());
        let adapter = load(&fixture(file));
        let adapter = adapter
            .renamed_for(&shapes, &fixture(file), "base")
            .unwrap();
        for target in [
            Target::Peft,
            Target::Single,
            Target::ComfyUi,
            Target::Original,
        ] {
            let path = folder.path().join("written");
            let written = adapter.write(&path, target, true);
            let can = match (target, method) {
                (Target::Single | Target::ComfyUi, _) | (_, Method::Lora) => true,
                (Target::Peft, Method::Dora) => *file != "sa3_dora_cols.safetensors",
                _ => false,
            };
            if !can {
                let error = written.unwrap_err().to_string();
                assert!(error.contains("instead"), "{file} {target:?}: {error}");
                continue;
            }
            written.unwrap();
            let expected = weights_with(&adapter);
            for ((name, found), (_, expected)) in weights_with(&load(&path)).iter().zip(expected) {
                assert_close(
                    &format!("{file} {target:?} {name}"),
                    found,
                    &expected,
                    TOLERANCE,
                );
            }
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
        }
    }
}

#[test]
fn merged_weights_are_the_librarys_in_any_precision() {
    let folder = tempfile::tempdir().unwrap();
    let base = TensorFile::open(&fixture("base.safetensors")).unwrap();
    for (precision, tolerance) in [
        (Precision::Keep, TOLERANCE),
        (Precision::F16, 1e-3),
        (Precision::BF16, 1e-2),
    ] {
        let out = folder.path().join(format!("{precision:?}.safetensors"));
        let options = MergeOptions {
            strength: 1.0,
            precision,
            replace: false,
        };
        let adapter = load(&fixture("dokr_outputs.safetensors"));
        let path = fixture("dokr_outputs.safetensors");
        write_merged(&adapter, &path, &base, &out, &options, &mut Silent).unwrap();
        let (found, kept) = (tensors(&out), tensors(&fixture("base.safetensors")));
        let expected = tensors(&fixture("dokr_outputs.merged.safetensors"));
        assert_eq!(found.len(), kept.len());
        for (name, tensor) in &found {
            let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
            let expected = expected.get(name).unwrap_or(&kept[name]);
            assert_close(name, &tensor, expected, tolerance);
        }
        let again = write_merged(&adapter, &path, &base, &out, &options, &mut Silent);
        assert!(again.unwrap_err().to_string().contains("exists already"));
    }
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = load(&fixture("peft"));
    for target in [
        Target::Peft,
        Target::Single,
        Target::ComfyUi,
        Target::Original,
    ] {
        let path = folder.path().join(format!("{target:?}"));
        adapter.write(&path, target, false).unwrap();
        let error = adapter.write(&path, target, false).unwrap_err().to_string();
        assert!(
            error.contains("exists already") && error.contains("--force"),
            "{error}"
        );
        adapter.write(&path, target, true).unwrap();
    }
    // A folder with something else in it is nobody's adapter.
    let full = folder.path().join("Peft");
    std::fs::write(full.join("notes.txt"), "mine").unwrap();
    assert!(adapter.write(&full, Target::Peft, true).is_err());
    assert_eq!(
        std::fs::read_to_string(full.join("notes.txt")).unwrap(),
        "mine"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        4,
        "no parts are left"
    );
}

/// A safetensors file of one layer's weight, of a type that candle may not have.
fn base_of(dtype: &str, shape: [usize; 2], data: &[u8], beside: &str) -> TensorFile {
    let header = format!(
        r#"{{"proj.weight":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{}]}}{beside}}}"#,
        data.len()
    );
    let length = (header.len() as u64).to_le_bytes();
    let mut bytes = [&length, header.as_bytes(), data].concat();
    bytes.extend(
        beside
            .contains("F8")
            .then_some([0x38; 2])
            .into_iter()
            .flatten(),
    );
    TensorFile::from_bytes(bytes, "base.safetensors").unwrap()
}

fn one_layer(a: [f32; 2], b: [f32; 2]) -> Adapter {
    let mut adapter = load(&fixture("peft"));
    let (a, b) = (
        Tensor::from_slice(&a, (1, 2), &Device::Cpu).unwrap(),
        Tensor::from_slice(&b, (2, 1), &Device::Cpu).unwrap(),
    );
    adapter.layers = [("proj".to_owned(), LayerFactors::low_rank(a, b, 1.0))].into();
    adapter
}

fn merged(
    adapter: &Adapter,
    base: &TensorFile,
    strength: f64,
    precision: Precision,
) -> Result<TensorFile, String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let options = MergeOptions {
        strength,
        precision,
        replace: false,
    };
    let written = write_merged(
        adapter,
        Path::new("style.pt"),
        base,
        &out,
        &options,
        &mut Silent,
    );
    if let Err(error) = written {
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        return Err(error.to_string());
    }
    Ok(TensorFile::open(&out).unwrap())
}

#[test]
fn doubles_are_merged_as_doubles() {
    let values = [1.0 + 1e-12, 2.0, -3.0, 4.0f64];
    let data = values.map(f64::to_le_bytes).concat();
    let base = base_of("F64", [2, 2], &data, "");
    let adapter = one_layer([1.0, 0.5], [2.0, 0.0]);
    let same = merged(&adapter, &base, 0.0, Precision::Keep).unwrap();
    assert_eq!(*same.bytes("proj.weight").unwrap(), data);
    let other = merged(&adapter, &base, 1.0, Precision::Keep).unwrap();
    let expected = [values[0] + 2.0, 3.0, -3.0, 4.0].map(f64::to_le_bytes);
    assert_eq!(*other.bytes("proj.weight").unwrap(), expected.concat());
    let half = merged(&adapter, &base, 1.0, Precision::F16).unwrap();
    assert_eq!(half.entry("proj.weight").unwrap().dtype, ElementType::F16);
}

/// What no adapter touches goes along, whatever its type.
#[test]
fn other_types_go_along() {
    let beside = r#","codes":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[16,18]}"#;
    let data = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let base = base_of("F32", [2, 2], &data, beside);
    let adapter = one_layer([1.0, 0.5], [2.0, 0.0]);
    let written = merged(&adapter, &base, 1.0, Precision::F16).unwrap();
    assert_eq!(*written.bytes("codes").unwrap(), [0x38; 2]);
    let codes = base_of("F8_E4M3", [2, 2], &[0x38; 4], "");
    let error = merged(&adapter, &codes, 1.0, Precision::Keep).unwrap_err();
    assert!(error.contains("float8"), "{error}");
}

#[test]
fn infinite_weights_are_refused() {
    let data = [3.4028e38f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let base = base_of("F32", [2, 2], &data, "");
    let adapter = one_layer([1.0, 0.0], [1e38, 0.0]);
    for (strength, precision, words) in [
        (0.0, Precision::BF16, "bf16 cannot hold"),
        (1.0, Precision::Keep, "would become inf"),
        (1.0, Precision::BF16, "would become inf"),
    ] {
        let error = merged(&adapter, &base, strength, precision).unwrap_err();
        assert!(
            error.contains(words) && error.contains("proj.weight"),
            "{error}"
        );
    }
}

#[test]
fn an_adapter_is_not_merged_into_another_base() {
    let data = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let base = base_of("F32", [2, 2], &data, "");
    let mut adapter = one_layer([1.0, 0.5], [2.0, 0.0]);
    adapter.description.base = Some(BaseIdentity {
        name: "other\u{1b}[31m".into(),
        version: 1,
        sha256: "ab".repeat(32),
        causal: None,
    });
    let error = merged(&adapter, &base, 1.0, Precision::Keep).unwrap_err();
    for words in ["style.pt", "base.safetensors", "trained on other", "abab"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

/// Names that the other program would look for in vain.
#[test]
fn names_of_other_programs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (file, target) in [
        ("comfyui.safetensors", Target::Peft),
        ("comfyui.safetensors", Target::Original),
        ("loraw.ckpt", Target::Peft),
        ("loraw.ckpt", Target::Original),
        ("ace/peft", Target::Original),
    ] {
        let path = folder.path().join("out");
        let error = load(&fixture(file)).write(&path, target, false);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("--base MODEL"), "{file} {target:?}: {error}");
        assert!(!path.exists());
    }
    // ComfyUI's prefix alone is no other name.
    let mut adapter = load(&fixture("model_lora_1234.pt"));
    let layers = std::mem::take(&mut adapter.layers).into_iter();
    adapter.layers = layers
        .map(|(name, layer)| (format!("diffusion_model.{name}"), layer))
        .collect();
    let path = folder.path().join("back.pt");
    adapter.write(&path, Target::Original, false).unwrap();
    assert!(load(&path).layers.contains_key("transformer.proj_out"));
}

/// What tensors do not say goes along in the header, and is told where there is none.
#[test]
fn descriptions_go_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = load(&fixture("model_lora_1234.pt"));
    adapter.description.lorelei_version = "0.9".into();
    adapter.description.trigger_words = vec!["opera".into()];
    adapter.description.seed = 17;
    adapter.description.base = Some(identity());
    adapter.metadata = [("ss_note".to_owned(), "kept".to_owned())].into();
    for target in [Target::Peft, Target::ComfyUi, Target::Single] {
        let path = folder.path().join(format!("{target:?}"));
        adapter.write(&path, target, false).unwrap();
        let again = load(&path);
        assert_eq!(again.description.trigger_words, ["opera"], "{target:?}");
        assert_eq!(again.description.seed, 17);
        assert_eq!(again.description.base, Some(identity()));
        assert_eq!(again.metadata["ss_note"], "kept");
    }
}

#[test]
fn the_base_that_a_file_names_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(fixture("peft/adapter_config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["base_model_name_or_path"] = "someone/base\u{1b}[31m".into();
    let weights = "adapter_model.safetensors";
    std::fs::write(
        folder.path().join("adapter_config.json"),
        config.to_string(),
    )
    .unwrap();
    std::fs::copy(fixture("peft").join(weights), folder.path().join(weights)).unwrap();
    let mut place = folder.path().to_owned();
    for target in [Target::Single, Target::Peft] {
        let adapter = load(&place);
        assert_eq!(
            adapter.stated_base.as_deref(),
            Some("someone/base\u{1b}[31m")
        );
        let told = lora::inspect::describe(&place, None, &Device::Cpu).unwrap();
        assert!(
            told.contains(&"base: someone/base\\u{1b}[31m".to_owned()),
            "{told:?}"
        );
        place = folder.path().join(format!("{target:?}"));
        adapter.write(&place, target, false).unwrap();
    }
    let kohya = AdapterFormat::ComfyUi;
    let mut tensors = tensors(&fixture("comfyui.safetensors"));
    let tensors: Vec<(String, Tensor)> = tensors.drain().collect();
    let header = HashMap::from([("ss_sd_model_name".to_owned(), "dr.pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(header)).unwrap();
    let path = folder.path().join("kohya.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let adapter = load(&path);
    assert_eq!(
        (adapter.format, adapter.stated_base.as_deref()),
        (kohya, Some("dr.pt"))
    );
}

/// One name a line, none of them as long as its file, nothing that a terminal obeys.
#[test]
fn unknown_names_are_shown_tamed() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |name| {
        let long = "x".repeat(9_000);
        name.replace("lora_down", &format!("\u{1b}[31m{long}"))
    });
    let error = Adapter::load(&path, &Device::Cpu).unwrap_err().to_string();
    assert!(
        !error.contains('\u{1b}') && error.len() < 4_000,
        "{}",
        error.len()
    );
    assert!(error.lines().count() > 6, "{error}");
}
