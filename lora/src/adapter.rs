//! A style adapter: changes of some layers of a base, a trigger vector, and a description that travels with them.

mod attach;
pub mod combine;
mod factors;
mod file;
mod format;
pub mod names;
mod placement;
mod read;
mod targets;
mod write;

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(crate) use attach::OUTPUT_FACTOR;
pub use attach::{AdaptedLayers, Attachment, detach_all, merge, neutral_trigger};
pub use factors::{LayerFactors, Method};
pub use format::AdapterFormat;
pub use placement::Placement;
pub(crate) use read::peft_weights;
pub(crate) use targets::pattern_matches;
pub use targets::{ORIGINAL_TARGETS, Targets};
pub use write::Target;
pub use write::merged::{MergeOptions, layer_shapes, write_merged};

/// Which base an adapter belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// The base's name.
    pub name: String,
    /// The base's version.
    pub version: u32,
    /// SHA-256 of the base's file; of a released model, over samples of its tensors.
    pub sha256: String,
    /// Whether the attention of a released model was causal, which its weights do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causal: Option<bool>,
}

impl BaseIdentity {
    /// Whether it is the base that ships inside the program.
    pub fn is_embedded(&self) -> bool {
        self.sha256 == crate::base::EMBEDDED_SHA256
    }

    /// Name, version and the whole hash in one text.
    pub fn whole(&self) -> String {
        let causal = match self.causal {
            Some(causal) => format!(", causal = {causal}"),
            None => String::new(),
        };
        format!(
            "{} version {} ({}{causal})",
            self.name, self.version, self.sha256
        )
    }
}

impl std::fmt::Display for BaseIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} version {} ({})",
            self.name,
            self.version,
            self.sha256.get(..12).unwrap_or(&self.sha256)
        )
    }
}

/// What an adapter's file says about itself. Of adapters that other programs trained only rank, alpha, dropout, targets and step are
/// known; the texts are empty, the seed is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterDescription {
    /// Version of this description's format.
    pub format: u32,
    /// Rank; where layers differ, the largest.
    pub rank: usize,
    /// Alpha of a layer of that rank; the adapter's output is scaled by alpha / rank. What holds for each layer is in its factors.
    pub alpha: f64,
    /// Dropout it was trained with.
    pub dropout: f64,
    /// Patterns of the layers it changes.
    pub targets: Targets,
    /// The base it was trained on, if that is known.
    pub base: Option<BaseIdentity>,
    /// Words that call the style.
    pub trigger_words: Vec<String>,
    /// Version of Lorelei that trained it.
    pub lorelei_version: String,
    /// SHA-256 over the content hashes of the training pieces.
    pub data_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer step of these weights.
    pub step: usize,
    /// Loss on the held-out songs at that step.
    pub validation_loss: Option<f64>,
    /// What was changed between a stop of the run and its forced resuming.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// An adapter in memory.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// What it is.
    pub description: AdapterDescription,
    /// Factors by the layer's full name.
    pub layers: BTreeMap<String, LayerFactors>,
    /// The learned style vector, `[condition width]`.
    pub trigger: Option<Tensor>,
    /// The layout it was read from.
    pub format: AdapterFormat,
    /// Texts of the file's header that are not understood here.
    pub metadata: BTreeMap<String, String>,
    /// What another program's file calls the base that it was trained on.
    pub stated_base: Option<String>,
}

impl Adapter {
    /// The words in a prompt that stand for it.
    pub fn trigger_words(&self) -> impl Iterator<Item = &str> {
        self.description.trigger_words.iter().map(String::as_str)
    }

    /// One that was trained here.
    pub fn trained(
        description: AdapterDescription,
        layers: BTreeMap<String, LayerFactors>,
        trigger: Option<Tensor>,
    ) -> Self {
        Self {
            description,
            layers,
            trigger,
            format: AdapterFormat::Lorelei,
            metadata: BTreeMap::new(),
            stated_base: None,
        }
    }

    /// Trainable numbers in the adapter, the trigger vector included.
    pub fn parameter_count(&self) -> usize {
        let factors: usize = self
            .layers
            .values()
            .flat_map(LayerFactors::tensors)
            .map(Tensor::elem_count)
            .sum();
        factors + self.trigger.as_ref().map_or(0, Tensor::elem_count)
    }
}
