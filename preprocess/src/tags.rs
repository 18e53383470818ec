//! The tags of a recording.

use std::path::Path;

use audio::Decoder;
use dataset::SidecarError;

/// Those of its sidecar; without one, those that the file itself has.
///
/// # Errors
/// When a sidecar cannot be read. What is wrong with the sound shows when it is cut.
pub(crate) fn of(recording: &Path) -> Result<Vec<String>, SidecarError> {
    let tags = dataset::read_tags(recording)?;
    if !tags.is_empty() {
        return Ok(tags);
    }
    let decoder = Decoder::open(recording);
    Ok(decoder
        .map(|decoder| decoder.tags().to_vec())
        .unwrap_or_default())
}
