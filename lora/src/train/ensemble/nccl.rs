//! Gradients from card to card by NCCL. Type-checked only: it has not run on cards.

use std::ffi::c_char;
use std::rc::Rc;

use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, ReduceOp};
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp1, Layout, Shape, Tensor};

use super::Ensemble;
use crate::error::LoraError;

/// Length of NCCL's name for a group of cards.
const ID_BYTES: usize = 128;

/// Processes with a card each; numbers on the host go the way they went without cards.
pub(super) struct Nccl {
    hosts: Rc<dyn Ensemble>,
    cards: Comm,
}

impl Nccl {
    /// Every process calls this with its own card.
    pub(super) fn join(hosts: Rc<dyn Ensemble>, card: &CudaDevice) -> Result<Self, LoraError> {
        let id = shared_id(&*hosts)?;
        let cards = Comm::from_rank(card.cuda_stream(), hosts.rank(), hosts.size(), id);
        let cards = cards.map_err(|error| LoraError::Ensemble {
            problem: format!(
                "NCCL cannot join the cards ({error:?}); every process needs a card of its own (--device auto gives them out)"
            ),
        })?;
        Ok(Self { hosts, cards })
    }
}

/// Process 0 makes the group's name, the others are told.
fn shared_id(hosts: &dyn Ensemble) -> Result<Id, LoraError> {
    let mut bytes = Vec::new();
    if hosts.is_first() {
        let id = Id::new().map_err(|error| LoraError::Ensemble {
            problem: format!("NCCL does not start: {error:?}"),
        })?;
        bytes = id.internal().iter().map(|&byte| byte as u8).collect();
    }
    hosts.broadcast(&mut bytes)?;
    let mut internal = [0 as c_char; ID_BYTES];
    for (place, byte) in internal.iter_mut().zip(bytes) {
        *place = byte as c_char;
    }
    Ok(Id::uninit(internal))
}

impl Ensemble for Nccl {
    fn rank(&self) -> usize {
        self.hosts.rank()
    }

    fn size(&self) -> usize {
        self.hosts.size()
    }

    fn rank_on_host(&self) -> usize {
        self.hosts.rank_on_host()
    }

    fn size_on_host(&self) -> usize {
        self.hosts.size_on_host()
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), LoraError> {
        self.hosts.sum(numbers)
    }

    fn sum_tensor(&self, tensor: &Tensor) -> Result<Tensor, LoraError> {
        Ok(tensor
            .contiguous()?
            .apply_op1_no_bwd(&SumOverCards(&self.cards))?)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), LoraError> {
        self.hosts.broadcast(bytes)
    }

    fn wait_for_all(&self) -> Result<(), LoraError> {
        self.hosts.wait_for_all()
    }

    fn leave(&self) -> Result<(), LoraError> {
        self.hosts.leave()
    }

    fn abort(&self, exit_code: u8) {
        self.hosts.abort(exit_code);
    }
}

/// The sum as an operation on a tensor, which is how its memory on the card is reached.
struct SumOverCards<'a>(&'a Comm);

impl CustomOp1 for SumOverCards<'_> {
    fn name(&self) -> &'static str {
        "sum over cards"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("gradients of a card are expected, these are on the host")
    }

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (first, end) = layout.contiguous_offsets().ok_or_else(|| {
            candle_core::Error::Msg("gradients to be summed must be contiguous".to_owned())
        })?;
        let values = storage.as_cuda_slice::<f32>()?.slice(first..end);
        let mut sum = storage.device.alloc_zeros::<f32>(end - first)?;
        let summed = self.0.all_reduce(&values, &mut sum, &ReduceOp::Sum);
        summed.map_err(|error| candle_core::Error::Msg(format!("NCCL: {error:?}")))?;
        let sum = CudaStorage::wrap_cuda_slice(sum, storage.device.clone());
        Ok((sum, layout.shape().clone()))
    }
}
