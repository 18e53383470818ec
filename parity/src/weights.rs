//! Weights in every format in which they are published.

use crate::error::ParityError;
use candle_core::Device;
use checkpoint::{Format, TensorFile};
use nn::Weights;
use std::path::Path;

/// Opens a file of weights; DiffRhythm's transformer is found in whichever state dict its reference takes it from.
pub(crate) fn open(path: &Path, device: &Device) -> Result<Weights, ParityError> {
    let file = TensorFile::open(path)?;
    let file = match file.format() {
        Format::TorchPickle => checkpoint::diffrhythm::weights(&file)?.tensors,
        _ => file,
    };
    Ok(Weights::from_tensor_file(file, device))
}
