//! DiffRhythm's releases as bases: `cfm_model.pt` or its conversion, with the Oobleck autoencoder that all of them share.

use candle_core::Device;
use checkpoint::diffrhythm::StateDict;
use checkpoint::{ElementType, TensorFile};
use dit::diffrhythm::{Config, DiffusionTransformer};
use nn::{WeightPrecision, Weights};
use vae::{Autoencoder, OobleckAutoencoder, OobleckConfig};

use super::quantised::QuantisedFile;
use super::{BaseModel, Conditioning, TagVocabulary};
use crate::adapter::BaseIdentity;
use crate::error::LoraError;
use crate::models::ReleasedFiles;
use crate::progress::Progress;

/// The scope of all tensors in the reference's files.
pub(super) const SCOPE: &str = "transformer";
/// What the reference's configuration calls the model.
const MODEL_TYPE: &str = "diffrhythm";
/// The tensor whose type is taken for that of the file.
const TYPICAL: &str = "transformer.transformer_blocks.0.self_attn.q_proj.weight";

/// What a song model brings of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SongBase {
    /// Points of the time grid in the release's own pipeline, and its guidance.
    pub sampling: (usize, f64),
    /// Whether frames see earlier frames only: releases before 1.2.
    pub causal: bool,
}

/// Loads a release.
pub(super) fn load(
    files: &ReleasedFiles,
    device: &Device,
    precision: Option<WeightPrecision>,
    progress: &mut dyn Progress,
) -> Result<BaseModel, LoraError> {
    let autoencoder = open_autoencoder(files)?;
    let found = checkpoint::diffrhythm::weights(&TensorFile::open(&files.transformer)?)?;
    if found.taken_from != StateDict::Bare {
        let path = files.transformer.display();
        progress.note(&format!("{path}: the weights of {}", found.taken_from));
    }
    let tensors = found.tensors;
    let precision = precision.unwrap_or_else(|| stored_precision(&tensors, device));
    let fingerprint = super::fingerprint::of(&tensors)?;
    let weights = Weights::from_tensor_file(tensors.clone(), device).in_precision(precision);
    let quantised = match precision {
        WeightPrecision::Nf4 => QuantisedFile::of(&tensors, &files.transformer, progress)?,
        _ => None,
    };
    let kept = quantised
        .as_ref()
        .and_then(|file| file.read(&tensors, progress));
    let is_new = kept.is_none();
    let weights = weights.with_four_bit(kept.unwrap_or_default());
    let scope = weights.root().pp(SCOPE);
    let config = config(files, &weights)?;
    let mut transformer = DiffusionTransformer::load(&config, &scope)?;
    if let (Some(file), true) = (quantised, is_new) {
        file.write(&mut transformer, progress);
    }
    let parameter_count = weights.parameter_count();
    weights.finish()?;
    check_together(files, &config, &autoencoder)?;
    Ok(BaseModel {
        identity: BaseIdentity {
            name: files.name.clone(),
            version: 1,
            sha256: fingerprint,
            causal: Some(files.causal),
        },
        autoencoder: Box::new(autoencoder),
        transformer,
        conditioning: Conditioning::Songs {
            base: SongBase {
                sampling: files.sampling,
                causal: files.causal,
            },
            vocabulary: TagVocabulary::new(Vec::new()),
        },
        transformer_config: config,
        parameter_count,
        is_embedded: false,
        mapped: Some(tensors),
        device: device.clone(),
        precision,
    })
}

fn open_autoencoder(files: &ReleasedFiles) -> Result<OobleckAutoencoder, LoraError> {
    let tensors = TensorFile::open(&files.autoencoder)?;
    let weights = Weights::from_tensor_file(tensors, &Device::Cpu);
    let config = OobleckConfig::of_weights(&weights.root())?;
    let autoencoder = OobleckAutoencoder::load(&config, &weights.root())?;
    weights.finish()?;
    Ok(autoencoder)
}

/// As the reference's file says, where it came with the weights; otherwise as the tensors' shapes say.
pub(super) fn config(files: &ReleasedFiles, weights: &Weights) -> Result<Config, LoraError> {
    let inferred = Config::of_weights(&weights.root().pp(SCOPE), files.causal)?;
    let Some(path) = &files.config else {
        return Ok(inferred);
    };
    let text = std::fs::read_to_string(path).map_err(LoraError::file(path))?;
    let bad = |problem: String| LoraError::BadFile {
        path: path.clone(),
        problem: format!(
            "{problem}; take the file that came with the weights away, or put theirs in its place"
        ),
    };
    match completed(&text, &inferred).map_err(|error| bad(error.to_string()))? {
        Some(text) => {
            Config::from_reference_json(&text, files.causal).map_err(|error| bad(error.to_string()))
        }
        None => {
            tracing::warn!(
                "{}: it does not describe DiffRhythm; sizes are read off the weights",
                path.display()
            );
            Ok(inferred)
        }
    }
}

/// The reference's configuration with what its code has as literals and its file may lack, since one serves models of both lengths; none
/// if it is another program's.
fn completed(text: &str, inferred: &Config) -> serde_json::Result<Option<String>> {
    let mut file: serde_json::Value = serde_json::from_str(text)?;
    let Some(keys) = file.as_object_mut().filter(|keys| {
        keys.get("model_type")
            .is_some_and(|kind| kind == MODEL_TYPE)
    }) else {
        return Ok(None);
    };
    for (key, value) in [
        ("max_frames", inferred.max_frames),
        ("cond_dim", inferred.cond_dim),
    ] {
        keys.entry(key).or_insert_with(|| value.into());
    }
    Ok(Some(file.to_string()))
}

/// 16-bit files stay as they are on the CPU, since products widen their weights exactly; cards have their own ways.
pub(super) fn stored_precision(tensors: &TensorFile, device: &Device) -> WeightPrecision {
    let stored = tensors.entry(TYPICAL).map(|entry| entry.dtype);
    match (stored, device.is_cpu()) {
        (Some(ElementType::F16), true) => WeightPrecision::F16,
        (Some(ElementType::BF16), true) => WeightPrecision::Bf16,
        _ => WeightPrecision::F32,
    }
}

fn check_together(
    files: &ReleasedFiles,
    config: &Config,
    autoencoder: &OobleckAutoencoder,
) -> Result<(), LoraError> {
    if autoencoder.latent_channels() == config.mel_dim {
        return Ok(());
    }
    Err(LoraError::BadFile {
        path: files.autoencoder.clone(),
        problem: format!(
            "its latents have {} channels and those of the transformer {} have {}; --vae names the one that goes with it",
            autoencoder.latent_channels(),
            files.transformer.display(),
            config.mel_dim
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_completed_from_the_weights_and_anothers_is_left_alone() {
        let inferred = Config::released(6144, false);
        let text = r#"{"model_type": "diffrhythm", "model": {"dim": 2048, "depth": 16, "ff_mult": 4, "text_dim": 512,
            "conv_layers": 4, "mel_dim": 64, "text_num_embeds": 363}}"#;
        let whole = completed(text, &inferred).unwrap().unwrap();
        assert_eq!(
            Config::from_reference_json(&whole, false).unwrap(),
            inferred
        );
        let given = text.replace("\"model\"", "\"max_frames\": 2048, \"model\"");
        let given = completed(&given, &inferred).unwrap().unwrap();
        let given = Config::from_reference_json(&given, false).unwrap();
        assert_eq!(given.max_frames, 2048);
        for other in [r#"{"_class_name": "AutoencoderOobleck"}"#, "[]"] {
            assert_eq!(completed(other, &inferred).unwrap(), None);
        }
        assert!(completed("{", &inferred).is_err());
    }
}
