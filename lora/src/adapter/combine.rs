//! Adapters out of others: weighted sums, exact or of a rank, and what a fine-tuned checkpoint differs in from its base.
//!
//! - `sum`: layers of several adapters added up, by ranks one after another or by the singular value decomposition of what they change;
//! - `svd`: the best change of a rank, and how much of the whole it keeps;
//! - `extract`: an adapter of two checkpoints.
//!
//! What is made says under [`RECORD`] in its header what it was made of.

mod extract;
mod sum;
mod svd;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use checkpoint::shorten;
use serde::Serialize;

use super::attach::shown_base;
use super::{Adapter, AdapterDescription, BaseIdentity, LayerFactors, Targets, file};
use crate::error::LoraError;

pub use extract::{Extracted, extract};
pub use sum::{SumOptions, sum};

/// The header's key for what an adapter was made of.
pub const RECORD: &str = "lorelei_combined";

/// One of several adapters that are added up.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// How much of it: 1 as trained, below 0 to subtract it.
    pub weight: f64,
    /// Its file, for messages and the record.
    pub path: &'a Path,
}

/// How much of a layer's change is kept, in squares of its Frobenius norm.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Energy {
    /// Of the whole change.
    pub total: f64,
    /// Of what a rank keeps of it.
    pub kept: f64,
}

impl Energy {
    /// The part that is kept, from 0 to 1; all of a change that is none.
    pub fn share(&self) -> f64 {
        match self.total > 0.0 {
            true => (self.kept / self.total).min(1.0),
            false => 1.0,
        }
    }
}

/// An adapter made of others.
#[derive(Debug, Clone)]
pub struct Combined {
    /// The adapter.
    pub adapter: Adapter,
    /// Of each layer that was brought to a rank; empty for exact sums.
    pub energies: BTreeMap<String, Energy>,
}

/// The energy of all layers together.
pub fn total_energy(energies: &BTreeMap<String, Energy>) -> Energy {
    let add = |sum: Energy, one: &Energy| Energy {
        total: sum.total + one.total,
        kept: sum.kept + one.kept,
    };
    energies.values().fold(Energy::default(), add)
}

/// What an adapter was made of, for its header.
#[derive(Debug, Serialize)]
struct Record {
    method: &'static str,
    parts: Vec<RecordedPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<usize>,
    /// Part of the squared Frobenius norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy_kept: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RecordedPart {
    /// A file's name without its folders, which are nobody else's business.
    file: String,
    weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<serde_json::Value>,
}

impl Record {
    fn into_metadata(self) -> Result<BTreeMap<String, String>, LoraError> {
        let text = serde_json::to_string(&self)
            .map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        Ok(BTreeMap::from([(RECORD.to_owned(), text)]))
    }
}

fn recorded(path: &Path, weight: f64, adapter: Option<&Adapter>) -> RecordedPart {
    let earlier = adapter.and_then(|adapter| adapter.metadata.get(RECORD));
    RecordedPart {
        file: path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned(),
        weight,
        recorded: earlier.and_then(|text| serde_json::from_str(text).ok()),
    }
}

/// What can be said of layers that no training made.
fn description(
    layers: &BTreeMap<String, LayerFactors>,
    base: Option<BaseIdentity>,
) -> AdapterDescription {
    let rank = layers.values().filter_map(LayerFactors::rank).max();
    let rank = rank.unwrap_or(1);
    AdapterDescription {
        format: file::FORMAT,
        rank,
        alpha: rank as f64,
        dropout: 0.0,
        targets: Targets {
            include: layers.keys().cloned().collect(),
            exclude: Vec::new(),
        },
        base,
        trigger_words: Vec::new(),
        lorelei_version: env!("CARGO_PKG_VERSION").to_owned(),
        data_hash: String::new(),
        seed: 0,
        step: 0,
        validation_loss: None,
        changes: Vec::new(),
    }
}

/// The base of all parts. Of two that were trained on different ones the sum would be for neither.
fn common_base(parts: &[Part<'_>]) -> Result<Option<BaseIdentity>, LoraError> {
    let mut known: Option<(&BaseIdentity, &Path)> = None;
    for part in parts {
        let Some(base) = &part.adapter.description.base else {
            continue;
        };
        match known {
            Some((first, path)) if !is_one_base(first, base) => {
                return Err(LoraError::BadFile {
                    path: part.path.to_owned(),
                    problem: format!(
                        "trained on {}, and {} on {}: adapters of two bases fit together on neither; combine those of one",
                        shown_base(base),
                        path.display(),
                        shown_base(first)
                    ),
                });
            }
            // Who says how its attention was says more.
            Some((first, _)) if first.causal.is_some() || base.causal.is_none() => {}
            _ => known = Some((base, part.path)),
        }
    }
    Ok(known.map(|(base, _)| base.clone()))
}

/// The same weights, used in the same way as far as that is known.
fn is_one_base(one: &BaseIdentity, other: &BaseIdentity) -> bool {
    let used_otherwise =
        one.causal.is_some() && other.causal.is_some() && one.causal != other.causal;
    one.sha256 == other.sha256 && !used_otherwise
}

/// The sum of the parts' trigger vectors, by the same weights.
fn trigger(parts: &[Part<'_>]) -> Result<Option<Tensor>, LoraError> {
    let mut sum: Option<Tensor> = None;
    for part in parts {
        let Some(vector) = &part.adapter.trigger else {
            continue;
        };
        let weighted = (vector * part.weight)?;
        sum = Some(match sum {
            None => weighted,
            Some(sum) if sum.dims() == weighted.dims() => (sum + weighted)?,
            Some(sum) => {
                return Err(LoraError::BadFile {
                    path: part.path.to_owned(),
                    problem: format!(
                        "has a trigger vector {:?} where the others have {:?}; they are for different bases",
                        weighted.dims(),
                        sum.dims()
                    ),
                });
            }
        });
    }
    Ok(sum)
}

/// Everybody's words, each once.
fn trigger_words(parts: &[Part<'_>]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let added = parts.iter().filter(|part| part.weight > 0.0);
    for word in added.flat_map(|part| &part.adapter.description.trigger_words) {
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    words
}

/// A layer's name, for a terminal.
fn shown(layer: &str) -> String {
    shorten(layer)
}
