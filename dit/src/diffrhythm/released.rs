//! The configuration of a released model: from the reference's file, or read off the shapes of its tensors.

use super::config::{Config, DURATION_FRAMES};
use crate::error::Error;
use nn::Scope;
use serde::Deserialize;

/// Frames of every release but the full-length ones.
const SHORT_FRAMES: usize = 2048;
/// Heads of attention in the reference, whatever a file says.
const REFERENCE_HEADS: usize = 32;

/// The reference's file (`config/diffrhythm-1b.json`), with two keys that its code has as literals.
#[derive(Deserialize)]
struct ReferenceFile {
    model_type: String,
    model: serde_json::Map<String, serde_json::Value>,
    max_frames: Option<usize>,
    cond_dim: Option<usize>,
}

impl Config {
    /// The reference's configuration file; whether attention is causal depends on the release and is not in it.
    ///
    /// # Errors
    /// [`Error::Parse`] for unknown or missing keys, [`Error::Config`] for another model's file and impossible sizes.
    pub fn from_reference_json(text: &str, causal: bool) -> Result<Self, Error> {
        let mut file: ReferenceFile = serde_json::from_str(text)?;
        if file.model_type != "diffrhythm" {
            return Err(Error::Config(format!(
                "model_type is {:?}, expected \"diffrhythm\"",
                file.model_type
            )));
        }
        file.model.insert("causal".into(), causal.into());
        for (key, value) in [("max_frames", file.max_frames), ("cond_dim", file.cond_dim)] {
            if let Some(value) = value {
                file.model.insert(key.into(), value.into());
            }
        }
        let config: Self = serde_json::from_value(file.model.into())?;
        config.validate()?;
        Ok(config)
    }

    /// The sizes that the tensors of a scope have; the reference's files hold them below `transformer`.
    ///
    /// # Errors
    /// [`Error::Config`] when the tensors are not those of this model, or their sizes do not go together.
    pub fn of_weights(scope: &Scope, causal: bool) -> Result<Self, Error> {
        let max_frames = match scope.contains("duration_time_embed") {
            true => DURATION_FRAMES,
            false => SHORT_FRAMES,
        };
        let dimensions = |name: &str| {
            scope.shape(name).ok_or_else(|| {
                let origin = scope.weights().origin();
                Error::Config(format!(
                    "{origin} is no DiffRhythm transformer: it has no tensor {}.{name}",
                    scope.path()
                ))
            })
        };
        let size = |name: &str, dimension: usize| {
            let shape = dimensions(name)?;
            shape.get(dimension).copied().ok_or_else(|| {
                Error::Config(format!("{}.{name} has shape {shape:?}", scope.path()))
            })
        };
        let dim = size("proj_out.weight", 1)?;
        let up = size("transformer_blocks.0.mlp.up_proj.weight", 0)?;
        let count = |name: &str| {
            let scope = scope.pp(name);
            (0..)
                .take_while(|number: &usize| scope.contains(&number.to_string()))
                .count()
        };
        let config = Self {
            dim,
            depth: count("transformer_blocks"),
            heads: None,
            ff_mult: up / dim.max(1),
            text_dim: size("text_embed.text_embed.weight", 1)?,
            conv_layers: count("text_embed.text_blocks"),
            mel_dim: size("proj_out.weight", 0)?,
            text_num_embeds: size("text_embed.text_embed.weight", 0)?.saturating_sub(1),
            max_frames,
            cond_dim: size("time_embed.time_mlp.2.weight", 0)?,
            attention_heads: REFERENCE_HEADS,
            causal,
        };
        config.validate()?;
        Ok(config)
    }

    /// The released models' sizes: `config/diffrhythm-1b.json` of the reference at 2048 or 6144 frames.
    pub fn released(max_frames: usize, causal: bool) -> Self {
        Self {
            dim: 2048,
            depth: 16,
            heads: None,
            ff_mult: 4,
            text_dim: 512,
            conv_layers: 4,
            mel_dim: 64,
            text_num_embeds: 363,
            max_frames,
            cond_dim: 512,
            attention_heads: REFERENCE_HEADS,
            causal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffrhythm::DiffusionTransformer;
    use candle_core::{Device, Tensor};
    use nn::{VisitLinears, Weights};
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    /// Every tensor that a model of these sizes asks for, as zeros.
    fn tensors(config: &Config) -> HashMap<String, Tensor> {
        let asked: Arc<Mutex<HashMap<String, Tensor>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let weights = Weights::made_up(move |name, shape| {
            let zeros = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu)?;
            seen.lock().unwrap().insert(name.to_owned(), zeros.clone());
            Ok(zeros)
        });
        DiffusionTransformer::load(config, &weights.root().pp("transformer"))
            .unwrap()
            .visit_linears(&mut |_| {});
        asked.lock().unwrap().clone()
    }

    #[test]
    fn sizes_are_read_off_the_tensors() {
        for (max_frames, conv_layers) in [(2048, 1), (6144, 2)] {
            let config = Config {
                dim: 64,
                depth: 3,
                heads: None,
                ff_mult: 2,
                text_dim: 16,
                conv_layers,
                mel_dim: 8,
                text_num_embeds: 40,
                max_frames,
                cond_dim: 16,
                attention_heads: 32,
                causal: false,
            };
            let weights = Weights::from_tensors(tensors(&config), "test");
            let scope = weights.root().pp("transformer");
            assert_eq!(Config::of_weights(&scope, false).unwrap(), config);
        }
    }

    #[test]
    fn another_models_tensors_are_refused() {
        let tensor = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let tensors = HashMap::from([("transformer.proj_out.weight".to_owned(), tensor)]);
        let weights = Weights::from_tensors(tensors, "other.safetensors");
        let error = Config::of_weights(&weights.root().pp("transformer"), true).unwrap_err();
        let error = error.to_string();
        for word in ["other.safetensors", "no DiffRhythm", "mlp.up_proj"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn the_references_file_is_read() {
        let text = r#"{"model_type": "diffrhythm", "model": {"dim": 2048, "depth": 16, "heads": 32, "ff_mult": 4,
            "text_dim": 512, "conv_layers": 4, "mel_dim": 64, "text_num_embeds": 363}}"#;
        let config = Config::from_reference_json(text, true).unwrap();
        assert_eq!(
            Config {
                heads: None,
                ..config
            },
            Config::released(2048, true)
        );
        let other = text.replace("diffrhythm", "ace-step");
        let error = Config::from_reference_json(&other, true).unwrap_err();
        assert!(error.to_string().contains("ace-step"), "{error}");
        assert!(Config::from_reference_json(&text.replace("depth", "deepth"), true).is_err());
    }
}
