//! A base's weights as tensors of a file: what adapters are fitted to by name and folded into, with no model built of them.

use checkpoint::TensorFile;

use super::own;
use crate::error::LoraError;
use crate::models::{EMBEDDED_NAME, Hub, weights_file};
use crate::progress::Progress;

/// What the names of training checkpoints have in front of those of the model.
const TRAINING_MARK: &str = "model_state_dict.";

/// The weights of a base: `embedded`, a released model's name, or the path of a file or of a folder that holds one. Of DiffRhythm's
/// checkpoints the transformer alone, under its own names.
///
/// # Errors
/// When there is no such base, or its file cannot be fetched or read.
pub fn weights(
    base: &str,
    hub: &Hub,
    progress: &mut dyn Progress,
) -> Result<TensorFile, LoraError> {
    if base == EMBEDDED_NAME {
        return own::embedded_weights();
    }
    let path = weights_file(base, hub, progress)?;
    let file = TensorFile::open(&path)?;
    if !file.names().any(|name| name.contains(TRAINING_MARK)) {
        return Ok(file);
    }
    let found = checkpoint::diffrhythm::weights(&file)?;
    progress.note(&format!(
        "{}: the weights of {}, without {} other tensors",
        path.display(),
        found.taken_from,
        found.left_out.len()
    ));
    Ok(found.tensors)
}
