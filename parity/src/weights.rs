//! Weights in every format in which they are published.

use crate::case::Case;
use crate::error::ParityError;
use candle_core::Device;
use checkpoint::TensorFile;
use nn::Weights;
use std::path::{Path, PathBuf};

/// What the reference's file of the transformer is called, in the formats that its users have.
pub(crate) const TRANSFORMER: &[&str] =
    &["cfm_model.safetensors", "cfm_model.pt", "cfm_model_ema.pt"];

/// Opens a file of weights.
pub(crate) fn open(path: &Path, device: &Device) -> Result<Weights, ParityError> {
    Ok(Weights::from_tensor_file(TensorFile::open(path)?, device))
}

/// Opens a file with DiffRhythm's transformer, found in whichever state dict its reference takes it from.
pub(crate) fn open_transformer(path: &Path, device: &Device) -> Result<Weights, ParityError> {
    let found = checkpoint::diffrhythm::weights(&TensorFile::open(path)?)?;
    Ok(Weights::from_tensor_file(found.tensors, device))
}

/// The transformer's files in a folder.
pub(crate) fn transformers_in(folder: &Path) -> Vec<PathBuf> {
    let files = TRANSFORMER.iter().map(|file| folder.join(file));
    files.filter(|path| path.is_file()).collect()
}

/// The transformer's file that the notes name by itself or by its folder; one of another format in the same folder will do.
pub(crate) fn named_transformer(case: &Case, named: &str) -> Result<PathBuf, ParityError> {
    let path = case.path(named);
    if path.is_file() {
        return Ok(path);
    }
    let folder = match path.is_dir() {
        true => path.as_path(),
        false => path.parent().unwrap_or(&path),
    };
    let found = transformers_in(folder).into_iter().next();
    found.ok_or_else(|| {
        let files = TRANSFORMER.join(", ");
        case.missing(format!(
            "{named} beside it, or no file of weights ({files}) in it"
        ))
    })
}
