//! Where the files of a model are.

use std::path::{Path, PathBuf};

use crate::EmbedError;
use crate::config::{MuLanConfig, MuQConfig, XlmRobertaConfig};

/// Names that weights are released under, in the order they are looked for.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The files of a MuQ-MuLan, as released: its own repository names two others, of which only small files are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuLanFiles {
    /// `config.json` of `OpenMuQ/MuQ-MuLan-large`.
    pub config: PathBuf,
    /// Its weights, which hold those of both models below.
    pub weights: PathBuf,
    /// `config.json` of the audio model, `OpenMuQ/MuQ-large-msd-iter`; known by name without it.
    pub audio_config: Option<PathBuf>,
    /// `config.json` of the text model, `xlm-roberta-base`; known by name without it.
    pub text_config: Option<PathBuf>,
    /// `tokenizer.json` of the text model; sound needs none.
    pub tokenizer: Option<PathBuf>,
}

impl MuLanFiles {
    /// Looks in one folder: `config.json` and `model.safetensors` or `pytorch_model.bin` as released, and beside them,
    /// if there are any, `muq_config.json`, `xlm_roberta_config.json` and `tokenizer.json`.
    ///
    /// # Errors
    /// [`EmbedError::Missing`] when one of the first two is not there.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<Self, EmbedError> {
        let folder = folder.as_ref();
        let present = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let missing = |what, remedy| EmbedError::Missing {
            folder: folder.to_owned(),
            what,
            remedy,
        };
        Ok(Self {
            config: present("config.json")
                .ok_or_else(|| missing("config.json", "copy it from OpenMuQ/MuQ-MuLan-large"))?,
            weights: WEIGHTS
                .iter()
                .find_map(|name| present(name))
                .ok_or_else(|| {
                    missing(
                        "model.safetensors or pytorch_model.bin",
                        "copy it from OpenMuQ/MuQ-MuLan-large",
                    )
                })?,
            audio_config: present("muq_config.json"),
            text_config: present("xlm_roberta_config.json"),
            tokenizer: present("tokenizer.json"),
        })
    }

    /// MuLan's own configuration.
    ///
    /// # Errors
    /// When it cannot be read or describes another model.
    pub fn mulan_config(&self) -> Result<MuLanConfig, EmbedError> {
        MuLanConfig::read(&self.config)
    }

    /// The audio model's configuration: its file's, or the one known by the name in MuLan's.
    ///
    /// # Errors
    /// When it cannot be read, describes another model, or has no file and no known name.
    pub fn muq_config(&self) -> Result<MuQConfig, EmbedError> {
        match &self.audio_config {
            Some(path) => MuQConfig::read(path),
            None => MuQConfig::released(&self.mulan_config()?.audio_model.name),
        }
    }

    /// The text model's configuration: its file's, or the one known by the name in MuLan's.
    ///
    /// # Errors
    /// As [`muq_config`](Self::muq_config).
    pub fn text_config(&self) -> Result<XlmRobertaConfig, EmbedError> {
        match &self.text_config {
            Some(path) => XlmRobertaConfig::read(path),
            None => XlmRobertaConfig::released(&self.mulan_config()?.text_model.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_there_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let message = || {
            MuLanFiles::in_folder(folder.path())
                .unwrap_err()
                .to_string()
        };
        assert!(
            message().contains("config.json is missing"),
            "{}",
            message()
        );
        let config = r#"{"mulan": {}, "audio_model": {"name": "OpenMuQ/MuQ-large-msd-iter", "model_dim": 1024},
            "text_model": {"name": "xlm-roberta-base"}, "audio_transformer": {}, "text_transformer": {}}"#;
        fs::write(folder.path().join("config.json"), config).unwrap();
        assert!(message().contains("pytorch_model.bin"), "{}", message());
        fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
        let files = MuLanFiles::in_folder(folder.path()).unwrap();
        assert!(files.weights.ends_with("pytorch_model.bin") && files.tokenizer.is_none());
        assert_eq!(files.muq_config().unwrap().encoder_dim, 1024);
        assert_eq!(files.text_config().unwrap().hidden_size, 768);
        fs::write(folder.path().join("muq_config.json"), "{}").unwrap();
        let files = MuLanFiles::in_folder(folder.path()).unwrap();
        let message = files.muq_config().unwrap_err().to_string();
        assert!(
            message.contains("muq_config.json: missing field"),
            "{message}"
        );
    }
}
