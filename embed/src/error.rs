//! What can go wrong between sound or words and a vector.

use std::path::PathBuf;

use nn::WeightsError;
use spectrum::SpectrumError;
use thiserror::Error;

/// A model that cannot be loaded, an input it cannot take, or a file of vectors that cannot be used.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// A missing, unused, misshapen or damaged tensor.
    #[error(transparent)]
    Weights(Box<WeightsError>),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A transform that the input does not allow.
    #[error(transparent)]
    Spectrum(#[from] SpectrumError),
    /// A file that cannot be read.
    #[error("{}: cannot be read; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file far larger than what it should be.
    #[error("{}: has more than {limit} bytes, too many for what it should hold; choose the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A file that cannot be written.
    #[error("{}: cannot be written; check the folder's permissions and the space left", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is there already.
    #[error("{}: exists already; choose another name or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A model folder without one of its files.
    #[error("{}: {what} is missing; {remedy}", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Which file.
        what: &'static str,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// A configuration that describes no model of this kind.
    #[error("{origin}: {reason}")]
    Config {
        /// Where the configuration comes from.
        origin: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Sound shorter than what is to be taken from it.
    #[error(
        "the sound is {actual_secs:.2} s long, at least {needed_secs} s are needed; choose a longer recording"
    )]
    TooShort {
        /// Length given, in seconds.
        actual_secs: f64,
        /// Length needed, in seconds.
        needed_secs: f64,
    },
    /// A sample that is not a number or infinite.
    #[error(
        "sample {index} of the sound is {value}; the recording is damaged, decode or export it again"
    )]
    Sample {
        /// Its position.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A model that answered with something that is not a number.
    #[error(
        "the model's answer is not finite; its weights do not fit its configuration, download both again"
    )]
    NotFinite,
    /// A tokenizer that cannot be loaded or used.
    #[error("{}: {reason}; use the tokenizer.json that belongs to the text model", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Words on a text encoder that was loaded without a tokenizer.
    #[error(
        "words need the tokenizer.json of the text model, and the text encoder was loaded without a tokenizer; put the file from \
         FacebookAI/xlm-roberta-base into the encoder's folder (--style-encoder)"
    )]
    NoTokenizer,
    /// A text that the model has no positions for.
    #[error("the text has {actual} tokens, the model takes at most {limit}; shorten it")]
    TextTooLong {
        /// Tokens of the text, with its marks of start and end.
        actual: usize,
        /// Tokens the model takes.
        limit: usize,
    },
    /// A file that holds no vector.
    #[error("{}: {reason}; expected one vector as .npy or .safetensors", path.display())]
    Vector {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A vector for another model.
    #[error(
        "{}: a vector of {actual} values, expected {expected}; it was made by another model, make it again with this one",
        path.display()
    )]
    Width {
        /// The file.
        path: PathBuf,
        /// Values needed.
        expected: usize,
        /// Values found.
        actual: usize,
    },
    /// A vector with a value that is not a number or infinite.
    #[error("{}: value {index} of the vector is {value}; make the vector again", path.display())]
    VectorNotFinite {
        /// The file.
        path: PathBuf,
        /// The value's position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A vector with a value that half precision, in which models take it, does not hold.
    #[error(
        "{}: value {index} of the vector is {value:e}, and styles have values near 1; make the vector again",
        path.display()
    )]
    VectorTooLarge {
        /// The file.
        path: PathBuf,
        /// The value's position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// No folder for cached vectors can be told.
    #[error("no cache folder is known for this user; name one")]
    NoCacheFolder,
}

// Boxed because it is by far the largest variant, and every result of this crate would carry its size.
impl From<WeightsError> for EmbedError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(Box::new(error))
    }
}
