//! The three configurations of a released model: MuLan's own, MuQ's (audio) and XLM-RoBERTa's (text).
//!
//! Keys that change nothing about an embedding (losses, dropout, masking in training) are known by name and left
//! alone; any other unknown key of MuLan's and MuQ's is refused. XLM-RoBERTa's and the part of MuQ's that describes its
//! conformer are configurations of transformers, which writes dozens of keys for other models too: there unknown keys
//! pass, and what would change the computation is checked.

mod mulan;
mod muq;
mod xlm_roberta;

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use mulan::{HeadConfig, MuLanConfig, MuLanSizes, TowerConfig};
pub use muq::{ConformerConfig, MelStatistics, MuQConfig};
pub use xlm_roberta::XlmRobertaConfig;

use crate::{EmbedError, bounded};

/// Far above any configuration.
const LARGEST_CONFIG_BYTES: u64 = 16 << 20;

/// The activation of a feed-forward network, by its names in transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `x sigmoid(x)`.
    #[serde(alias = "swish")]
    Silu,
    /// `x Phi(x)`, exact.
    Gelu,
}

/// Reads a JSON file.
fn read<C: DeserializeOwned>(path: &Path) -> Result<C, EmbedError> {
    let bytes = bounded::read(path, LARGEST_CONFIG_BYTES)?;
    let origin = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| EmbedError::Config {
        origin: origin.clone(),
        reason: "it is no text; use the configuration that was released with the model".to_owned(),
    })?;
    parse(&text, &origin)
}

fn parse<C: DeserializeOwned>(text: &str, origin: &str) -> Result<C, EmbedError> {
    serde_json::from_str(text).map_err(|error| EmbedError::Config {
        origin: origin.to_owned(),
        reason: format!("{error}; use the configuration that was released with the model"),
    })
}

/// An error unless `holds`.
fn check(holds: bool, origin: &str, reason: impl FnOnce() -> String) -> Result<(), EmbedError> {
    if holds {
        return Ok(());
    }
    Err(EmbedError::Config {
        origin: origin.to_owned(),
        reason: reason(),
    })
}

/// Refuses sizes of zero.
fn check_sizes(origin: &str, sizes: &[(&str, usize)]) -> Result<(), EmbedError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        None => Ok(()),
        Some((name, _)) => Err(EmbedError::Config {
            origin: origin.to_owned(),
            reason: format!("{name} is 0, expected at least 1"),
        }),
    }
}
