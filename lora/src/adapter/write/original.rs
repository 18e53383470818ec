//! The original project's `.pt`: `{"lora_state_dict": {LAYER.lora_A [inputs, rank], LAYER.lora_B [rank, outputs]}, "step": N}`.
//!
//! Its `lora_infer.py` knows neither rank nor alpha of a file: it multiplies by 16 / 8 (`lora_config`) whatever the rank is. So B carries
//! what the scale differs from that. Factors of a smaller rank are filled up with zeros to 8, so that 16 / rank is 2 as well; with a
//! larger one the file says its alpha, which the original passes over.

use nn::Delta;

use super::pickle::StateDict;
use crate::adapter::read::{ORIGINAL_ALPHA, ORIGINAL_ALPHA_KEY};
use crate::adapter::{Adapter, Method};

/// The original's `lora_config['rank']`.
const ORIGINAL_RANK: usize = 8;
/// What `lora_infer.py` multiplies by.
const ORIGINAL_SCALE: f64 = ORIGINAL_ALPHA / ORIGINAL_RANK as f64;

pub(super) fn to_bytes(adapter: &Adapter) -> Result<Vec<u8>, String> {
    if let Some((name, method)) = adapter.other_than(&[Method::Lora]) {
        return Err(format!(
            "layer {name} is {method}; the original's programs know LoRA alone: write --to comfyui or merged instead"
        ));
    }
    let ranks = adapter.layers.values().filter_map(|layer| layer.rank());
    let rank = ranks.max().unwrap_or(0).max(ORIGINAL_RANK);
    let mut tensors = StateDict::new(adapter.description.step);
    if rank > ORIGINAL_RANK {
        tensors.number(ORIGINAL_ALPHA_KEY, rank * ORIGINAL_SCALE as usize);
    }
    tell_of_scales(adapter, rank);
    for (name, layer) in &adapter.layers {
        let Delta::LowRank { a, b } = &layer.delta else {
            continue;
        };
        let factor = layer.scale / ORIGINAL_SCALE;
        let turned = |tensor: &candle_core::Tensor, dimension: usize, factor: f64| {
            let missing = rank - tensor.dim(dimension)?;
            let filled = tensor.pad_with_zeros(dimension, 0, missing)?;
            // Multiplying by 1 would turn -0 and denormals; most files have just this scale.
            let scaled = if factor == 1.0 {
                filled
            } else {
                (filled * factor)?
            };
            let turned = scaled.t()?.contiguous()?;
            Ok((
                turned.dims().to_vec(),
                turned.flatten_all()?.to_vec1::<f32>()?,
            ))
        };
        let both = turned(a, 0, 1.0).and_then(|a| Ok((a, turned(b, 1, factor)?)));
        let (a, b) = both.map_err(|error: candle_core::Error| error.to_string())?;
        let name = self::name(name);
        tensors.push(format!("{name}.lora_A"), a.0, a.1);
        tensors.push(format!("{name}.lora_B"), b.0, b.1);
    }
    tensors.to_bytes()
}

/// The name that the original gives a layer: ComfyUI's prefix is ComfyUI's own.
pub(super) fn name(name: &str) -> &str {
    name.strip_prefix(super::COMFYUI_PREFIX).unwrap_or(name)
}

fn tell_of_scales(adapter: &Adapter, rank: usize) {
    let mut scales = adapter.layers.values().map(|layer| layer.scale);
    if let Some(scale) = scales.find(|scale| *scale != ORIGINAL_SCALE) {
        tracing::warn!(
            "lora_infer.py multiplies by {ORIGINAL_SCALE} whatever a file says, and the adapter's scale is {scale:.4}: its lora_B is written times {:.4}, so that the result is the same",
            scale / ORIGINAL_SCALE
        );
    }
    if rank > ORIGINAL_RANK {
        tracing::warn!(
            "rank {rank} instead of {ORIGINAL_RANK}: lora_infer.py takes it as it is; programs that divide alpha by the rank need alpha {}, which the file says",
            rank as f64 * ORIGINAL_SCALE
        );
    }
}
