//! Lyrics as a song model hears them: one phoneme token a latent frame.

use std::path::Path;

use lyrics::{Placement, TimedTokens, Tokenizer};

use crate::base::BaseModel;
use crate::error::LoraError;

/// Tokens of an LRC file, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sung {
    /// One a latent frame; 0 where nothing is sung.
    pub tokens: Vec<u32>,
    /// Lines placed, and lines the file has.
    pub lines: (usize, usize),
    /// Lines that were left out because nothing could be made of them.
    pub bad_lines: usize,
}

/// The lyrics of an LRC file at the frames of a clip of so many seconds, where the release's own pipeline puts them; none for a base that
/// does not sing.
///
/// # Errors
/// When the file cannot be read or is in another encoding, something that its language needs is missing, or the model knows fewer
/// phonemes.
pub fn of_file(
    path: &Path,
    base: &BaseModel,
    seconds: f64,
    tokenizer: &mut Tokenizer,
) -> Result<Sung, LoraError> {
    let max_frames = base.transformer_config().max_frames;
    let causal = base.songs().is_some_and(|songs| songs.causal);
    let placement = match causal {
        true => Placement::V1_0 { max_frames },
        false => Placement::V1_2 {
            max_frames,
            max_secs: seconds,
        },
    };
    placed(path, base, &placement, false, tokenizer)
}

/// The lyrics of a training piece at its latent frames: all of its lines. Generation leaves the last one out where the reference does,
/// whose training hears a song no further than there; a piece is heard to its end.
///
/// # Errors
/// As [`of_file`].
pub fn of_piece(
    path: &Path,
    base: &BaseModel,
    frames: usize,
    tokenizer: &mut Tokenizer,
) -> Result<Sung, LoraError> {
    let placement = Placement::V1_2 {
        max_frames: frames,
        max_secs: frames as f64 * base.frame_secs(),
    };
    placed(path, base, &placement, true, tokenizer)
}

fn placed(
    path: &Path,
    base: &BaseModel,
    placement: &Placement,
    keeps_last: bool,
    tokenizer: &mut Tokenizer,
) -> Result<Sung, LoraError> {
    let lrc = lyrics::read_lrc(path)?;
    let mut tokenized = tokenizer.tokenize(&lrc.lines)?;
    if let (true, Some(last)) = (keeps_last, tokenized.lines.last()) {
        // A mark behind it is the last line then.
        let mark = TimedTokens {
            time_secs: last.time_secs,
            tokens: None,
        };
        tokenized.lines.push(mark);
    }
    let placed = lyrics::place(&tokenized.lines, placement);
    let token = |&token: &i64| u32::try_from(token).unwrap_or(0);
    let tokens: Vec<u32> = placed.tokens.iter().map(token).collect();
    let known = base.transformer_config().text_num_embeds;
    if let Some(token) = tokens.iter().find(|&&token| token as usize > known) {
        return Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: format!(
                "its lyrics need phoneme {token}, and this model knows {known}: it was not trained on DiffRhythm's phonemes; leave --lyrics out or take another model"
            ),
        });
    }
    Ok(Sung {
        tokens,
        lines: (placed.placed_lines, lrc.lines.len()),
        bad_lines: lrc.bad_lines.len() + tokenized.without_letters,
    })
}
