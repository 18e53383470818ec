//! The base file: a finished autoencoder and a finished transformer, in 16 bits.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use half::f16;
use nn::Weights;
use safetensors::tensor::{Dtype, TensorView};
use vae::{Autoencoder, SpectralAutoencoder, SpectralConfig};

use super::autoencoder;
use super::transformer::{self, TAG_VECTORS};
use crate::base::{Description, FORMAT, check_pulses};
use crate::error::LoraError;
use crate::models::OWN_DESCRIPTION;
use crate::tensor_file;

/// A finished autoencoder, with its tensors.
pub struct FinishedAutoencoder {
    /// Its sizes.
    pub config: SpectralConfig,
    /// Loaded.
    pub model: SpectralAutoencoder,
    tensors: BTreeMap<String, Tensor>,
}

impl FinishedAutoencoder {
    /// From the file that its run left.
    ///
    /// # Errors
    /// When it cannot be read, or is another file.
    pub fn open(path: &Path) -> Result<Self, LoraError> {
        let (text, tensors) = read(path, autoencoder::DESCRIPTION)?;
        let config = SpectralConfig::from_json(&text, &path.display().to_string())?;
        Self::new(config, tensors, path)
    }

    fn new(
        config: SpectralConfig,
        tensors: BTreeMap<String, Tensor>,
        path: &Path,
    ) -> Result<Self, LoraError> {
        let weights = Weights::from_tensors(
            tensors.clone().into_iter().collect(),
            &path.display().to_string(),
        );
        let model = SpectralAutoencoder::load(&config, &weights.root())?;
        weights.finish()?;
        Ok(Self {
            config,
            model,
            tensors,
        })
    }
}

/// Writes a base file; `name` and `version` are what adapters for it will record.
///
/// # Errors
/// When a file cannot be read or written, the two were not trained for each other, or a weight does not fit 16 bits.
pub fn write(
    autoencoder: &Path,
    transformer: &Path,
    (name, version): (&str, u32),
    out: &Path,
) -> Result<(), LoraError> {
    let sound = FinishedAutoencoder::open(autoencoder)?;
    let (text, tensors) = read(transformer, transformer::DESCRIPTION)?;
    let bad = |path: &Path, problem: String| LoraError::BadFile {
        path: path.to_owned(),
        problem,
    };
    let trained: transformer::Description =
        serde_json::from_str(&text).map_err(|error| bad(transformer, error.to_string()))?;
    if trained.autoencoder_id != sound.model.id() {
        return Err(bad(
            transformer,
            format!(
                "trained on the latents of another autoencoder than {}; give the one it was trained with",
                autoencoder.display()
            ),
        ));
    }
    let description = Description {
        format: FORMAT,
        name: name.to_owned(),
        version,
        autoencoder: sound.config,
        transformer: trained.transformer,
        tags: trained.tags,
        pulses_per_beat: trained.pulses_per_beat,
        rhythms: trained.rhythms,
    };
    check_pulses(description.pulses_per_beat, &description.transformer)
        .map_err(|problem| bad(transformer, problem))?;
    let description =
        serde_json::to_string(&description).map_err(|error| bad(out, error.to_string()))?;
    let mut all = tensors;
    debug_assert!(
        all.contains_key(TAG_VECTORS),
        "the transformer's run writes them"
    );
    let named = |(name, tensor): (String, Tensor)| (format!("autoencoder.{name}"), tensor);
    all.extend(sound.tensors.into_iter().map(named));
    let bytes = in_16_bits(&all, description).map_err(|problem| bad(out, problem))?;
    dataset::write_aside(out, &bytes).map_err(LoraError::file(out))
}

fn read(path: &Path, key: &str) -> Result<(String, BTreeMap<String, Tensor>), LoraError> {
    let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
    tensor_file::from_bytes(&bytes, key, &Device::Cpu).map_err(|problem| LoraError::BadFile {
        path: path.to_owned(),
        problem: format!("{problem}; give the file that `lora-train base` left in its run folder"),
    })
}

fn in_16_bits(tensors: &BTreeMap<String, Tensor>, description: String) -> Result<Vec<u8>, String> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor
            .to_dtype(DType::F32)
            .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>())
            .map_err(|error| error.to_string())?;
        if let Some(value) = values
            .iter()
            .find(|value| !f16::from_f32(**value).is_finite())
        {
            return Err(format!("{name} holds {value}, which 16 bits do not"));
        }
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect();
        stored.push((name.as_str(), tensor.dims().to_vec(), bytes));
    }
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
            Ok((*name, view.map_err(|error| error.to_string())?))
        })
        .collect::<Result<Vec<_>, String>>()?;
    let metadata = HashMap::from([(OWN_DESCRIPTION.to_owned(), description)]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}
