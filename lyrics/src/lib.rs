//! Lyrics as DiffRhythm hears them: LRC files become phoneme tokens at frames.
//!
//! | step | where |
//! |---|---|
//! | an LRC file, its times and its bad lines | [`read_lrc`], [`parse_lrc`], [`Reading`] |
//! | English by espeak-ng, Chinese by lexicon and polyphone model | [`Tokenizer`], [`phonemes`] |
//! | the 363 phonemes and their numbers | [`Vocabulary`] |
//! | tokens onto latent frames, for generation and for training | [`place`], [`place_for_training`] |
//!
//! Everything follows ASLP-lab/DiffRhythm (`infer/infer_utils.py`, `dataset/dataset.py`, `g2p/`) number for number; where
//! the reference stops with an exception, this crate says what is wrong or leaves the line out, and counts it.
//!
//! Tokens are `u16`: 0 is a frame without lyrics, 1 a comma, 2 the period that ends a line, and the last one is 363.
//!
//! ```
//! let lrc = lyrics::parse_lrc("[00:01.00]Hello\n[00:04.50]World\n[00:09.00]Again\n", lyrics::Reading::Tolerant);
//! assert_eq!(lrc.lines[1].text, "World");
//!
//! // Whoever has no espeak-ng at hand can bring tokens of their own.
//! let lines: Vec<_> = lrc
//!     .lines
//!     .iter()
//!     .map(|line| lyrics::TimedTokens { time_secs: line.time_secs, tokens: Some(vec![42, 58]) })
//!     .collect();
//! let placed = lyrics::place(&lines, &lyrics::Placement::V1_2 { max_frames: 2048, max_secs: 95.0 });
//! assert_eq!(placed.tokens.len(), 2048);
//! assert_eq!(placed.tokens[21..25], [42, 58, 2, 0]);
//! ```

mod error;
mod lrc;
pub mod phonemes;
mod placement;
mod python;
mod segments;
mod tokens;
mod training;
mod vocabulary;

pub use error::LyricsError;
pub use lrc::{
    BadLine, Lrc, MAX_LRC_BYTES, Reading, TimedLine, parse_lrc, parse_lrc_bytes, read_lrc,
};
pub use placement::{FRAMES_PER_SEC, Placed, Placement, TimedTokens, place};
pub use segments::{Language, Segment, split_languages};
pub use tokens::{LineTokenizer, TokenizedLines, Tokenizer, TokenizerSettings};
pub use training::{PlacedForTraining, TrainingWindow, place_for_training};
pub use vocabulary::Vocabulary;
