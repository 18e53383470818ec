//! Processes that `mpirun` or `srun` started, joined by Open MPI.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use candle_core::{Device, Tensor};

use super::Ensemble;
use super::open_mpi::OpenMpi;
use crate::error::LoraError;

/// MPI counts in 32 bits; so many items go in one call.
const ITEMS_AT_ONCE: usize = 1 << 30;
/// How often a process that waits for the others looks whether they have come.
const PATIENCE: Duration = Duration::from_millis(1);

/// This process as one of those that were started together.
pub(super) struct Mpi {
    library: OpenMpi,
    rank: usize,
    size: usize,
    rank_on_host: usize,
    size_on_host: usize,
    /// Only the thread that joined may call MPI.
    _here: PhantomData<Rc<()>>,
}

impl Mpi {
    pub(super) fn join() -> Result<Self, LoraError> {
        let library = OpenMpi::open_and_join().map_err(|problem| LoraError::Ensemble {
            problem: format!(
                "mpirun or srun started this process, but {problem}; install Open MPI's library (on Debian: apt install openmpi-bin) on every host, or start without mpirun"
            ),
        })?;
        let (rank, size) = failed(library.place())?;
        let (rank_on_host, size_on_host) = failed(library.place_on_host())?;
        Ok(Self {
            library,
            rank,
            size,
            rank_on_host,
            size_on_host,
            _here: PhantomData,
        })
    }
}

fn failed<T>(result: Result<T, String>) -> Result<T, LoraError> {
    result.map_err(|problem| LoraError::Ensemble { problem })
}

impl Ensemble for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn rank_on_host(&self) -> usize {
        self.rank_on_host
    }

    fn size_on_host(&self) -> usize {
        self.size_on_host
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), LoraError> {
        let mut parts = numbers.chunks_mut(ITEMS_AT_ONCE);
        failed(parts.try_for_each(|part| self.library.sum_f64(part)))
    }

    fn sum_tensor(&self, tensor: &Tensor) -> Result<Tensor, LoraError> {
        let mut values = tensor.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
        let mut parts = values.chunks_mut(ITEMS_AT_ONCE);
        failed(parts.try_for_each(|part| self.library.sum_f32(part)))?;
        Ok(Tensor::from_vec(values, tensor.shape(), tensor.device())?)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), LoraError> {
        self.wait_for_all()?;
        let mut length = (bytes.len() as u64).to_le_bytes();
        failed(self.library.broadcast(&mut length))?;
        bytes.resize(u64::from_le_bytes(length) as usize, 0);
        let mut parts = bytes.chunks_mut(ITEMS_AT_ONCE);
        failed(parts.try_for_each(|part| self.library.broadcast(part)))
    }

    fn wait_for_all(&self) -> Result<(), LoraError> {
        failed(self.library.wait_for_all(PATIENCE))
    }

    fn leave(&self) -> Result<(), LoraError> {
        // The library waits for the others too, but without a pause.
        self.wait_for_all()?;
        failed(self.library.leave())
    }

    fn abort(&self, exit_code: u8) {
        self.library.abort(exit_code.into());
    }
}
