//! Adapters made of others: sums, ranks, differences, and what checkpoints differ in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use checkpoint::{Precision, TensorFile};
use lora::LoraError;
use lora::adapter::combine::{
    Combined, Extracted, Part, RECORD, SumOptions, extract, sum, total_energy,
};
use lora::adapter::{Adapter, BaseIdentity, MergeOptions, write_merged};
use lora::progress::Silent;
use nn::{Linear, LoraWeights, Mode};
use testing::{assert_close, assert_equal, pseudo_random};

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    folder.join(name)
}

fn load(name: &str) -> Adapter {
    Adapter::load(&fixture(name), &Device::Cpu).unwrap()
}

fn base() -> TensorFile {
    TensorFile::open(&fixture("base.safetensors")).unwrap()
}

fn weights(path: &Path) -> BTreeMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    tensors.into_iter().collect()
}

fn summed(
    parts: &[(&Adapter, f64)],
    rank: Option<usize>,
    base: Option<&TensorFile>,
) -> Result<Combined, LoraError> {
    let parts: Vec<Part<'_>> = parts
        .iter()
        .map(|&(adapter, weight)| Part {
            adapter,
            weight,
            path: Path::new("folder/part"),
        })
        .collect();
    sum(&parts, &SumOptions { rank, base }, &mut Silent)
}

/// What an adapter changes of the base's weights, by the base's names.
fn changes(adapter: &Adapter) -> BTreeMap<String, Tensor> {
    let shapes = lora::adapter::layer_shapes(&base());
    let adapter = adapter
        .renamed_for(&shapes, Path::new("test"), "test")
        .unwrap();
    let weights = weights(&fixture("base.safetensors"));
    let of_layer = |(name, factors): (&String, &lora::adapter::LayerFactors)| {
        let weight = &weights[&format!("{name}.weight")];
        let difference = factors.change(1.0).difference(weight).unwrap();
        (name.clone(), difference)
    };
    adapter.layers.iter().map(of_layer).collect()
}

#[track_caller]
fn assert_changes(found: &Adapter, parts: &[(&Adapter, f64)], tolerance: f64) {
    let mut expected: BTreeMap<String, Tensor> = BTreeMap::new();
    for (adapter, weight) in parts {
        for (name, change) in changes(adapter) {
            let change = (change * *weight).unwrap();
            let sum = match expected.remove(&name) {
                None => change,
                Some(sum) => (sum + change).unwrap(),
            };
            expected.insert(name, sum);
        }
    }
    let found = changes(found);
    let names = |changes: &BTreeMap<String, Tensor>| changes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, change) in &found {
        assert_close(name, change, &expected[name], tolerance);
    }
}

#[test]
fn a_sum_is_what_stacking_gives() {
    // Other ranks, scales and names of the same layers.
    let (one, two) = (load("peft_patterns"), load("comfyui.safetensors"));
    let parts = [(&one, 0.7), (&two, -0.4)];
    let combined = summed(&parts, None, None).unwrap();
    assert_changes(&combined.adapter, &parts, 1e-5);
    assert!(combined.energies.is_empty());
    let stacked = |layers: &[(&Adapter, f64)], name: &str| {
        let weight = weights(&fixture("base.safetensors"))[&format!("{name}.weight")].clone();
        let mut layer = Linear::new(name, weight, None).unwrap();
        for (adapter, weight) in layers {
            let shapes = lora::adapter::layer_shapes(&base());
            let adapter = adapter.renamed_for(&shapes, Path::new("x"), "x").unwrap();
            let Some(factors) = adapter.layers.get(name) else {
                continue;
            };
            let [a, b] = factors.tensors()[..] else {
                continue;
            };
            let weights = LoraWeights {
                a: a.clone(),
                b: b.clone(),
                scale: factors.scale * weight,
                dropout: 0.0,
            };
            layer.attach(weights).unwrap();
        }
        let x = pseudo_random((2, 3, layer.in_features()), 1);
        layer.forward(&x, &Mode::Inference).unwrap()
    };
    for name in changes(&combined.adapter).keys() {
        let found = stacked(&[(&combined.adapter, 1.0)], name);
        assert_close(name, &found, &stacked(&parts, name), 1e-5);
    }
}

#[test]
fn a_full_rank_is_the_sum_and_a_smaller_one_keeps_what_it_says() {
    let (one, two) = (load("peft_patterns"), load("peft_rslora"));
    let parts = [(&one, 0.7), (&two, -0.4)];
    let full = summed(&parts, Some(64), None).unwrap();
    assert_changes(&full.adapter, &parts, 1e-5);
    assert!((total_energy(&full.energies).share() - 1.0).abs() < 1e-9);
    let exact = summed(&parts, None, None).unwrap();
    let low = summed(&parts, Some(2), None).unwrap();
    let (exact, found) = (changes(&exact.adapter), changes(&low.adapter));
    assert_eq!(low.adapter.description.rank, 2);
    assert!(total_energy(&low.energies).share() < 0.999);
    let square = |tensor: &Tensor| {
        let sum = tensor.sqr().unwrap().sum_all().unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap())
    };
    for (name, energy) in &low.energies {
        let left = square(&(&exact[name] - &found[name]).unwrap()) / square(&exact[name]);
        assert!(
            (left - (1.0 - energy.share())).abs() < 1e-5,
            "{name} {left}"
        );
    }
}

#[test]
fn an_adapter_of_the_rank_comes_back() {
    let adapter = load("peft");
    let rank = adapter.description.rank;
    let reduced = summed(&[(&adapter, 1.0)], Some(rank), None).unwrap();
    assert_changes(&reduced.adapter, &[(&adapter, 1.0)], 1e-6);
    assert!((total_energy(&reduced.energies).share() - 1.0).abs() < 1e-9);
}

#[test]
fn an_adapter_less_itself_is_nothing() {
    for name in ["peft", "kohya.safetensors", "peft_lokr"] {
        let adapter = load(name);
        for rank in [None, Some(2)] {
            if rank.is_none() && name == "peft_lokr" {
                continue;
            }
            let base = base();
            let difference = summed(&[(&adapter, 1.0), (&adapter, -1.0)], rank, Some(&base));
            for (name, change) in changes(&difference.unwrap().adapter) {
                assert_equal(&name, &change, &change.zeros_like().unwrap());
            }
        }
    }
}

#[test]
fn lokr_needs_a_rank_and_dora_the_base_too() {
    let (lora, base) = (load("peft"), base());
    for (name, needs_base) in [
        ("peft_lokr", false),
        ("peft_dora", true),
        ("dokr_inputs.safetensors", true),
    ] {
        let other = load(name);
        let parts = [(&lora, 1.0), (&other, 0.5)];
        let error = summed(&parts, None, Some(&base)).unwrap_err().to_string();
        assert!(
            error.contains("--rank") && error.contains("part"),
            "{error}"
        );
        if needs_base {
            let lone = [(&other, 0.5)];
            let error = summed(&lone, Some(8), None).unwrap_err().to_string();
            assert!(
                error.contains("--base") && error.contains("DoRA"),
                "{error}"
            );
        }
        let found = summed(&parts, Some(12), Some(&base)).unwrap();
        assert_changes(&found.adapter, &parts, 1e-5);
    }
}

#[test]
fn other_bases_and_other_sizes_are_refused_by_name() {
    let identity = |sha256: &str| BaseIdentity {
        name: format!("base {sha256}"),
        version: 1,
        sha256: sha256.to_owned(),
        causal: None,
    };
    let (mut one, mut two) = (load("peft"), load("peft_rslora"));
    one.description.base = Some(identity("aa"));
    let alone = summed(&[(&one, 1.0), (&two, 1.0)], None, None).unwrap();
    assert_eq!(alone.adapter.description.base, Some(identity("aa")));
    two.description.base = Some(identity("bb"));
    let error = summed(&[(&one, 1.0), (&two, 1.0)], None, None).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("base aa") && error.contains("base bb"),
        "{error}"
    );
    let used = |causal| BaseIdentity {
        causal: Some(causal),
        ..identity("aa")
    };
    two.description.base = Some(used(true));
    let found = summed(&[(&one, 1.0), (&two, 1.0)], None, None).unwrap();
    assert_eq!(found.adapter.description.base, Some(used(true)));
    one.description.base = Some(used(false));
    assert!(summed(&[(&one, 1.0), (&two, 1.0)], None, None).is_err());
    one.description.base = Some(identity("aa"));
    let error = summed(&[(&one, 1.0)], None, Some(&base())).unwrap_err();
    assert!(matches!(error, LoraError::OtherBase { .. }), "{error}");
    two.description.base = None;
    let narrow = |tensor: &Tensor| tensor.narrow(0, 0, 1).unwrap();
    for factors in two.layers.values_mut() {
        let (a, b) = (factors.tensors()[0].clone(), narrow(factors.tensors()[1]));
        *factors = lora::adapter::LayerFactors::low_rank(a, b, 1.0);
    }
    let error = summed(&[(&one, 1.0), (&two, 1.0)], None, None).unwrap_err();
    assert!(error.to_string().contains("different bases"), "{error}");
    // Underscores tell a layer of the base alone.
    let mixed = [(&load("peft"), 1.0), (&load("kohya.safetensors"), 1.0)];
    let error = summed(&mixed, None, None).unwrap_err().to_string();
    assert!(error.contains("--base"), "{error}");
    let found = summed(&mixed, None, Some(&base())).unwrap();
    assert_changes(&found.adapter, &mixed, 1e-5);
}

#[test]
fn triggers_and_words_are_added_up_and_the_header_tells_of_what() {
    let (mut one, mut two) = (load("peft"), load("peft_rslora"));
    let vector = |values: [f32; 2]| Some(Tensor::new(&values, &Device::Cpu).unwrap());
    (one.trigger, two.trigger) = (vector([1.0, 2.0]), vector([10.0, 0.0]));
    one.description.trigger_words = vec!["lofi".into()];
    two.description.trigger_words = vec!["lofi".into(), "piano".into()];
    let combined = summed(&[(&one, 0.5), (&two, 0.25)], Some(3), None).unwrap();
    let adapter = combined.adapter;
    let trigger = adapter.trigger.as_ref().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(trigger, [3.0, 1.0]);
    assert_eq!(adapter.description.trigger_words, ["lofi", "piano"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.safetensors");
    adapter.save(&path).unwrap();
    let read = Adapter::load(&path, &Device::Cpu).unwrap();
    assert_changes(&read, &[(&adapter, 1.0)], 1e-7);
    let record: serde_json::Value = serde_json::from_str(&read.metadata[RECORD]).unwrap();
    assert_eq!(record["parts"][1]["weight"], 0.25);
    assert_eq!(record["parts"][0]["file"], "part");
    assert_eq!(record["rank"], 3);
    assert!(record["energy_kept"].as_f64().unwrap() > 0.5);
    two.trigger = Some(Tensor::new(&[1.0f32], &Device::Cpu).unwrap());
    let error = summed(&[(&one, 0.5), (&two, 0.25)], None, None).unwrap_err();
    assert!(error.to_string().contains("trigger vector [1]"), "{error}");
}

/// The base with an adapter in its weights, in a file.
fn tuned(folder: &Path, adapter: &Adapter, precision: Precision) -> TensorFile {
    let path = folder.join(format!("tuned-{precision:?}.safetensors"));
    let options = MergeOptions {
        strength: 1.0,
        precision,
        replace: false,
    };
    let adapter_path = Path::new("adapter");
    write_merged(adapter, adapter_path, &base(), &path, &options, &mut Silent).unwrap();
    TensorFile::open(&path).unwrap()
}

fn extracted(tuned: &TensorFile, base: &TensorFile, rank: usize) -> Result<Extracted, LoraError> {
    extract(tuned, base, "my base", rank, &mut Silent)
}

#[test]
fn what_was_folded_in_comes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = load("peft");
    let left = adapter.layers.pop_first().unwrap().0;
    let tuned = tuned(folder.path(), &adapter, Precision::Keep);
    let rank = adapter.description.rank;
    let found = extracted(&tuned, &base(), rank).unwrap();
    assert_changes(&found.adapter, &[(&adapter, 1.0)], 1e-5);
    assert!(total_energy(&found.energies).share() > 1.0 - 1e-9);
    assert!(found.unchanged > 0 && !found.adapter.layers.keys().any(|name| name.contains(&left)));
    assert!(found.not_representable.is_empty() && found.unpaired.is_empty());
    // It is for that base and for no other.
    let identity = found.adapter.description.base.clone().unwrap();
    assert_eq!(identity.name, "my base");
    assert!(found.adapter.metadata[RECORD].contains("base.safetensors"));
    let again = summed(&[(&found.adapter, 1.0)], Some(1), Some(&base())).unwrap();
    assert_eq!(again.adapter.description.base, Some(identity));
    let error = extracted(&base(), &base(), 2).unwrap_err().to_string();
    assert!(error.contains("nothing to extract"), "{error}");
}

#[test]
fn a_file_in_fewer_bits_differs_in_what_was_tuned_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = load("peft");
    adapter.layers.pop_first();
    let whole = extracted(&tuned(folder.path(), &adapter, Precision::Keep), &base(), 2).unwrap();
    for precision in [Precision::F16, Precision::BF16] {
        let tuned = tuned(folder.path(), &adapter, precision);
        let found = extracted(&tuned, &base(), 2).unwrap();
        assert_eq!(found.unchanged, whole.unchanged);
        let names = |found: &Extracted| found.energies.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&whole));
        assert!(found.not_representable.is_empty());
    }
}

#[test]
fn what_no_adapter_can_change_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = weights(&fixture("base.safetensors"));
    let bias = tensors
        .keys()
        .find(|name| name.ends_with(".bias"))
        .unwrap()
        .clone();
    let weight = "transformer.proj_out.weight".to_owned();
    for name in [&bias, &weight] {
        let moved = (&tensors[name] + 0.5).unwrap();
        tensors.insert(name.clone(), moved);
    }
    tensors.insert(
        "optimizer".into(),
        Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap(),
    );
    let write = |name: &str, tensors: &BTreeMap<String, Tensor>| {
        let path = folder.path().join(name);
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.clone()));
        let tensors: std::collections::HashMap<_, _> = tensors.collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        TensorFile::open(&path).unwrap()
    };
    let found = extracted(&write("a.safetensors", &tensors), &base(), 1).unwrap();
    assert_eq!(found.not_representable, [bias]);
    assert!(found.unpaired.len() == 1 && found.unpaired[0].starts_with("optimizer"));
    assert_eq!(found.adapter.layers.len(), 1);
    // Under a wrapper's name it is the same.
    let wrapped = tensors
        .iter()
        .map(|(name, tensor)| (format!("model.{name}"), tensor.clone()));
    let wrapped = write("b.safetensors", &wrapped.collect());
    assert_eq!(
        extracted(&wrapped, &base(), 1)
            .unwrap()
            .adapter
            .layers
            .len(),
        1
    );
    tensors.insert(
        weight,
        Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap(),
    );
    let error = extracted(&write("c.safetensors", &tensors), &base(), 1).unwrap_err();
    let error = error.to_string();
    for word in ["c.safetensors", "proj_out.weight", "[2, 2]", "began with"] {
        assert!(error.contains(word), "{word}: {error}");
    }
}
