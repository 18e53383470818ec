//! Ops whose result is computed before they are applied, because an op of candle's is given storages and no tensors.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::sync::{Mutex, PoisonError};

/// A result that waits for its op.
pub(crate) struct Known(Mutex<Option<Tensor>>);

impl Known {
    pub(crate) fn new(result: &Tensor) -> Self {
        Self(Mutex::new(Some(result.detach())))
    }

    pub(crate) fn take(&self) -> Result<Tensor> {
        let mut result = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result.take() {
            Some(result) => result.contiguous(),
            None => bail!("the result of an op was taken already"),
        }
    }

    pub(crate) fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        let result = self.take()?;
        let values = result.flatten_all()?.to_vec1::<f32>()?;
        Ok((CpuStorage::F32(values), result.shape().clone()))
    }

    pub(crate) fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        let result = self.take()?;
        let (storage, layout) = result.storage_and_layout();
        match storage.try_clone(layout)? {
            Storage::Cuda(storage) => Ok((storage, result.shape().clone())),
            _ => bail!("the result of an op is not on its argument's device"),
        }
    }
}

/// `result`, as a function of `argument` whose gradient `backward` computes from the result's. For devices on which
/// there is no kernel of our own: candle would also compute gradients for frozen operands, and for some ops wrong ones.
///
/// # Errors
/// When candle fails.
pub(crate) fn with_backward(
    argument: &Tensor,
    result: &Tensor,
    backward: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !argument.track_op() {
        return Ok(result.detach());
    }
    argument.apply_op1(WithBackward {
        result: Known::new(result),
        backward: Box::new(backward),
    })
}

type Backward = dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync;

struct WithBackward {
    result: Known,
    backward: Box<Backward>,
}

impl CustomOp1 for WithBackward {
    fn name(&self) -> &'static str {
        "with_backward"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.result.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.result.on_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&gradient.contiguous()?).map(Some)
    }
}
