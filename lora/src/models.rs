//! Which files a `--model` stands for: the embedded base, a base file of Lorelei's own, or a released model by name or path.

mod catalog;
mod hub;
mod released;

use std::path::{Path, PathBuf};

pub use catalog::{KNOWN_MODELS, KnownModel, RemoteFile, STYLE_ENCODER, StyleEncoder};
pub use hub::Hub;
pub use released::ReleasedFiles;

use crate::error::LoraError;
use crate::progress::Progress;

/// What settings call the base that ships inside the program.
pub const EMBEDDED_NAME: &str = "embedded";
/// The header key by which Lorelei's own base files are known.
pub(crate) const OWN_DESCRIPTION: &str = "lorelei_base";

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelFiles {
    /// Inside the program.
    Embedded,
    /// One file with everything, see [`base`](crate::base).
    Own(PathBuf),
    /// A release of DiffRhythm.
    DiffRhythm(ReleasedFiles),
}

/// What the user said about the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelChoice<'a> {
    /// `embedded`, a name of [`KNOWN_MODELS`], or a path.
    pub model: &'a str,
    /// The autoencoder's file or folder, if it is not beside the transformer's.
    pub autoencoder: Option<&'a Path>,
    /// Whether attention is causal, if not as the model's name says.
    pub causal: Option<bool>,
}

impl ModelChoice<'_> {
    /// Lorelei's own bases have their autoencoder and their flags with them.
    fn refuse_for_own(&self) -> Result<(), LoraError> {
        let given = [
            (
                "vae",
                self.autoencoder.map(|path| path.display().to_string()),
            ),
            ("causal", self.causal.map(|causal| causal.to_string())),
        ];
        match given
            .into_iter()
            .find_map(|(name, value)| Some((name, value?)))
        {
            Some((setting, value)) => Err(LoraError::Setting {
                setting,
                value,
                expected: format!(
                    "is for released models, and {} is a base of Lorelei's own; leave it out",
                    self.model
                ),
            }),
            None => Ok(()),
        }
    }
}

impl ModelFiles {
    /// Finds the files; those of a known model that are not in the cache of the Hugging Face hub are fetched.
    ///
    /// # Errors
    /// When a file is missing or cannot be fetched: which it is, how large, and where to put it.
    pub fn find(
        choice: &ModelChoice<'_>,
        hub: &Hub,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        if choice.model == EMBEDDED_NAME {
            choice.refuse_for_own()?;
            return Ok(Self::Embedded);
        }
        if let Some(known) = KnownModel::named(choice.model) {
            return ReleasedFiles::of_known(known, choice, hub, progress).map(Self::DiffRhythm);
        }
        let path = Path::new(choice.model);
        if !path.exists() {
            return Err(unknown(choice.model, "--model"));
        }
        if path.is_file() && is_own(path) {
            choice.refuse_for_own()?;
            return Ok(Self::Own(path.to_owned()));
        }
        ReleasedFiles::at(path, choice, hub, progress).map(Self::DiffRhythm)
    }
}

/// The file of a base's weights by the name of a released model, or by a path: that of the file, or of a folder that holds one.
///
/// # Errors
/// When there is none, or it cannot be fetched.
pub(crate) fn weights_file(
    base: &str,
    hub: &Hub,
    progress: &mut dyn Progress,
) -> Result<PathBuf, LoraError> {
    if let Some(known) = KnownModel::named(base) {
        let file = RemoteFile {
            flag: "--base",
            ..known.transformer
        };
        return hub.get(&file, progress);
    }
    let path = Path::new(base);
    match (path.is_dir(), path.exists()) {
        (true, _) => released::weights_in(path),
        (false, true) => Ok(path.to_owned()),
        (false, false) => Err(unknown(base, "--base")),
    }
}

/// Whether a safetensors file has the description of a base in its header. Anything unreadable is told later, by who reads it.
fn is_own(path: &Path) -> bool {
    use std::io::Read;
    /// Far above the header of a base, far below that of a large model.
    const HEADER_MOST_BYTES: u64 = 16 << 20;
    let header = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let bytes = u64::from_le_bytes(length).min(HEADER_MOST_BYTES);
        let mut header = Vec::new();
        file.take(bytes).read_to_end(&mut header)?;
        Ok(header)
    };
    let key = format!("\"{OWN_DESCRIPTION}\"");
    header().is_ok_and(|header| {
        header
            .windows(key.len())
            .any(|window| window == key.as_bytes())
    })
}

fn unknown(model: &str, flag: &str) -> LoraError {
    let names: Vec<&str> = KNOWN_MODELS.iter().map(|known| known.name).collect();
    LoraError::BadFile {
        path: model.into(),
        problem: format!(
            "there is no such file or folder; {flag} takes \"{EMBEDDED_NAME}\", a path, or one of {} (lora-infer --list-models tells of them)",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        let choice = ModelChoice {
            model: "diffrythm",
            ..ModelChoice::default()
        };
        let hub = Hub::offline_at("nowhere".into());
        let error = ModelFiles::find(&choice, &hub, &mut Silent).unwrap_err();
        let error = error.to_string();
        for word in ["diffrythm", "embedded", "diffrhythm-v1.2", "--list-models"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
