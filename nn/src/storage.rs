//! Reading f32 tensors as slices, and making tensors of vectors.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The values of a contiguous f32 CPU storage, as a custom op receives it.
pub(crate) fn slice<'a>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("{op}: input {:?} is not contiguous", layout.shape()),
    }
}

/// Calls `read` with the values of a contiguous f32 tensor on the CPU.
pub(crate) fn with_values<R>(
    op: &str,
    tensor: &Tensor,
    read: impl FnOnce(&[f32]) -> R,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(slice(op, storage, layout)?)),
        _ => bail!("{op}: runs on the CPU only"),
    }
}

/// Copies a tensor's values, whatever its strides.
pub(crate) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The gradient that reached an op, as contiguous f32: broadcasts and transposes arrive as strided views.
pub(crate) fn incoming(gradient: &Tensor) -> Result<Tensor> {
    gradient.contiguous()
}
