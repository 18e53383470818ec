//! What is in a file: an adapter's method, ranks and norms, or a model's tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::Device;
use checkpoint::{Format, TensorFile, shorten};

use crate::adapter::names::is_underscored;
use crate::adapter::peft_weights;
use crate::adapter::{Adapter, LayerFactors};
use crate::error::LoraError;

/// A tensor that only models of a family have, and what the family is called.
const LANDMARKS: &[(&str, &str)] = &[
    // Its transformer is DiffRhythm's, so it comes first.
    ("tag_vectors", "a base of Lorelei"),
    ("time_embed.time_mlp.0.weight", "DiffRhythm's transformer"),
    (
        "timestep_proj.0.weight",
        "Stable Audio's transformer (diffusers)",
    ),
    (
        "to_timestep_embed.0.weight",
        "Stable Audio's transformer (stable-audio-tools)",
    ),
    ("decoder.layers.0.weight_v", "Oobleck autoencoder"),
    ("decoder.layers.0.weight", "Oobleck autoencoder"),
    ("decoder.conv1.weight_v", "Oobleck autoencoder (diffusers)"),
    (
        "layers.0.cross_attn_norm.weight",
        "ACE-Step's transformer (diffusers)",
    ),
];

/// What files of weights are called.
const WEIGHT_ENDINGS: &[&str] = &["safetensors", "pt", "pth", "ckpt", "bin"];

/// Lines that say what a file or PEFT folder holds. `alpha` is for adapters that do not say theirs.
///
/// # Errors
/// When the file cannot be read; a file that is neither an adapter nor a model of known names is no error.
pub fn describe(
    path: &Path,
    alpha: Option<f64>,
    device: &Device,
) -> Result<Vec<String>, LoraError> {
    if path.is_dir() {
        return describe_folder(path, alpha, device);
    }
    let tensors = TensorFile::open(path)?;
    let mut lines = match is_adapter(&tensors) {
        true => describe_adapter(&Adapter::load_with_alpha(path, alpha, device)?)?,
        false => describe_model(&tensors),
    };
    lines.extend(size_and_hash(&tensors)?);
    Ok(lines)
}

fn size_and_hash(tensors: &TensorFile) -> Result<[String; 2], LoraError> {
    let (bytes, format) = (tensors.source_bytes(), tensors.format());
    let hash = checkpoint::sha256_of(tensors, &checkpoint::Silent)?;
    // The index alone would say nothing of the weights.
    let (all, together) = match format {
        Format::ShardedSafetensors => (" in all shards", " (of the shards' bytes, by name)"),
        _ => ("", ""),
    };
    Ok([
        format!("size: {bytes} bytes{all} ({format})"),
        format!("SHA-256: {hash}{together}"),
    ])
}

/// A folder of PEFT's, or every file of weights in another.
fn describe_folder(
    folder: &Path,
    alpha: Option<f64>,
    device: &Device,
) -> Result<Vec<String>, LoraError> {
    let files = match peft_weights(folder) {
        Some(_) => Vec::new(),
        None => weight_files(folder)?,
    };
    if files.is_empty() {
        let adapter = Adapter::load_with_alpha(folder, alpha, device)?;
        let mut lines = describe_adapter(&adapter)?;
        if let Some(weights) = peft_weights(folder) {
            lines.extend(size_and_hash(&TensorFile::open(&weights)?)?);
        }
        return Ok(lines);
    }
    let mut lines = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}:", shorten(&name)));
        let told = describe(&file, alpha, device)?;
        lines.extend(told.into_iter().map(|line| format!("  {line}")));
    }
    Ok(lines)
}

/// Files with the endings of weights, sorted.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, LoraError> {
    let entries = std::fs::read_dir(folder).map_err(LoraError::file(folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(LoraError::file(folder))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| WEIGHT_ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file's names are those of an adapter.
pub fn is_adapter(tensors: &TensorFile) -> bool {
    tensors.names().any(|name| {
        ["lora_", "lokr_", "lora.down", "lora.up"]
            .iter()
            .any(|mark| name.contains(mark))
    })
}

fn describe_adapter(adapter: &Adapter) -> Result<Vec<String>, LoraError> {
    let description = &adapter.description;
    let methods: BTreeSet<String> = distinct(adapter, |layer| layer.method().to_string());
    let ranks = distinct(adapter, |layer| match layer.rank() {
        Some(rank) => rank.to_string(),
        None => "none (Kronecker product)".to_owned(),
    });
    let scales = distinct(adapter, |layer| rounded(layer.scale));
    let alphas: BTreeSet<String> = adapter
        .layers
        .values()
        .filter(|layer| layer.rank().is_some())
        .map(|layer| rounded(layer.alpha()))
        .collect();
    let base = description.base.as_ref().map(ToString::to_string);
    // They come from a file, and go to a terminal.
    let base = base.or_else(|| adapter.stated_base.clone());
    let mut lines = vec![
        format!("format: {}", adapter.format),
        format!("method: {}", joined(&methods)),
        format!(
            "base: {}",
            base.as_deref()
                .map_or_else(|| "not said".to_owned(), shorten)
        ),
        format!("layers: {}", adapter.layers.len()),
        format!("rank: {}", joined(&ranks)),
    ];
    if !alphas.is_empty() {
        lines.push(format!("alpha: {}", joined(&alphas)));
    }
    lines.push(format!("scale: {}", joined(&scales)));
    lines.push(format!("parameters: {}", adapter.parameter_count()));
    if description.step > 0 {
        lines.push(format!("step: {}", description.step));
    }
    if !description.trigger_words.is_empty() {
        let words = shorten(&description.trigger_words.join(", "));
        lines.push(format!("trigger words: {words}"));
    }
    lines.extend(
        description
            .changes
            .iter()
            .map(|change| format!("changed in training: {}", shorten(change))),
    );
    let has_lengths = adapter
        .layers
        .values()
        .any(|layer| layer.magnitude.is_some());
    let before = if has_lengths {
        " before DoRA's lengths"
    } else {
        ""
    };
    lines.push(format!("norm of the change{before}, by block:"));
    for (block, norm) in norms(adapter)? {
        lines.push(format!("  {}: {norm:.6}", shorten(&block)));
    }
    Ok(lines)
}

fn distinct(adapter: &Adapter, value: impl Fn(&LayerFactors) -> String) -> BTreeSet<String> {
    adapter.layers.values().map(value).collect()
}

/// Six decimals at most.
fn rounded(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn joined(values: &BTreeSet<String>) -> String {
    values.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Frobenius norms of the changes, layers of a block taken together.
///
/// # Errors
/// When candle fails.
pub fn norms(adapter: &Adapter) -> Result<Vec<(String, f64)>, LoraError> {
    norms_of_layers(&adapter.layers)
}

pub(crate) fn norms_of_layers(
    layers: &BTreeMap<String, LayerFactors>,
) -> Result<Vec<(String, f64)>, LoraError> {
    let mut squares: BTreeMap<Vec<Part>, (String, f64)> = BTreeMap::new();
    for (name, layer) in layers {
        let block = block(name);
        let entry = squares.entry(sortable(&block)).or_insert((block, 0.0));
        entry.1 += layer.norm()?.powi(2);
    }
    let norms = squares.into_values();
    Ok(norms
        .map(|(block, square)| (block, square.sqrt()))
        .collect())
}

/// The name up to its first number that others follow, as in `transformer_blocks.3`; without one, the whole name.
fn block(name: &str) -> String {
    let separator = separator(name);
    let parts: Vec<&str> = name.split(separator).collect();
    let number = parts
        .iter()
        .position(|part| part.parse::<usize>().is_ok())
        .filter(|place| place + 1 < parts.len());
    let end = number.map_or(parts.len(), |place| place + 1);
    parts[..end].join(&separator.to_string())
}

/// Some programs write underscores or slashes for dots.
fn separator(name: &str) -> char {
    match (name.contains('/'), is_underscored(name)) {
        (true, _) => '/',
        (_, true) => '_',
        _ => '.',
    }
}

/// Numbers sort as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(usize),
    Text(String),
}

fn sortable(name: &str) -> Vec<Part> {
    let part = |part: &str| {
        part.parse()
            .map_or_else(|_| Part::Text(part.to_owned()), Part::Number)
    };
    name.split(separator(name)).map(part).collect()
}

fn describe_model(tensors: &TensorFile) -> Vec<String> {
    let family = LANDMARKS.iter().find(|(landmark, _)| {
        tensors
            .names()
            .any(|name| name == *landmark || name.ends_with(&format!(".{landmark}")))
    });
    let mut parameters = 0usize;
    let mut precisions = BTreeSet::new();
    for entry in tensors.names().filter_map(|name| tensors.entry(name)) {
        parameters += entry.elements();
        precisions.insert(entry.dtype.to_string());
    }
    let mut lines = vec![
        "no adapter: a file of weights".to_owned(),
        format!(
            "architecture: {}",
            family.map_or("not known", |(_, family)| family)
        ),
        format!("tensors: {}", tensors.names().count()),
        format!("parameters: {parameters}"),
        format!("precision: {}", joined(&precisions)),
    ];
    let others = tensors.other_values().len();
    if others > 0 {
        lines.push(format!("besides: {others} values that are no tensors"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_at_their_number_however_names_are_written() {
        for (name, expected) in [
            (
                "transformer_blocks.3.self_attn.q_proj",
                "transformer_blocks.3",
            ),
            ("transformer.proj_out", "transformer.proj_out"),
            ("time_mlp.0", "time_mlp.0"),
            ("lora_unet_blocks_12_mlp", "lora_unet_blocks_12"),
            ("model/blocks/1/mlp", "model/blocks/1"),
        ] {
            assert_eq!(block(name), expected);
        }
        assert!(sortable("blocks.2") < sortable("blocks.10"));
        assert_eq!(
            (rounded(16.0), rounded(5.0 / 3.0)),
            ("16".into(), "1.666667".into())
        );
    }
}
