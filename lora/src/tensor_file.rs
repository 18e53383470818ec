//! Tensors with a description: one safetensors file whose header holds a JSON text under a key of ours.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// The file's bytes; the same tensors and text give the same bytes. f32 and u32 are kept bit for bit, other types are refused.
pub(crate) fn to_bytes(
    tensors: &BTreeMap<String, Tensor>,
    key: &str,
    description: String,
) -> Result<Vec<u8>, String> {
    to_bytes_with(tensors, BTreeMap::from([(key.to_owned(), description)]))
}

/// The same with several texts in the header.
pub(crate) fn to_bytes_with(
    tensors: &BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        stored.push((name, tensor.dims().to_vec(), little_endian(tensor)?));
    }
    let mut views = Vec::with_capacity(stored.len());
    for (name, shape, (dtype, bytes)) in &stored {
        let view =
            TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| error.to_string())?;
        views.push((name.as_str(), view));
    }
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// Description and tensors of such a file. Anything damaged is an error in words: a claim of more bytes than there are, a type that is
/// neither f32 nor u32, a number that is none.
pub(crate) fn from_bytes(
    bytes: &[u8],
    key: &str,
    device: &Device,
) -> Result<(String, BTreeMap<String, Tensor>), String> {
    let damaged = |error: safetensors::SafeTensorError| {
        format!("not a readable safetensors file ({error}); the file is damaged or cut short")
    };
    let description = description(bytes, key)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let tensor = read_tensor(&name, &view, device)?;
        tensors.insert(name, tensor);
    }
    Ok((description, tensors))
}

/// Only the description.
pub(crate) fn description(bytes: &[u8], key: &str) -> Result<String, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| {
        format!("not a readable safetensors file ({error}); the file is damaged or cut short")
    })?;
    let description = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(key));
    description.cloned().ok_or_else(|| {
        format!("no {key:?} in the header: this file was not made by Lorelei for this purpose")
    })
}

/// Type and bytes of a tensor.
pub(crate) fn little_endian(tensor: &Tensor) -> Result<(Dtype, Vec<u8>), String> {
    let flat = tensor.flatten_all().map_err(|error| error.to_string())?;
    let bytes = match flat.dtype() {
        DType::F32 => flat.to_vec1::<f32>().map(|values| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }),
        DType::U32 => flat.to_vec1::<u32>().map(|values| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }),
        other => return Err(format!("a tensor of type {other:?} cannot be stored")),
    };
    let dtype = if flat.dtype() == DType::F32 {
        Dtype::F32
    } else {
        Dtype::U32
    };
    Ok((dtype, bytes.map_err(|error| error.to_string())?))
}

fn read_tensor(name: &str, view: &TensorView<'_>, device: &Device) -> Result<Tensor, String> {
    let words = view
        .data()
        .chunks_exact(4)
        .map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
    let tensor = match view.dtype() {
        Dtype::F32 => {
            let values: Vec<f32> = words.map(f32::from_le_bytes).collect();
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format!(
                    "tensor {name:?} holds {value}: training went wrong or the file is damaged; train it again"
                ));
            }
            Tensor::from_vec(values, view.shape(), device)
        }
        Dtype::U32 => Tensor::from_vec(
            words.map(u32::from_le_bytes).collect::<Vec<_>>(),
            view.shape(),
            device,
        ),
        other => return Err(format!("tensor {name:?} is {other:?}, expected F32")),
    };
    tensor.map_err(|error| error.to_string())
}
