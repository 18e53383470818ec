//! ComfyUI's names: `diffusion_model.LAYER.lora_down.weight`, `.lora_up.weight`, `.alpha`, `.dora_scale`, `.lokr_w1`, `.lokr_w2`
//! (`comfy/lora.py`, `comfy/weight_adapter/`).

use std::collections::BTreeMap;

use candle_core::Tensor;
use nn::{Delta, Magnitude};

use super::COMFYUI_PREFIX as PREFIX;
use crate::adapter::{Adapter, LayerFactors};
use crate::tensor_file;

/// Says in the header who made the file.
const MADE_BY: &str = "lorelei_version";

pub(super) fn to_bytes(adapter: &Adapter) -> Result<Vec<u8>, String> {
    let mut tensors = BTreeMap::new();
    for (name, layer) in &adapter.layers {
        // Another program's file may have the prefix already.
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let named = named_tensors(layer).map_err(|error| error.to_string())?;
        tensors.extend(
            named
                .into_iter()
                .map(|(part, tensor)| (format!("{PREFIX}{name}.{part}"), tensor)),
        );
    }
    let mut header = adapter.header_for_others()?;
    header.insert(MADE_BY.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    tensor_file::to_bytes_with(&tensors, header)
}

fn named_tensors(layer: &LayerFactors) -> candle_core::Result<Vec<(&'static str, Tensor)>> {
    let mut tensors = match &layer.delta {
        Delta::LowRank { a, b } => vec![
            ("lora_down.weight", a.clone()),
            ("lora_up.weight", b.clone()),
            ("alpha", Tensor::new(layer.alpha() as f32, a.device())?),
        ],
        // Whole matrices have no rank to divide an alpha by: the scale goes into one of them.
        Delta::Kronecker { outer, inner } => vec![
            ("lokr_w1", (outer * layer.scale)?),
            ("lokr_w2", inner.clone()),
        ],
    };
    match &layer.magnitude {
        None => {}
        Some(Magnitude::OfOutputs(values)) => tensors.push(("dora_scale", values.unsqueeze(1)?)),
        Some(Magnitude::OfInputs(values)) => tensors.push(("dora_scale", values.unsqueeze(0)?)),
    }
    Ok(tensors)
}
