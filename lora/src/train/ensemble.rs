//! Several processes that train one adapter together: each computes its parts of every step, and the gradients are added up.
//!
//! - `alone`: one process, for which nothing needs adding
//! - `mpi`: processes that `mpirun` or `srun` started, on one host or several
//! - `open_mpi`: the library behind that, opened at run time
//! - `nccl`: the same processes, each with a card of its own; gradients are added up from card to card

mod alone;
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod open_mpi;

use std::rc::Rc;

use candle_core::{Device, Tensor};

use crate::error::LoraError;

pub use alone::Alone;
use mpi::Mpi;

/// What processes that work together can do together. Every call but [`abort`](Self::abort) and those that only tell a number must be made
/// by all of them, in the same order.
pub trait Ensemble {
    /// This process's number; process 0 writes files and speaks to people.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// This process's number on its host.
    fn rank_on_host(&self) -> usize;
    /// How many are on its host.
    fn size_on_host(&self) -> usize;
    /// Replaces every number by its sum over all processes, the same everywhere to the last bit.
    fn sum(&self, numbers: &mut [f64]) -> Result<(), LoraError>;
    /// The sum over all processes of a flat tensor of 32-bit floats, on any device.
    fn sum_tensor(&self, tensor: &Tensor) -> Result<Tensor, LoraError>;
    /// Gives everyone the bytes of process 0.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), LoraError>;
    /// Waits until all have come here, leaving the cores to those that still work.
    fn wait_for_all(&self) -> Result<(), LoraError>;
    /// Ends the working together; nothing else can be called afterwards.
    fn leave(&self) -> Result<(), LoraError>;
    /// Ends all processes at once, whatever they are doing; returns only for a process that is alone.
    fn abort(&self, exit_code: u8);
}

impl dyn Ensemble + '_ {
    /// Whether this process writes files and speaks to people.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether it is so anywhere.
    pub(super) fn any(&self, here: bool) -> Result<bool, LoraError> {
        let mut count = [f64::from(u8::from(here))];
        self.sum(&mut count)?;
        Ok(count[0] > 0.0)
    }

    /// The number as process 0 has it: machines of different kinds round differently, and must not decide differently.
    pub(super) fn as_first_has_it(&self, number: f64) -> Result<f64, LoraError> {
        // Zero elsewhere, so that the sum is the first one's, not a number included.
        let mut numbers = [if self.is_first() { number } else { 0.0 }];
        self.sum(&mut numbers)?;
        Ok(numbers[0])
    }
}

/// The number that `mpirun` or `srun` gave this process; none if neither started it.
pub fn launched_rank() -> Option<usize> {
    const NAMES: [&str; 2] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK"];
    NAMES.iter().find_map(|name| number_in_environment(name))
}

fn number_in_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// Joins the processes that were started together with this one. Every call to the ensemble must come from the thread that joined.
///
/// # Errors
/// When `mpirun` started this process and MPI's library is missing or another than `mpirun`'s.
pub fn join() -> Result<Rc<dyn Ensemble>, LoraError> {
    if launched_rank().is_none() {
        return Ok(Rc::new(Alone));
    }
    let mpi = Mpi::join()?;
    match number_in_environment("OMPI_COMM_WORLD_SIZE") {
        Some(started) if started != mpi.size() => Err(LoraError::Ensemble {
            problem: format!(
                "mpirun started {started} processes and MPI's library sees {}: they are of different versions; put the library of this mpirun first in LD_LIBRARY_PATH",
                mpi.size()
            ),
        }),
        _ => Ok(Rc::new(mpi)),
    }
}

/// Lets gradients travel from card to card where every process has one and this build can do it.
///
/// # Errors
/// When some processes run on a card and others do not.
pub fn with_cards(
    ensemble: Rc<dyn Ensemble>,
    device: &Device,
) -> Result<Rc<dyn Ensemble>, LoraError> {
    if ensemble.size() == 1 {
        return Ok(ensemble);
    }
    let (cards, hosts) = (
        ensemble.any(!device.is_cpu())?,
        ensemble.any(device.is_cpu())?,
    );
    if cards && hosts {
        return Err(LoraError::Ensemble {
            problem:
                "some processes have a card and others have none; --device cpu is the same for all"
                    .to_owned(),
        });
    }
    #[cfg(feature = "nccl")]
    if let Device::Cuda(card) = device {
        return Ok(Rc::new(nccl::Nccl::join(ensemble, card)?));
    }
    Ok(ensemble)
}

/// Does work that leaves files for the other processes: process 0 first, then the first of each other host, then the rest.
///
/// # Errors
/// What the work returns; the others wait then until this process ends them.
pub fn in_turns<T, E: From<LoraError>>(
    ensemble: &dyn Ensemble,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    const TURNS: usize = 3;
    let turn = match (ensemble.rank(), ensemble.rank_on_host()) {
        (0, _) => 0,
        (_, 0) => 1,
        _ => 2,
    };
    for _ in 0..turn {
        ensemble.wait_for_all()?;
    }
    let done = work()?;
    for _ in turn..TURNS {
        ensemble.wait_for_all()?;
    }
    Ok(done)
}
