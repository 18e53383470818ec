//! PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`, as `PeftModel.from_pretrained` reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nn::Magnitude;
use serde_json::{Map, Value, json};

use crate::adapter::read::{PEFT_CONFIG, PEFT_WEIGHTS};
use crate::adapter::{Adapter, LayerFactors, Method, file};
use crate::error::LoraError;
use crate::tensor_file;

const PREFIX: &str = "base_model.model.";

/// Writes the folder aside, then under its name.
pub(super) fn write(adapter: &Adapter, folder: &Path, replace: bool) -> Result<(), LoraError> {
    let cannot = |problem: String| LoraError::BadFile {
        path: folder.to_owned(),
        problem,
    };
    let config = config(adapter).map_err(cannot)?;
    let weights = weights(adapter).map_err(cannot)?;
    let part = beside(folder, "part").map_err(cannot)?;
    let outcome = fill(&part, &config, &weights).and_then(|()| place(&part, folder, replace));
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    outcome
}

fn fill(part: &Path, config: &str, weights: &[u8]) -> Result<(), LoraError> {
    fs::create_dir_all(part).map_err(LoraError::file(part))?;
    for (name, bytes) in [(PEFT_CONFIG, config.as_bytes()), (PEFT_WEIGHTS, weights)] {
        let path = part.join(name);
        dataset::write_aside(&path, bytes).map_err(LoraError::file(&path))?;
    }
    Ok(())
}

/// A folder cannot be renamed over another that holds files: the old one is moved aside first, as `NAME.PROCESS.old`, and comes back if the
/// rename fails. Only a process that is killed between the two leaves it there.
fn place(part: &Path, folder: &Path, replace: bool) -> Result<(), LoraError> {
    if folder.symlink_metadata().is_err() {
        let renamed = fs::rename(part, folder).map_err(LoraError::file(folder));
        dataset::sync_folder(folder);
        return renamed;
    }
    if !folder.is_dir() {
        return Err(LoraError::BadFile {
            path: folder.to_owned(),
            problem: "is a file, and PEFT's layout is a folder; name another".to_owned(),
        });
    }
    let names_only_ours = fs::read_dir(folder)
        .map_err(LoraError::file(folder))?
        .all(|entry| {
            entry.is_ok_and(|entry| {
                [PEFT_CONFIG, PEFT_WEIGHTS]
                    .iter()
                    .any(|name| entry.file_name() == *name)
            })
        });
    if !replace || !names_only_ours {
        return Err(LoraError::BadFile {
            path: folder.to_owned(),
            problem: "holds other files than an adapter's; it is not replaced: name another folder"
                .to_owned(),
        });
    }
    let old = beside(folder, "old").map_err(|problem| LoraError::BadFile {
        path: folder.to_owned(),
        problem,
    })?;
    fs::rename(folder, &old).map_err(LoraError::file(folder))?;
    if let Err(error) = fs::rename(part, folder) {
        let _ = fs::rename(&old, folder);
        return Err(LoraError::file(folder)(error));
    }
    dataset::sync_folder(folder);
    // The adapter is in its place; what it replaced is only in the way.
    if let Err(error) = fs::remove_dir_all(&old) {
        tracing::warn!(
            "{}: what was replaced could not be deleted ({error}); delete it",
            old.display()
        );
    }
    Ok(())
}

fn beside(folder: &Path, ending: &str) -> Result<PathBuf, String> {
    let name = folder
        .file_name()
        .ok_or("is no name for a folder; give one")?
        .to_string_lossy();
    Ok(folder.with_file_name(format!("{name}.{}.{ending}", std::process::id())))
}

fn weights(adapter: &Adapter) -> Result<Vec<u8>, String> {
    let mut tensors = BTreeMap::new();
    for (name, layer) in &adapter.layers {
        tensors.extend(file::peft_tensors(&format!("{PREFIX}{name}"), layer)?);
    }
    let mut header = adapter.header_for_others()?;
    // What `save_pretrained` says in the header; PEFT passes over the rest.
    header.insert("format".to_owned(), "pt".to_owned());
    tensor_file::to_bytes_with(&tensors, header)
}

/// The settings: the most frequent rank and alpha, and patterns for the layers that differ.
fn config(adapter: &Adapter) -> Result<String, String> {
    if let Some((name, method)) = adapter.other_than(&[Method::Lora, Method::Dora]) {
        return Err(format!(
            "layer {name} is {method}, whose matrices PEFT cuts by rules of its own; write --to comfyui or merged instead"
        ));
    }
    let is_dora = adapter
        .layers
        .values()
        .any(|layer| layer.magnitude.is_some());
    let fits =
        |layer: &LayerFactors| matches!(&layer.magnitude, Some(Magnitude::OfOutputs(_))) == is_dora;
    if let Some((name, _)) = adapter.layers.iter().find(|(_, layer)| !fits(layer)) {
        return Err(format!(
            "layer {name} is no DoRA of outputs as others are, which PEFT cannot say; write --to comfyui or merged instead"
        ));
    }
    let ranks = of_layers(adapter, |layer| json!(layer.rank().unwrap_or(1)));
    let alphas = of_layers(adapter, |layer| number(layer.alpha()));
    let (rank, rank_pattern) = usual_and_others(adapter, &ranks);
    let (alpha, alpha_pattern) = usual_and_others(adapter, &alphas);
    let names: Vec<&String> = adapter.layers.keys().collect();
    let base = adapter.description.base.as_ref();
    let base = base.map(|base| &base.name).or(adapter.stated_base.as_ref());
    let config = json!({
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
        "lora_dropout": adapter.description.dropout,
        "target_modules": names,
        "use_dora": is_dora,
        "use_rslora": false,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "base_model_name_or_path": base,
        "task_type": null,
    });
    serde_json::to_string_pretty(&config).map_err(|error| error.to_string())
}

/// Whole numbers without a point, as PEFT's own are.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}

fn of_layers(adapter: &Adapter, value: impl Fn(&LayerFactors) -> Value) -> Vec<(&str, Value)> {
    let layers = adapter.layers.iter();
    layers
        .map(|(name, layer)| (name.as_str(), value(layer)))
        .collect()
}

/// The most frequent value, and the others by pattern.
fn usual_and_others(adapter: &Adapter, values: &[(&str, Value)]) -> (Value, Map<String, Value>) {
    let count = |value: &Value| values.iter().filter(|(_, other)| other == value).count();
    let usual = values
        .iter()
        .map(|(_, value)| value)
        .max_by_key(|value| count(value));
    let usual = usual.cloned().unwrap_or_else(|| json!(1));
    let others = values.iter().filter(|(_, value)| *value != usual);
    let others = others.map(|(name, value)| (pattern(adapter, name), value.clone()));
    let patterns = others.collect();
    (usual, patterns)
}

/// An expression for one layer. PEFT lets it match the end of a name, so it is anchored where another name ends alike.
fn pattern(adapter: &Adapter, name: &str) -> String {
    let end = format!(".{name}");
    let escaped = regex::escape(name);
    match adapter.layers.keys().any(|other| other.ends_with(&end)) {
        true => format!("^{escaped}"),
        false => escaped,
    }
}
