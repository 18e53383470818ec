//! Which tensors of a DiffRhythm checkpoint are the transformer, under the names `transformer.*`.
//!
//! Source: `load_checkpoint` in `infer/infer_utils.py` of ASLP-lab/DiffRhythm, which inference calls with
//! `use_ema=False`: the model's own state dict, not the moving average. `Lora.py` of
//! zachyu-1231/lora-music-generation does the same and falls back to the average. A safetensors file is one state dict.

use std::fmt;

use crate::error::shorten;
use crate::{CheckpointError, TensorFile};

const MODEL: &str = "model_state_dict.";
const AVERAGE: &str = "ema_model_state_dict.";
/// The average's own counters beside its tensors (`ema_pytorch`).
const COUNTERS: [&str; 2] = ["initted", "step"];
/// A tensor that every size and version of the transformer has; `start_time_embed` ends alike but for the dot.
const LANDMARK: &str = "time_embed.time_mlp.0.weight";
const TRANSFORMER: &str = "transformer.";
/// Parts of the names that adapters' tensors have, in the layouts of PEFT, kohya and LyCORIS.
const ADAPTERS: [&str; 4] = ["lora_", ".lora.", "lokr_", "dora_scale"];

/// One of the state dicts that a checkpoint may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDict {
    /// `model_state_dict`: the weights as trained.
    Model,
    /// `ema_model_state_dict`: their moving average.
    Average,
    /// The file itself is a state dict.
    Bare,
}

impl fmt::Display for StateDict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Model => "model_state_dict",
            Self::Average => "ema_model_state_dict",
            Self::Bare => "bare names",
        })
    }
}

impl StateDict {
    fn prefix(self) -> &'static str {
        match self {
            Self::Model => MODEL,
            Self::Average => AVERAGE,
            Self::Bare => "",
        }
    }
}

/// The transformer's weights, and where they were.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The tensors as `transformer.*`.
    pub tensors: TensorFile,
    /// The state dict they were taken from.
    pub taken_from: StateDict,
    /// Tensors of the file that belong to something else (another state dict, the optimizer, counters).
    pub left_out: Vec<String>,
}

/// Takes the weights that the reference's inference takes: `model_state_dict`, else the average, else bare names.
///
/// # Errors
/// [`CheckpointError::OtherModel`] when the file holds no transformer of DiffRhythm.
pub fn weights(file: &TensorFile) -> Result<Weights, CheckpointError> {
    let order = [StateDict::Model, StateDict::Average, StateDict::Bare];
    let has_transformer =
        |dict: &StateDict| prefixes(file, *dict).any(|prefix| !is_other_dict(*dict, prefix));
    // Without a transformer the error names the dict that was expected to hold it.
    let has_tensors = |dict: &StateDict| file.names().any(|name| name.starts_with(dict.prefix()));
    let taken = order.into_iter().find(has_transformer);
    let taken = taken.or_else(|| order.into_iter().find(has_tensors));
    weights_of(file, taken.unwrap_or(StateDict::Bare))
}

/// Takes the weights of one state dict.
///
/// # Errors
/// As [`weights`]; also when the file has no such state dict, or has the transformer in it twice.
pub fn weights_of(file: &TensorFile, taken_from: StateDict) -> Result<Weights, CheckpointError> {
    let prefix = transformer_prefix(file, taken_from)?;
    let new_name = |name: &str| {
        let rest = name.strip_prefix(taken_from.prefix())?;
        let own = rest.strip_prefix(prefix.as_str());
        match own {
            Some(own) => Some(format!("{TRANSFORMER}{own}")),
            None if COUNTERS.contains(&rest) => None,
            // Beside the transformer in the same dict: kept, so that a strict loader can say that it is unused.
            None => Some(rest.to_string()),
        }
    };
    let left_out: Vec<String> = file
        .names()
        .filter(|name| new_name(name).is_none())
        .map(str::to_string)
        .collect();
    tracing::info!(
        origin = file.origin(),
        %taken_from,
        left_out = left_out.len(),
        "weights of DiffRhythm's transformer taken"
    );
    Ok(Weights {
        tensors: file.renamed(new_name)?,
        taken_from,
        left_out,
    })
}

/// What stands before the landmark in the names of a state dict.
fn prefixes(file: &TensorFile, dict: StateDict) -> impl Iterator<Item = &str> {
    let inside = file
        .names()
        .filter_map(move |name| name.strip_prefix(dict.prefix()));
    inside
        .filter_map(|name| name.strip_suffix(LANDMARK))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

/// Whether a bare name is one of a dict that the file holds.
fn is_other_dict(dict: StateDict, prefix: &str) -> bool {
    dict == StateDict::Bare
        && [MODEL, AVERAGE]
            .iter()
            .any(|other| prefix.starts_with(other))
}

/// What stands before the transformer's names inside of a state dict: `transformer.`, `ema_model.transformer.`,
/// `cfm.transformer.`, nothing.
fn transformer_prefix(file: &TensorFile, dict: StateDict) -> Result<String, CheckpointError> {
    let mut prefixes = prefixes(file, dict);
    let other_model = |found: String| CheckpointError::OtherModel {
        origin: file.origin().to_string(),
        model: "DiffRhythm's transformer",
        detail: format!("`{TRANSFORMER}{LANDMARK}` is looked for in {dict}, {found}"),
    };
    match (prefixes.next(), prefixes.next()) {
        (Some(prefix), None) => Ok(prefix.to_string()),
        (Some(one), Some(other)) => Err(other_model(format!(
            "and found below both `{}` and `{}`",
            shorten(one),
            shorten(other)
        ))),
        (None, _) => {
            let first: Vec<String> = file.names().take(3).map(shorten).collect();
            let is_adapter = file
                .names()
                .any(|name| ADAPTERS.iter().any(|part| name.contains(part)));
            let hint = match is_adapter {
                true => " (these are an adapter's tensors: give it with --lora, beside its model)",
                false => "",
            };
            Err(other_model(format!(
                "the file has {}{hint}",
                first.join(", ")
            )))
        }
    }
}
