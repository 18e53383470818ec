//! Style vectors from sound and from words: MuQ-MuLan (Zhu et al. 2025, "MuQ: Self-Supervised Music Representation
//! Learning with Mel Residual Vector Quantization"), two towers whose results lie in one space.
//!
//! | what | where | source |
//! |---|---|---|
//! | sound to a vector | [`AudioEncoder`], on top of [`MuQ`] | PyPI `muq`: `muq_mulan.py`, `models/audio.py`, `muq/models/muq_model.py` |
//! | words to a vector | [`TextEncoder`] | `models/text.py`, transformers' `modeling_xlm_roberta.py` |
//! | the ten seconds that speak for a song | [`middle`] | DiffRhythm's `infer_utils.py`, `get_style_prompt` |
//! | released files and their configurations | [`MuLanFiles`], [`config`] | `OpenMuQ/MuQ-MuLan-large` |
//! | vectors in `.npy` and `.safetensors` | [`vector`] | numpy's `format.py`, safetensors |
//! | vectors, computed once for each content | [`EmbeddingCache`] | |
//!
//! # Shapes
//! sound `[batch, samples]` of one channel, features `[batch, frames, width]`, vectors `[batch, width]`. Each tower is
//! loaded by itself, so that only the one in use is in memory.
//!
//! ```no_run
//! use embed::{AudioEncoder, MuLanFiles, TextEncoder, middle};
//! use nn::{WeightPrecision, Weights};
//!
//! # fn example(samples: &[f32]) -> Result<(), embed::EmbedError> {
//! let files = MuLanFiles::in_folder("MuQ-MuLan-large")?;
//! let weights = Weights::from_file(&files.weights, &candle_core::Device::Cpu)?.in_precision(WeightPrecision::F16);
//!
//! let encoder = AudioEncoder::load(&files.mulan_config()?, &files.muq_config()?, &weights)?;
//! let from_sound = encoder.embed(middle(samples, encoder.sample_rate_hz(), encoder.clip_secs())?)?;
//! drop(encoder);
//!
//! let encoder =
//!     TextEncoder::load(&files.mulan_config()?, &files.text_config()?, &weights, files.tokenizer.as_deref())?;
//! let from_words = encoder.embed("a lonely cello in a large hall")?;
//! # Ok(())
//! # }
//! ```

mod aside;
mod audio;
mod bounded;
mod cache;
mod clips;
pub mod config;
mod error;
mod files;
mod fingerprint;
mod layers;
mod mel;
mod pooled;
mod text;
pub mod vector;

pub use audio::{AudioEncoder, MuQ};
pub use cache::EmbeddingCache;
pub use clips::middle;
pub use config::{MuLanConfig, MuQConfig, XlmRobertaConfig};
pub use error::EmbedError;
pub use files::MuLanFiles;
pub use fingerprint::fingerprint;
pub use text::{TextEncoder, Tokenizer};
