//! Text to token numbers, by the tokenizer's own file.

use std::path::{Path, PathBuf};

use crate::{EmbedError, bounded};

/// The released one has 9 MB.
const LARGEST_FILE_BYTES: u64 = 256 << 20;

/// The tokenizer of a text model, from its `tokenizer.json`.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`, all of whose tokens must be below `vocabulary`.
    ///
    /// # Errors
    /// When it cannot be read, or belongs to another model.
    pub fn load(path: &Path, vocabulary: usize) -> Result<Self, EmbedError> {
        let bytes = bounded::read(path, LARGEST_FILE_BYTES)?;
        let failed = |reason: String| EmbedError::Tokenizer {
            path: path.to_owned(),
            reason,
        };
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| failed(error.to_string()))?;
        // The file may ask for either; a text is taken as it is.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| failed(error.to_string()))?;
        let largest = inner.get_vocab(true).into_values().max();
        match largest {
            Some(largest) if (largest as usize) < vocabulary => Ok(Self {
                inner,
                path: path.to_owned(),
            }),
            Some(largest) => Err(failed(format!(
                "its largest token is {largest}, the text model has {vocabulary}"
            ))),
            None => Err(failed("it holds no tokens".to_owned())),
        }
    }

    /// The tokens of a text, with the model's marks of start and end.
    ///
    /// # Errors
    /// When the tokenizer cannot take the text.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let encoding =
            self.inner
                .encode_fast(text, true)
                .map_err(|error| EmbedError::Tokenizer {
                    path: self.path.clone(),
                    reason: error.to_string(),
                })?;
        Ok(encoding.get_ids().to_vec())
    }
}
