//! What is in a file: an adapter's method, ranks and norms, or a model's tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::Device;
use checkpoint::TensorFile;
use sha2::{Digest, Sha256};

use crate::adapter::names::is_underscored;
use crate::adapter::{Adapter, LayerFactors};
use crate::error::LoraError;

/// Bytes hashed at a time.
const PIECE_BYTES: usize = 1 << 20;
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
        let adapter = Adapter::load_with_alpha(path, alpha, device)?;
        return describe_adapter(&adapter);
    }
    let tensors = TensorFile::open(path)?;
    let mut lines = match is_adapter(&tensors) {
        true => describe_adapter(&Adapter::load_with_alpha(path, alpha, device)?)?,
        false => describe_model(&tensors),
    };
    let bytes = std::fs::metadata(path)
        .map_err(LoraError::file(path))?
        .len();
    lines.push(format!("size: {bytes} bytes ({})", tensors.format()));
    lines.push(format!("SHA-256: {}", sha256_of(path)?));
    Ok(lines)
}

/// SHA-256 of a file, as 64 hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String, LoraError> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).map_err(LoraError::file(path))?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        let length = file.read(&mut piece).map_err(LoraError::file(path))?;
        if length == 0 {
            let digits = hash.finalize();
            return Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&piece[..length]);
    }
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
    let base = description.base.as_ref();
    let mut lines = vec![
        format!("format: {}", adapter.format),
        format!("method: {}", joined(&methods)),
        format!(
            "base: {}",
            base.map_or_else(|| "not said".to_owned(), ToString::to_string)
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
        // They come from a file, and go to a terminal.
        let words = description
            .trigger_words
            .join(", ")
            .replace(char::is_control, " ");
        lines.push(format!("trigger words: {words}"));
    }
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
        lines.push(format!(
            "  {}: {norm:.6}",
            block.replace(char::is_control, " ")
        ));
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
    let mut squares: BTreeMap<Vec<Part>, (String, f64)> = BTreeMap::new();
    for (name, layer) in &adapter.layers {
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
