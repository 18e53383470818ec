//! One process: its sums are what it has.

use candle_core::Tensor;

use super::Ensemble;
use crate::error::LoraError;

/// The only process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ensemble for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn rank_on_host(&self) -> usize {
        0
    }
    fn size_on_host(&self) -> usize {
        1
    }
    fn sum(&self, _numbers: &mut [f64]) -> Result<(), LoraError> {
        Ok(())
    }
    fn sum_tensor(&self, tensor: &Tensor) -> Result<Tensor, LoraError> {
        Ok(tensor.clone())
    }
    fn broadcast(&self, _bytes: &mut Vec<u8>) -> Result<(), LoraError> {
        Ok(())
    }
    fn wait_for_all(&self) -> Result<(), LoraError> {
        Ok(())
    }
    fn leave(&self) -> Result<(), LoraError> {
        Ok(())
    }
    fn abort(&self, _exit_code: u8) {}
}
