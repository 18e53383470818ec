//! An earlier base as the first values of a training, so that a base can be trained further on another day, on another corpus, or with a finer beat grid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use dit::diffrhythm::Config;
use nn::Stream;
use vae::SpectralConfig;

use super::sizes::BaseSizes;
use super::transformer::TAG_VECTORS;
use super::variables::Given;
use crate::base::{Description, MOST_BEATS_PER_BAR, describe};
use crate::error::LoraError;
use crate::hexadecimal;

/// The table of the beat grid's tokens: one row for none, then one a pulse.
const TOKEN_VECTORS: &str = "transformer.text_embed.text_embed.weight";

/// What the names of an autoencoder's tensors begin with in a base file.
pub(super) const AUTOENCODER: &str = "autoencoder.";

/// The tensors of a base file in f32, with what its header says.
#[derive(Debug)]
pub struct Start {
    path: PathBuf,
    sha256: String,
    description: Description,
    tensors: BTreeMap<String, Tensor>,
}

/// What the origin of a run calls the base that it began with.
pub(super) const ORIGIN: &str = "base to begin with (--start-from)";
/// What it says of runs that began with none; those from before there was a choice say nothing.
pub(super) const NO_ORIGIN: &str = "none";

/// What a run began with, for the comparison when it is resumed.
pub(super) fn origin(start: Option<&Start>) -> String {
    start.map_or_else(|| NO_ORIGIN.to_owned(), |start| start.sha256.clone())
}

impl Start {
    /// From a base file (`lora-train base export` writes them).
    ///
    /// # Errors
    /// When it cannot be read, or is another file.
    pub fn open(path: &Path) -> Result<Self, LoraError> {
        let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
        Self::from_bytes(path, &bytes)
    }

    /// The same, of a file that is read already.
    pub(super) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, LoraError> {
        let description = describe(bytes).map_err(|problem| LoraError::BadFile {
            path: path.to_owned(),
            problem: format!("{problem}; give a base file of `lora-train base export`"),
        })?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in candle_core::safetensors::load_buffer(bytes, &Device::Cpu)? {
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
        Ok(Self {
            path: path.to_owned(),
            sha256: hexadecimal::sha256(bytes),
            description,
            tensors,
        })
    }

    fn other_sizes(&self, part: &str) -> LoraError {
        LoraError::BadFile {
            path: self.path.clone(),
            problem: format!(
                "its {part} has other sizes than the one to be trained; leave --start-from out, or give its sizes with --sizes"
            ),
        }
    }

    fn part(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let of = |(name, tensor): (&String, &Tensor)| {
            Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
        };
        self.tensors.iter().filter_map(of).collect()
    }

    /// Its autoencoder as it is.
    pub(super) fn finished_autoencoder(self) -> (SpectralConfig, BTreeMap<String, Tensor>) {
        let tensors = self.part(AUTOENCODER);
        (self.description.autoencoder, tensors)
    }

    /// First values of an autoencoder: all that is trained, with the mean and the weights of the features that its skips were made for. Its latents stay
    /// near those of the base, so that a transformer can start from that base too.
    ///
    /// # Errors
    /// When its sizes are others. Whether bands hold powers or magnitudes may differ: that changes what is heard, not the network.
    pub(super) fn autoencoder(&self, config: &SpectralConfig) -> Result<Given, LoraError> {
        let own = SpectralConfig {
            averages_power: config.averages_power,
            ..self.description.autoencoder.clone()
        };
        if own != *config {
            return Err(self.other_sizes("autoencoder"));
        }
        let mut first_values = self.part(AUTOENCODER);
        let mut constants = BTreeMap::new();
        for name in ["feature_mean", "feature_weight"] {
            if let Some(tensor) = first_values.remove(name) {
                constants.insert(name.to_owned(), tensor);
            }
        }
        // Measured anew when the training ends.
        first_values.retain(|name, _| !name.starts_with("latent_"));
        Ok(Given {
            constants,
            first_values,
        })
    }

    /// First values of a transformer. Tags keep their vectors by name; tags that the base did not know are drawn. A finer beat grid begins with the vectors of
    /// the coarser one.
    ///
    /// # Errors
    /// When its sizes are others, or its pulses a beat are no divisor of the new ones.
    pub(super) fn transformer(
        &self,
        sizes: &BaseSizes,
        tags: &[String],
        random: &Stream,
    ) -> Result<Given, LoraError> {
        let own = Config {
            heads: sizes.transformer.heads,
            text_num_embeds: sizes.transformer.text_num_embeds,
            ..self.description.transformer.clone()
        };
        let finer = sizes.pulses_per_beat / self.description.pulses_per_beat;
        if own != sizes.transformer
            || finer * self.description.pulses_per_beat != sizes.pulses_per_beat
        {
            return Err(self.other_sizes("transformer"));
        }
        let missing = || self.other_sizes("transformer");
        let mut first_values: BTreeMap<String, Tensor> = self
            .tensors
            .iter()
            .filter(|(name, _)| name.starts_with("transformer."))
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        let coarse = first_values.get(TOKEN_VECTORS).ok_or_else(missing)?;
        // What has no row in the coarse table sounds like no grid until it is learned.
        let rows: Vec<u32> = (0..=sizes.transformer.text_num_embeds)
            .map(|token| match token {
                0 => 0,
                token if token > sizes.pulses_per_beat * MOST_BEATS_PER_BAR => 0,
                token => 1 + ((token - 1) / finer) as u32,
            })
            .collect();
        let rows = Tensor::new(rows, &Device::Cpu)?;
        let fine = coarse.index_select(&rows, 0)?;
        first_values.insert(TOKEN_VECTORS.to_owned(), fine);
        let known = self.tensors.get(TAG_VECTORS).ok_or_else(missing)?;
        let drawn = random
            .named(TAG_VECTORS)
            .normal((tags.len(), sizes.transformer.cond_dim), &Device::Cpu)?;
        let vectors = tags.iter().enumerate().map(|(row, tag)| {
            let earlier = self.description.tags.iter().position(|own| own == tag);
            match earlier {
                Some(earlier) => known.get(earlier),
                None => drawn.get(row),
            }
        });
        let vectors = vectors.collect::<candle_core::Result<Vec<_>>>()?;
        first_values.insert(TAG_VECTORS.to_owned(), Tensor::stack(&vectors, 0)?);
        Ok(Given {
            constants: BTreeMap::new(),
            first_values,
        })
    }
}
