//! The adapter's file: one safetensors with PEFT's tensor names and orientation, and the description in its header.
//!
//! `base_model.model.LAYER.lora_A.weight` is `[rank, inputs]`, `base_model.model.LAYER.lora_B.weight` is `[outputs, rank]`;
//! `lorelei.trigger_vector` is `[condition width]`. The header's `lorelei_adapter` is the description as JSON.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{Adapter, AdapterDescription, LayerFactors};
use crate::atomic_file::write_atomically;
use crate::error::LoraError;

const PREFIX: &str = "base_model.model.";
const A_SUFFIX: &str = ".lora_A.weight";
const B_SUFFIX: &str = ".lora_B.weight";
const TRIGGER: &str = "lorelei.trigger_vector";
const DESCRIPTION: &str = "lorelei_adapter";
const FORMAT: u32 = 1;

impl Adapter {
    /// Writes the adapter aside, then under its name. The same adapter gives the same bytes.
    pub fn save(&self, path: &Path) -> Result<(), LoraError> {
        let bytes = self.to_bytes().map_err(|problem| LoraError::BadFile { path: path.to_owned(), problem })?;
        write_atomically(path, &bytes)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for (name, layer) in &self.layers {
            tensors.insert(format!("{PREFIX}{name}{A_SUFFIX}"), little_endian(&layer.a)?);
            tensors.insert(format!("{PREFIX}{name}{B_SUFFIX}"), little_endian(&layer.b)?);
        }
        if let Some(trigger) = &self.trigger {
            tensors.insert(TRIGGER.to_owned(), little_endian(trigger)?);
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (name, (shape, bytes)) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|error| error.to_string())?;
            views.push((name.as_str(), view));
        }
        let description = serde_json::to_string(&self.description).map_err(|error| error.to_string())?;
        let metadata = HashMap::from([(DESCRIPTION.to_owned(), description)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
    }

    /// Reads an adapter written by [`Adapter::save`]. Damaged files, numbers that are none and factors that do not belong together
    /// are errors that name the file.
    pub fn load(path: &Path, device: &Device) -> Result<Self, LoraError> {
        let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
        Self::from_bytes(&bytes, device).map_err(|problem| LoraError::BadFile { path: path.to_owned(), problem })
    }

    fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, String> {
        let damaged = |error: safetensors::SafeTensorError| format!("not a readable safetensors file ({error}); copy or train it again");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let description = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(DESCRIPTION))
            .ok_or("no Lorelei description in the header: this is not an adapter that lora-train wrote")?;
        let description: AdapterDescription =
            serde_json::from_str(description).map_err(|error| format!("the description in the header is damaged: {error}"))?;
        if description.format != FORMAT {
            return Err(format!("adapter format {} is newer than this program knows ({FORMAT}); update Lorelei", description.format));
        }
        let mut factors: BTreeMap<String, (Option<Tensor>, Option<Tensor>)> = BTreeMap::new();
        let mut trigger = None;
        for (name, view) in file.tensors() {
            let tensor = finite_tensor(&name, &view, device)?;
            let layer = name.strip_prefix(PREFIX);
            if name == TRIGGER {
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
            let rank = description.rank;
            if a.rank() != 2 || b.rank() != 2 || a.dims()[0] != rank || b.dims()[1] != rank {
                return Err(format!("layer {name}: lora_A {:?} and lora_B {:?} are not of rank {rank}", a.dims(), b.dims()));
            }
            layers.insert(name, LayerFactors { a, b });
        }
        if layers.is_empty() {
            return Err("no adapter tensors in it".to_owned());
        }
        Ok(Self { description, layers, trigger })
    }
}

fn little_endian(tensor: &Tensor) -> Result<(Vec<usize>, Vec<u8>), String> {
    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(|error| error.to_string())?;
    Ok((tensor.dims().to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
}

fn finite_tensor(name: &str, view: &TensorView<'_>, device: &Device) -> Result<Tensor, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("tensor {name:?} is {:?}, expected F32", view.dtype()));
    }
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("tensor {name:?} holds {value}: training went wrong, or the file is damaged; train it again"));
    }
    let tensor = Tensor::from_vec(values, view.shape(), device).and_then(|tensor| tensor.to_dtype(DType::F32));
    tensor.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{BaseIdentity, Targets};

    fn adapter() -> Adapter {
        let tensor = |values: &[f32], shape: (usize, usize)| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let factors = LayerFactors { a: tensor(&[0.1, -2.5e-30, 3.0], (1, 3)), b: tensor(&[1.0, f32::MIN_POSITIVE], (2, 1)) };
        Adapter {
            description: AdapterDescription {
                format: FORMAT,
                rank: 1,
                alpha: 2.0,
                dropout: 0.25,
                targets: Targets::default(),
                base: BaseIdentity { name: "base".into(), version: 1, sha256: "00".into() },
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
        let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        adapter().save(&first).unwrap();
        let loaded = Adapter::load(&first, &Device::Cpu).unwrap();
        assert_eq!(loaded.description, adapter().description);
        loaded.save(&second).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    }

    #[test]
    fn names_and_orientation_are_pefts() {
        let bytes = adapter().to_bytes().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("base_model.model.transformer.proj_out.lora_A.weight").unwrap().shape(), [1, 3]);
        assert_eq!(file.tensor("base_model.model.transformer.proj_out.lora_B.weight").unwrap().shape(), [2, 1]);
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
            assert!(error.contains("bad.safetensors") && error.contains(expected), "{error}");
        }
    }
}
