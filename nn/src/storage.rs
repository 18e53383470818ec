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

/// Calls `read` with the values of contiguous f32 tensors on the CPU.
pub(crate) fn with_values<const N: usize, R>(
    op: &str,
    tensors: [&Tensor; N],
    read: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut values: [&[f32]; N] = [&[]; N];
    for (values, (storage, layout)) in values.iter_mut().zip(&guards) {
        *values = match &**storage {
            Storage::Cpu(storage) => slice(op, storage, layout)?,
            _ => bail!("{op}: runs on the CPU only"),
        };
    }
    read(values)
}

/// A gradient for an argument that needs one: a variable, or computed from one.
pub(crate) fn gradient_for(argument: &Tensor, values: Vec<f32>) -> Result<Option<Tensor>> {
    match argument.track_op() {
        true => Tensor::from_vec(values, argument.shape(), argument.device()).map(Some),
        false => Ok(None),
    }
}

/// The gradient that reached an op, as contiguous f32: broadcasts and transposes arrive as strided views.
pub(crate) fn incoming(gradient: &Tensor) -> Result<Tensor> {
    gradient.contiguous()
}
