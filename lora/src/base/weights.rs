//! A base's weights as tensors of a file: what adapters are fitted to by name and folded into, with no model built of them.

use checkpoint::TensorFile;

use super::{fingerprint, own};
use crate::adapter::BaseIdentity;
use crate::error::LoraError;
use crate::models::{EMBEDDED_NAME, Hub, KnownModel, OWN_DESCRIPTION, weights_file};
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

/// The hash by which adapters know the base that has these weights: what [`BaseIdentity`](crate::adapter::BaseIdentity) records.
///
/// # Errors
/// When a tensor's bytes cannot be had.
pub(crate) fn identity_of(weights: &TensorFile) -> Result<String, LoraError> {
    if weights.metadata().contains_key(OWN_DESCRIPTION) {
        return Ok(checkpoint::sha256_of(weights, &checkpoint::Silent)?);
    }
    match checkpoint::diffrhythm::weights(weights) {
        Ok(found) => fingerprint::of(&found.tensors),
        Err(_) => fingerprint::of(weights),
    }
}

/// What adapters for the base with these weights record; a base of Lorelei's own is called what its file says.
///
/// # Errors
/// When a tensor's bytes cannot be had.
pub(crate) fn identity_named(weights: &TensorFile, name: &str) -> Result<BaseIdentity, LoraError> {
    let own = weights.metadata().get(OWN_DESCRIPTION);
    let own: serde_json::Value = own
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let version = own["version"].as_u64();
    Ok(BaseIdentity {
        name: own["name"].as_str().unwrap_or(name).to_owned(),
        version: version
            .and_then(|version| u32::try_from(version).ok())
            .unwrap_or(1),
        sha256: identity_of(weights)?,
        // Of other files it is not known how the attention was.
        causal: KnownModel::named(name).map(|known| known.causal),
    })
}
