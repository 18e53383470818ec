//! PEFT's adapter folders, for the cases that hold one: factors as variables, so that they can be trained.

use crate::case::{load, read_json};
use crate::error::ParityError;
use candle_core::{Device, Result, Var};
use nn::{LoraWeights, VisitLinears};
use serde_json::Value;
use std::path::Path;

/// The factors of one layer.
pub(crate) struct Factors {
    /// The layer's name in the model.
    pub(crate) layer: String,
    /// `[rank, in_features]`
    pub(crate) a: Var,
    /// `[out_features, rank]`
    pub(crate) b: Var,
    /// `alpha / rank`, or over its root.
    pub(crate) scale: f64,
}

/// An adapter, layers sorted by name.
pub(crate) struct Adapter(pub(crate) Vec<Factors>);

impl Adapter {
    /// `adapter_config.json` and `adapter_model.safetensors` of a folder.
    pub(crate) fn load(folder: &Path, device: &Device) -> std::result::Result<Self, ParityError> {
        let config = read_json(&folder.join("adapter_config.json"))?;
        let path = folder.join("adapter_model.safetensors");
        let mut tensors = load(&path, device)?;
        let layers: Vec<String> = tensors
            .keys()
            .filter_map(|name| name.strip_suffix(".lora_A.weight"))
            .map(str::to_string)
            .collect();
        let mut factors = Vec::new();
        for layer in layers {
            let mut part = |part: &str| {
                let name = format!("{layer}.{part}.weight");
                let tensor = tensors.remove(&name).ok_or_else(|| ParityError::Broken {
                    path: path.clone(),
                    problem: format!("no {name}"),
                })?;
                Ok::<_, ParityError>(Var::from_tensor(&tensor)?)
            };
            let (a, b) = (part("lora_A")?, part("lora_B")?);
            let name = layer.trim_start_matches("base_model.model.").to_string();
            factors.push(Factors {
                scale: scale(&config, &name, a.dim(0)?),
                layer: name,
                a,
                b,
            });
        }
        match tensors.keys().next() {
            None => Ok(Self(factors)),
            Some(name) => Err(ParityError::Broken {
                path,
                problem: format!("{name} is no factor of a LoRA"),
            }),
        }
    }

    /// Puts the factors on a model's layers; the names of those that it does not have are returned.
    pub(crate) fn attach(
        &self,
        model: &mut dyn VisitLinears,
        strength: f64,
    ) -> Result<Vec<String>> {
        let mut left: Vec<&Factors> = self.0.iter().collect();
        let mut result = Ok(());
        model.visit_linears(&mut |linear| {
            let Some(place) = left.iter().position(|one| one.layer == linear.name()) else {
                return;
            };
            let Factors { a, b, scale, .. } = left.swap_remove(place);
            let attached = linear.attach(LoraWeights {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scale: scale * strength,
                dropout: 0.0,
            });
            if result.is_ok() {
                result = attached;
            }
        });
        result?;
        Ok(left.into_iter().map(|one| one.layer.clone()).collect())
    }

    /// Everything that is trained, under the names that follow a layer's.
    pub(crate) fn variables(&self, a_name: &str, b_name: &str) -> Vec<(String, Var)> {
        let parts = self.0.iter().flat_map(|one| {
            [
                (format!("{}.{a_name}", one.layer), one.a.clone()),
                (format!("{}.{b_name}", one.layer), one.b.clone()),
            ]
        });
        parts.collect()
    }
}

fn scale(config: &Value, layer: &str, rank: usize) -> f64 {
    let alpha = pattern(config, "alpha_pattern", layer)
        .or_else(|| config["lora_alpha"].as_f64())
        .unwrap_or(rank as f64);
    match config["use_rslora"].as_bool() {
        Some(true) => alpha / (rank as f64).sqrt(),
        _ => alpha / rank as f64,
    }
}

/// PEFT's patterns match the end of a layer's name.
fn pattern(config: &Value, patterns: &str, layer: &str) -> Option<f64> {
    let (_, value) = config[patterns].as_object()?.iter().find(|(pattern, _)| {
        layer == pattern.as_str() || layer.ends_with(&format!(".{}", pattern.as_str()))
    })?;
    value.as_f64()
}
