//! The base file: a finished autoencoder and a finished transformer, in 16 bits.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use half::f16;
use nn::Weights;
use safetensors::tensor::{Dtype, TensorView};
use vae::{Autoencoder, SpectralAutoencoder, SpectralConfig};

use super::autoencoder;
use super::start::{AUTOENCODER, Start};
use super::transformer::{self, TAG_VECTORS};
use crate::base::{Description, FORMAT, TagGroup, check_groups, check_pulses};
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
    /// From the file that its run left, or from a base file, so that a transformer can be trained for the autoencoder of an earlier base.
    ///
    /// # Errors
    /// When it cannot be read, or is another file.
    pub fn open(path: &Path) -> Result<Self, LoraError> {
        let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
        if tensor_file::description(&bytes, OWN_DESCRIPTION).is_ok() {
            let (config, tensors) = Start::from_bytes(path, &bytes)?.finished_autoencoder();
            return Self::new(config, tensors, path);
        }
        let remedy = "give the autoencoder.safetensors that `lora-train base vae` left in its run folder, or a base file";
        let (text, tensors) = parts(&bytes, autoencoder::DESCRIPTION, path, remedy)?;
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

/// What a base file says of itself beside what its parts say.
#[derive(Debug, Clone)]
pub struct Naming {
    /// Name that adapters for it record.
    pub name: String,
    /// Version that adapters for it record.
    pub version: u32,
    /// Tags that people choose from, as editors show them.
    pub tag_groups: Vec<TagGroup>,
    /// Where the groups are from, for messages.
    pub tag_groups_file: PathBuf,
}

/// Writes a base file. The autoencoder may be that of an earlier base file.
///
/// # Errors
/// When a file cannot be read or written, the two were not trained for each other, a group names a tag that the transformer does not know, or a weight does
/// not fit 16 bits.
pub fn write(
    autoencoder: &Path,
    transformer: &Path,
    naming: Naming,
    out: &Path,
) -> Result<(), LoraError> {
    let sound = FinishedAutoencoder::open(autoencoder)?;
    let bytes = std::fs::read(transformer).map_err(LoraError::file(transformer))?;
    let remedy =
        "give the transformer.safetensors that `lora-train base dit` left in its run folder";
    let (text, tensors) = parts(&bytes, transformer::DESCRIPTION, transformer, remedy)?;
    let bad = |path: &Path, problem: String| LoraError::BadFile {
        path: path.to_owned(),
        problem,
    };
    let trained: transformer::Description =
        serde_json::from_str(&text).map_err(|error| bad(transformer, error.to_string()))?;
    check_groups(&naming.tag_groups, &trained.tags).map_err(|problem| {
        let remedy = "mend the file; a tag that is missing in the transformer must be trained with it (--tags)";
        bad(&naming.tag_groups_file, format!("{problem}; {remedy}"))
    })?;
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
        name: naming.name,
        version: naming.version,
        autoencoder: sound.config,
        transformer: trained.transformer,
        tags: trained.tags,
        pulses_per_beat: trained.pulses_per_beat,
        rhythms: trained.rhythms,
        tag_groups: naming.tag_groups,
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
    let named = |(name, tensor): (String, Tensor)| (format!("{AUTOENCODER}{name}"), tensor);
    all.extend(sound.tensors.into_iter().map(named));
    let bytes = in_16_bits(&all, description).map_err(|problem| bad(out, problem))?;
    dataset::write_aside(out, &bytes).map_err(LoraError::file(out))
}

/// What a file says in its header, and its tensors.
fn parts(
    bytes: &[u8],
    key: &str,
    path: &Path,
    remedy: &str,
) -> Result<(String, BTreeMap<String, Tensor>), LoraError> {
    tensor_file::from_bytes(bytes, key, &Device::Cpu).map_err(|problem| LoraError::BadFile {
        path: path.to_owned(),
        problem: format!("{problem}; {remedy}"),
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
