//! The adapter's file: one safetensors with PEFT's tensor names and orientation, and the description in its header.
//!
//! `base_model.model.LAYER.lora_A.weight` is `[rank, inputs]`, `base_model.model.LAYER.lora_B.weight` is `[outputs, rank]`;
//! `lorelei.trigger_vector` is `[condition width]`. The header's `lorelei_adapter` is the description as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::{Adapter, AdapterDescription, LayerFactors};
use crate::error::LoraError;
use crate::tensor_file;

const PREFIX: &str = "base_model.model.";
const A_SUFFIX: &str = ".lora_A.weight";
const B_SUFFIX: &str = ".lora_B.weight";
const TRIGGER: &str = "lorelei.trigger_vector";
const DESCRIPTION: &str = "lorelei_adapter";
const FORMAT: u32 = 1;

impl Adapter {
    /// Writes the adapter aside, then under its name. The same adapter gives the same bytes.
    pub fn save(&self, path: &Path) -> Result<(), LoraError> {
        let bytes = self.to_bytes().map_err(|problem| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        })?;
        dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors = BTreeMap::new();
        for (name, layer) in &self.layers {
            tensors.insert(format!("{PREFIX}{name}{A_SUFFIX}"), layer.a.clone());
            tensors.insert(format!("{PREFIX}{name}{B_SUFFIX}"), layer.b.clone());
        }
        tensors.extend(
            self.trigger
                .clone()
                .map(|trigger| (TRIGGER.to_owned(), trigger)),
        );
        let description =
            serde_json::to_string(&self.description).map_err(|error| error.to_string())?;
        tensor_file::to_bytes(&tensors, DESCRIPTION, description)
    }

    /// Reads an adapter written by [`Adapter::save`]. Damaged files, numbers that are none and factors that do not belong together
    /// are errors that name the file.
    pub fn load(path: &Path, device: &Device) -> Result<Self, LoraError> {
        let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
        Self::from_bytes(&bytes, device).map_err(|problem| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        })
    }

    fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, String> {
        let (description, tensors) = tensor_file::from_bytes(bytes, DESCRIPTION, device)?;
        let description: AdapterDescription = serde_json::from_str(&description)
            .map_err(|error| format!("the description in the header is damaged: {error}"))?;
        if description.format != FORMAT {
            return Err(format!(
                "adapter format {} is not known ({FORMAT} is); update Lorelei",
                description.format
            ));
        }
        if !(description.alpha.is_finite() && description.alpha > 0.0) {
            return Err(format!(
                "the header says alpha {}, which no training allows; it was changed or damaged",
                description.alpha
            ));
        }
        let (layers, trigger) = sort(tensors)?;
        for (name, LayerFactors { a, b }) in &layers {
            let rank = description.rank;
            if a.rank() != 2 || b.rank() != 2 || a.dims()[0] != rank || b.dims()[1] != rank {
                return Err(format!(
                    "layer {name}: lora_A {:?} and lora_B {:?} are not of rank {rank}",
                    a.dims(),
                    b.dims()
                ));
            }
        }
        if layers.is_empty() || description.rank == 0 {
            return Err("no adapter tensors in it".to_owned());
        }
        Ok(Self {
            description,
            layers,
            trigger,
        })
    }
}

/// Pairs the factors of each layer and finds the trigger vector.
fn sort(
    tensors: BTreeMap<String, Tensor>,
) -> Result<(BTreeMap<String, LayerFactors>, Option<Tensor>), String> {
    let mut factors: BTreeMap<String, (Option<Tensor>, Option<Tensor>)> = BTreeMap::new();
    let mut trigger = None;
    for (name, tensor) in tensors {
        let layer = name.strip_prefix(PREFIX);
        if tensor.dtype() != DType::F32 {
            return Err(format!(
                "tensor {name:?} is {:?}, expected F32",
                tensor.dtype()
            ));
        } else if name == TRIGGER {
            trigger = Some(tensor);
        } else if let Some(layer) = layer.and_then(|rest| rest.strip_suffix(A_SUFFIX)) {
            factors.entry(layer.to_owned()).or_default().0 = Some(tensor);
        } else if let Some(layer) = layer.and_then(|rest| rest.strip_suffix(B_SUFFIX)) {
            factors.entry(layer.to_owned()).or_default().1 = Some(tensor);
        } else {
            return Err(format!("unexpected tensor {name:?}"));
        }
    }
    let mut layers = BTreeMap::new();
    for (name, pair) in factors {
        let (Some(a), Some(b)) = pair else {
            return Err(format!("layer {name} has only one of lora_A and lora_B"));
        };
        layers.insert(name, LayerFactors { a, b });
    }
    Ok((layers, trigger))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    use super::*;
    use crate::adapter::{BaseIdentity, Targets};

    fn adapter() -> Adapter {
        let tensor = |values: &[f32], shape: (usize, usize)| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let factors = LayerFactors {
            a: tensor(&[0.1, -2.5e-30, 3.0], (1, 3)),
            b: tensor(&[1.0, f32::MIN_POSITIVE], (2, 1)),
        };
        Adapter {
            description: AdapterDescription {
                format: FORMAT,
                rank: 1,
                alpha: 2.0,
                dropout: 0.25,
                targets: Targets::default(),
                base: BaseIdentity {
                    name: "base".into(),
                    version: 1,
                    sha256: "00".into(),
                },
                trigger_words: vec!["élan".into()],
                lorelei_version: "0.1.0".into(),
                data_hash: "ff".into(),
                seed: 7,
                step: 3,
                validation_loss: Some(0.5),
            },
            layers: BTreeMap::from([("transformer.proj_out".to_owned(), factors)]),
            trigger: Some(Tensor::from_slice(&[1.0f32, 2.0], 2, &Device::Cpu).unwrap()),
        }
    }

    #[test]
    fn round_trip_is_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (
            folder.path().join("a.safetensors"),
            folder.path().join("b.safetensors"),
        );
        adapter().save(&first).unwrap();
        let loaded = Adapter::load(&first, &Device::Cpu).unwrap();
        assert_eq!(loaded.description, adapter().description);
        loaded.save(&second).unwrap();
        assert_eq!(
            std::fs::read(&first).unwrap(),
            std::fs::read(&second).unwrap()
        );
    }

    proptest! {
        #[test]
        fn every_finite_number_of_the_description_survives(
            bits in prop::array::uniform3(any::<u64>()),
        ) {
            let [alpha, dropout, loss] = bits.map(f64::from_bits);
            let alpha = alpha.abs();
            prop_assume!(alpha.is_finite() && alpha > 0.0 && dropout.is_finite() && loss.is_finite());
            let mut adapter = adapter();
            adapter.description.alpha = alpha;
            adapter.description.dropout = dropout;
            adapter.description.validation_loss = Some(loss);
            let loaded = Adapter::from_bytes(&adapter.to_bytes().unwrap(), &Device::Cpu).unwrap();
            let description = loaded.description;
            prop_assert_eq!(
                [description.alpha, description.dropout, description.validation_loss.unwrap()]
                    .map(f64::to_bits),
                [alpha, dropout, loss].map(f64::to_bits)
            );
        }
    }

    #[test]
    fn an_impossible_alpha_is_refused() {
        for alpha in [0.0, -16.0] {
            let mut adapter = adapter();
            adapter.description.alpha = alpha;
            let error = Adapter::from_bytes(&adapter.to_bytes().unwrap(), &Device::Cpu);
            assert!(error.unwrap_err().contains("alpha"), "{alpha}");
        }
    }

    #[test]
    fn names_and_orientation_are_pefts() {
        let bytes = adapter().to_bytes().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            file.tensor("base_model.model.transformer.proj_out.lora_A.weight")
                .unwrap()
                .shape(),
            [1, 3]
        );
        assert_eq!(
            file.tensor("base_model.model.transformer.proj_out.lora_B.weight")
                .unwrap()
                .shape(),
            [2, 1]
        );
    }

    #[test]
    fn damaged_files_are_named_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.safetensors");
        let good = adapter().to_bytes().unwrap();
        let mut claims = good.clone();
        claims[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        let mut poisoned = adapter();
        let nan = Tensor::from_slice(&[f32::NAN, 0.0], (2, 1), &Device::Cpu).unwrap();
        poisoned.layers.get_mut("transformer.proj_out").unwrap().b = nan;
        for (bytes, expected) in [
            (claims, "safetensors"),
            (good[..good.len() - 1].to_vec(), "safetensors"),
            (Vec::new(), "safetensors"),
            (poisoned.to_bytes().unwrap(), "lora_B"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Adapter::load(&path, &Device::Cpu).unwrap_err().to_string();
            assert!(
                error.contains("bad.safetensors") && error.contains(expected),
                "{error}"
            );
        }
    }
}
