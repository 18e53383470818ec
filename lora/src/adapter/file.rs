//! Lorelei's own file: one safetensors with PEFT's tensor names and orientation, and the description in its header.
//!
//! `base_model.model.LAYER.lora_A.weight` is `[rank, inputs]`, `base_model.model.LAYER.lora_B.weight` is `[outputs, rank]`;
//! `lorelei.trigger_vector` is `[condition width]`. The header's `lorelei_adapter` is the description as JSON. Format 2 adds what plain
//! LoRA of one rank does not need: `lora_magnitude_vector` (`dora_scale` `[1, inputs]` for lengths of inputs), `lokr_w1`, `lokr_w2`, and
//! in the description the scales of layers that differ.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use checkpoint::TensorFile;
use nn::{Delta, Magnitude};
use serde::{Deserialize, Serialize};

use super::{Adapter, AdapterDescription, AdapterFormat, LayerFactors, Method, read};
use crate::error::LoraError;
use crate::tensor_file;

const PREFIX: &str = "base_model.model.";
const TRIGGER: &str = "lorelei.trigger_vector";
const DESCRIPTION: &str = "lorelei_adapter";
/// What trainings of plain LoRA write.
pub(super) const FORMAT: u32 = 1;
/// What only newer versions read.
const FORMAT_OF_ANY_METHOD: u32 = 2;

/// The description as it is in the header.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    description: AdapterDescription,
    /// Scales of layers for which alpha / rank of the description is not right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scales: BTreeMap<String, f64>,
    /// Texts that came from the file of another program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    /// What that file called its base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stated_base: Option<String>,
}

impl Adapter {
    /// Writes the adapter aside, then under its name. The same adapter gives the same bytes.
    pub fn save(&self, path: &Path) -> Result<(), LoraError> {
        let bytes = self.to_bytes().map_err(|problem| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        })?;
        dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors = BTreeMap::new();
        for (name, layer) in &self.layers {
            tensors.extend(peft_tensors(&format!("{PREFIX}{name}"), layer)?);
        }
        tensors.extend(
            self.trigger
                .clone()
                .map(|trigger| (TRIGGER.to_owned(), trigger)),
        );
        let description =
            serde_json::to_string(&self.header()).map_err(|error| error.to_string())?;
        tensor_file::to_bytes(&tensors, DESCRIPTION, description)
    }

    fn header(&self) -> Header {
        let AdapterDescription { rank, alpha, .. } = self.description;
        let usual = alpha / rank as f64;
        let differs = |(_, layer): &(&String, &LayerFactors)| {
            layer.method() != Method::Lora || layer.rank() != Some(rank) || layer.scale != usual
        };
        let scales: BTreeMap<String, f64> = self
            .layers
            .iter()
            .filter(differs)
            .map(|(name, layer)| (name.clone(), layer.scale))
            .collect();
        let is_plain =
            scales.is_empty() && self.metadata.is_empty() && self.description.base.is_some();
        Header {
            description: AdapterDescription {
                format: if is_plain {
                    FORMAT
                } else {
                    FORMAT_OF_ANY_METHOD
                },
                ..self.description.clone()
            },
            scales,
            metadata: self.metadata.clone(),
            stated_base: self.stated_base.clone(),
        }
    }
}

/// A layer's tensors under PEFT's names.
pub(super) fn peft_tensors(
    layer: &str,
    factors: &LayerFactors,
) -> Result<Vec<(String, Tensor)>, String> {
    let mut tensors = match &factors.delta {
        Delta::LowRank { a, b } => vec![
            (format!("{layer}.lora_A.weight"), a.clone()),
            (format!("{layer}.lora_B.weight"), b.clone()),
        ],
        Delta::Kronecker { outer, inner } => vec![
            (format!("{layer}.lokr_w1"), outer.clone()),
            (format!("{layer}.lokr_w2"), inner.clone()),
        ],
    };
    match &factors.magnitude {
        None => {}
        Some(Magnitude::OfOutputs(values)) => {
            tensors.push((format!("{layer}.lora_magnitude_vector"), values.clone()));
        }
        Some(Magnitude::OfInputs(values)) => {
            let row = values.unsqueeze(0).map_err(|error| error.to_string())?;
            tensors.push((format!("{layer}.dora_scale"), row));
        }
    }
    Ok(tensors)
}

/// Whether a file is one of ours.
pub(super) fn is_own(tensors: &TensorFile) -> bool {
    tensors.metadata().contains_key(DESCRIPTION)
}

/// Reads a file written by [`Adapter::save`].
pub(super) fn read(
    tensors: &TensorFile,
    alpha: Option<f64>,
    device: &Device,
) -> Result<Adapter, String> {
    let header = header(tensors)?;
    let description = &header.description;
    if let Some(alpha) = alpha.filter(|alpha| *alpha != description.alpha) {
        return Err(format!(
            "it states alpha {} itself; leave --alpha {alpha} out",
            description.alpha
        ));
    }
    let (trigger, names): (Vec<&str>, Vec<&str>) =
        tensors.names().partition(|name| *name == TRIGGER);
    let usual = description.alpha / description.rank as f64;
    let scale = |name: &str| Some(header.scales.get(name).copied().unwrap_or(usual));
    let layers = read::own_layers(tensors, &names, scale, device)?;
    for (name, layer) in &layers {
        if layer.rank() != Some(description.rank) && !header.scales.contains_key(name) {
            return Err(format!(
                "layer {name}: its factors {:?} are not of rank {}",
                layer
                    .tensors()
                    .iter()
                    .map(|tensor| tensor.dims())
                    .collect::<Vec<_>>(),
                description.rank
            ));
        }
    }
    let trigger = trigger
        .first()
        .map(|name| read::tensor(tensors, name, device));
    Ok(Adapter {
        layers,
        trigger: trigger.transpose()?,
        format: AdapterFormat::Lorelei,
        metadata: header.metadata,
        stated_base: header.stated_base,
        description: header.description,
    })
}

fn header(tensors: &TensorFile) -> Result<Header, String> {
    let text = tensors
        .metadata()
        .get(DESCRIPTION)
        .ok_or_else(|| format!("no {DESCRIPTION:?} in the header"))?;
    let header: Header = serde_json::from_str(text)
        .map_err(|error| format!("the description in the header is damaged: {error}"))?;
    let description = &header.description;
    if !(FORMAT..=FORMAT_OF_ANY_METHOD).contains(&description.format) {
        return Err(format!(
            "adapter format {} is not known ({FORMAT_OF_ANY_METHOD} is); update Lorelei",
            description.format
        ));
    }
    let is_possible = |alpha: f64| alpha.is_finite() && alpha > 0.0;
    if description.rank == 0 {
        return Err("the header says rank 0; it was changed or damaged".to_owned());
    }
    let scales = header.scales.values().copied();
    if let Some(alpha) = std::iter::once(description.alpha)
        .chain(scales)
        .find(|alpha| !is_possible(*alpha))
    {
        return Err(format!(
            "the header says alpha {alpha}, which no training allows; it was changed or damaged"
        ));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    use super::*;
    use crate::adapter::{BaseIdentity, Targets};

    fn from_bytes(bytes: Vec<u8>) -> Result<Adapter, String> {
        let file = TensorFile::from_bytes(bytes, "test").map_err(|error| error.to_string())?;
        read(&file, None, &Device::Cpu)
    }

    fn adapter() -> Adapter {
        let tensor = |values: &[f32], shape: (usize, usize)| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let factors = LayerFactors::low_rank(
            tensor(&[0.1, -2.5e-30, 3.0], (1, 3)),
            tensor(&[1.0, f32::MIN_POSITIVE], (2, 1)),
            2.0,
        );
        let description = AdapterDescription {
            format: FORMAT,
            rank: 1,
            alpha: 2.0,
            dropout: 0.25,
            targets: Targets::default(),
            base: Some(BaseIdentity {
                name: "base".into(),
                version: 1,
                sha256: "00".into(),
                causal: None,
            }),
            trigger_words: vec!["élan".into()],
            lorelei_version: "0.1.0".into(),
            data_hash: "ff".into(),
            seed: 7,
            step: 3,
            validation_loss: Some(0.5),
            changes: vec![],
        };
        let layers = BTreeMap::from([("transformer.proj_out".to_owned(), factors)]);
        let trigger = Tensor::from_slice(&[1.0f32, 2.0], 2, &Device::Cpu).unwrap();
        Adapter::trained(description, layers, Some(trigger))
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
            adapter.layers.values_mut().for_each(|layer| layer.scale = alpha);
            adapter.description.dropout = dropout;
            adapter.description.validation_loss = Some(loss);
            let loaded = from_bytes(adapter.to_bytes().unwrap()).unwrap();
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
            adapter
                .layers
                .values_mut()
                .for_each(|layer| layer.scale = alpha);
            let error = from_bytes(adapter.to_bytes().unwrap());
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
        let a = Tensor::ones((1, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let poison = LayerFactors::low_rank(a, nan, 2.0);
        poisoned
            .layers
            .insert("transformer.proj_out".to_owned(), poison);
        for (bytes, expected) in [
            (claims, "safetensors"),
            (good[..good.len() - 1].to_vec(), "cut short"),
            (Vec::new(), "empty"),
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
