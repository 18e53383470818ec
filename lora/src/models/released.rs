//! The files of a DiffRhythm release: a transformer's checkpoint and an autoencoder, side by side or on the hub.

use std::path::{Path, PathBuf};

use checkpoint::TensorFile;

use super::catalog::KnownModel;
use super::hub::Hub;
use super::{KNOWN_MODELS, ModelChoice};
use crate::error::LoraError;
use crate::progress::Progress;

/// What a folder calls a transformer's checkpoint, best first: converted files are smaller and load without a pickle's detour.
const TRANSFORMER_NAMES: [&str; 3] = ["cfm_model.safetensors", "cfm_model.pt", "cfm_model_ema.pt"];
/// What folders of diffusers call a transformer's weights.
const DIFFUSERS_NAMES: [&str; 2] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
];
/// What a folder calls an autoencoder.
const AUTOENCODER_NAMES: [&str; 2] = ["vae_model.safetensors", "vae_model.pt"];
/// Sizes, if they are given; otherwise they are read off the tensors.
const CONFIG_NAME: &str = "config.json";
/// How the releases since version 1.2 spell it in their names.
const FULL_ATTENTION_MARKS: [&str; 2] = ["1_2", "1.2"];

/// A release's files and what its name says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleasedFiles {
    /// What adapters record and people read.
    pub name: String,
    /// The transformer's checkpoint.
    pub transformer: PathBuf,
    /// The autoencoder.
    pub autoencoder: PathBuf,
    /// The reference's configuration file, where there is one.
    pub config: Option<PathBuf>,
    /// Whether frames see earlier frames only.
    pub causal: bool,
    /// Points of the time grid and guidance of the release's own pipeline.
    pub sampling: (usize, f64),
}

impl ReleasedFiles {
    /// The files of a model with a name.
    pub(super) fn of_known(
        known: &KnownModel,
        choice: &ModelChoice<'_>,
        hub: &Hub,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let needed = match choice.autoencoder {
            Some(_) => vec![known.transformer],
            None => vec![known.transformer, known.autoencoder],
        };
        let mut found = hub.get_all(&needed, progress)?.into_iter();
        let transformer = found.next().unwrap_or_default();
        let autoencoder = match choice.autoencoder {
            Some(path) => autoencoder_at(path)?,
            None => found.next().unwrap_or_default(),
        };
        Ok(Self {
            name: known.name.to_owned(),
            transformer,
            autoencoder,
            config: None,
            causal: choice.causal.unwrap_or(known.causal),
            sampling: known.sampling,
        })
    }

    /// The files at a path: a folder, or the transformer's checkpoint with the others beside it.
    pub(super) fn at(
        path: &Path,
        choice: &ModelChoice<'_>,
        hub: &Hub,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let (folder, transformer) = match path.is_dir() {
            true => (
                path,
                first_of(path, &TRANSFORMER_NAMES).ok_or_else(|| no_transformer(path))?,
            ),
            false => (path.parent().unwrap_or(Path::new("")), path.to_owned()),
        };
        // Only its table of contents, before anything is fetched for it.
        checkpoint::diffrhythm::weights(&TensorFile::open(&transformer)?)?;
        let autoencoder = match choice.autoencoder {
            Some(path) => autoencoder_at(path)?,
            None => match first_of(folder, &AUTOENCODER_NAMES) {
                Some(path) => path,
                None => shared_autoencoder(&transformer, hub, progress)?,
            },
        };
        let config = folder.join(CONFIG_NAME);
        let causal = choice.causal.unwrap_or_else(|| {
            let named = |mark: &str| path.to_string_lossy().contains(mark);
            let causal = !FULL_ATTENTION_MARKS.iter().any(|mark| named(mark));
            progress.note(&format!(
                "{}: taken for a release {}; --causal {} says otherwise",
                path.display(),
                if causal {
                    "before 1.2, whose attention is causal"
                } else {
                    "since 1.2, whose attention is not causal"
                },
                !causal
            ));
            causal
        });
        let alike = KNOWN_MODELS.iter().find(|known| known.causal == causal);
        Ok(Self {
            name: stem(path),
            transformer,
            autoencoder,
            config: config.is_file().then_some(config),
            causal,
            sampling: alike.map_or((32, 4.0), |known| known.sampling),
        })
    }
}

/// The transformer's weights in a folder, of DiffRhythm or of diffusers.
pub(super) fn weights_in(folder: &Path) -> Result<PathBuf, LoraError> {
    let names = TRANSFORMER_NAMES.iter().chain(&DIFFUSERS_NAMES);
    let names: Vec<&str> = names.copied().collect();
    first_of(folder, &names).ok_or_else(|| LoraError::BadFile {
        path: folder.to_owned(),
        problem: format!(
            "this folder holds no transformer's weights: expected one of {}; or name the file itself",
            names.join(", ")
        ),
    })
}

fn first_of(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let paths = names.iter().map(|name| folder.join(name));
    paths.into_iter().find(|path| path.is_file())
}

fn autoencoder_at(path: &Path) -> Result<PathBuf, LoraError> {
    let found = match path.is_dir() {
        true => first_of(path, &AUTOENCODER_NAMES),
        false => path.is_file().then(|| path.to_owned()),
    };
    found.ok_or_else(|| LoraError::BadFile {
        path: path.to_owned(),
        problem: format!(
            "there is no autoencoder here; --vae names its file, or a folder with {}",
            AUTOENCODER_NAMES.join(" or ")
        ),
    })
}

/// All releases share one autoencoder, so that of the hub will do where none is beside the transformer.
fn shared_autoencoder(
    transformer: &Path,
    hub: &Hub,
    progress: &mut dyn Progress,
) -> Result<PathBuf, LoraError> {
    let file = KNOWN_MODELS[0].autoencoder;
    hub.get(&file, progress).map_err(|error| LoraError::BadFile {
        path: transformer.to_owned(),
        problem: format!(
            "there is no {} beside it, and that of the releases cannot be had: {error}; or name one with --vae",
            AUTOENCODER_NAMES.join(" or ")
        ),
    })
}

fn no_transformer(folder: &Path) -> LoraError {
    LoraError::BadFile {
        path: folder.to_owned(),
        problem: format!(
            "this folder holds no model: expected {}, and an autoencoder ({}) beside it",
            TRANSFORMER_NAMES.join(", "),
            AUTOENCODER_NAMES.join(" or ")
        ),
    }
}

/// The last part of the path that says something: `model` of `model/cfm_model.pt`.
fn stem(path: &Path) -> String {
    let generic = |name: &str| TRANSFORMER_NAMES.contains(&name);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    match name {
        Some(name) if generic(&name) => {
            let folder = path.parent().and_then(Path::file_name);
            folder
                .map(|folder| folder.to_string_lossy().into_owned())
                .unwrap_or(name)
        }
        Some(name) => name,
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    /// A file of that name from a release of toy size.
    fn add(folder: &Path, name: &str) {
        std::fs::copy(testing::release_file(name), folder.join(name)).unwrap();
    }

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            add(folder.path(), name);
        }
        folder
    }

    fn find(path: &Path, choice: &ModelChoice<'_>) -> Result<ReleasedFiles, LoraError> {
        let hub = Hub::offline_at(path.join("cache"));
        ReleasedFiles::at(path, choice, &hub, &mut Silent)
    }

    #[test]
    fn a_folder_is_searched_and_converted_files_come_first() {
        let folder = folder_with(&["cfm_model.pt", "cfm_model.safetensors", "vae_model.pt"]);
        let found = find(folder.path(), &ModelChoice::default()).unwrap();
        assert!(found.transformer.ends_with("cfm_model.safetensors"));
        assert!(found.autoencoder.ends_with("vae_model.pt"));
        assert_eq!((found.causal, found.config), (true, None));
        let file = folder.path().join("cfm_model.pt");
        let found = find(&file, &ModelChoice::default()).unwrap();
        assert_eq!(found.transformer, file);
    }

    #[test]
    fn causality_follows_name_and_flag() {
        let folder = tempfile::tempdir().unwrap();
        let release = folder.path().join("DiffRhythm-1_2");
        std::fs::create_dir(&release).unwrap();
        for name in ["cfm_model.pt", "vae_model.pt"] {
            add(&release, name);
        }
        let mut choice = ModelChoice::default();
        assert!(!find(&release, &choice).unwrap().causal);
        choice.causal = Some(true);
        assert!(find(&release, &choice).unwrap().causal);
    }

    #[test]
    fn what_is_missing_is_named() {
        let empty = folder_with(&[]);
        let error = find(empty.path(), &ModelChoice::default()).unwrap_err();
        assert!(error.to_string().contains("cfm_model.pt"), "{error}");
        let alone = folder_with(&["cfm_model.pt"]);
        let error = find(alone.path(), &ModelChoice::default()).unwrap_err();
        for word in ["vae_model.pt", "--vae", "DiffRhythm-vae"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }
}
