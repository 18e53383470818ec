//! A vector in a safetensors file.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::Vector;

/// The tensor that is read where there are several, and the one that is written.
const NAME: &str = "style";

pub(crate) fn parse(bytes: &[u8]) -> Result<Vector, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("not a whole safetensors file: {error}"))?;
    let tensors = file.tensors();
    let tensor = match tensors.as_slice() {
        [(_, only)] => only.clone(),
        _ => file.tensor(NAME).map_err(|_| {
            format!(
                "it holds {} tensors, none of them called {NAME}",
                tensors.len()
            )
        })?,
    };
    let values = floats(&tensor).ok_or_else(|| {
        format!(
            "its elements are {:?}, expected F16, BF16, F32 or F64",
            tensor.dtype()
        )
    })?;
    Ok(Vector {
        shape: tensor.shape().to_vec(),
        values,
    })
}

fn floats(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = tensor.data();
    let pairs = data.as_chunks().0.iter();
    Some(match tensor.dtype() {
        Dtype::F16 => pairs
            .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
            .collect(),
        Dtype::BF16 => pairs
            .map(|&bytes| bf16::from_le_bytes(bytes).to_f32())
            .collect(),
        Dtype::F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect(),
        Dtype::F64 => data
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f64::from_le_bytes(bytes) as f32)
            .collect(),
        _ => return None,
    })
}

pub(crate) fn serialise(
    values: &[f32],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, String> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![1, values.len()], &bytes)
        .map_err(|error| error.to_string())?;
    safetensors::serialize([(NAME, view)], metadata).map_err(|error| error.to_string())
}
