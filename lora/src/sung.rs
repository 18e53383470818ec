//! Lyrics as a song model hears them: one phoneme token a latent frame.

use std::path::Path;

use lyrics::{FRAMES_PER_SEC, Lrc, Placement, TimedLine, TimedTokens, TokenizedLines, Tokenizer};

use crate::base::BaseModel;
use crate::error::LoraError;
use crate::generate;

/// Tokens of an LRC file, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sung {
    /// One a latent frame; 0 where nothing is sung.
    pub tokens: Vec<u32>,
    /// Lines that are heard, and lines of the file that have words.
    pub lines: (usize, usize),
    /// Lines with words that begin behind the end.
    pub behind_end: usize,
    /// Lines of words without a letter that can be spoken.
    pub without_letters: usize,
    /// Lines of the file that say nothing.
    pub bad_lines: usize,
}

/// The lyrics of an LRC file at the frames of a clip of so many seconds, where the release's own pipeline puts them; none for a base that
/// does not sing. `path` is where they are from, for messages.
///
/// # Errors
/// When something that their language needs is missing, no line can be sung, or the model knows fewer phonemes.
pub fn of_lrc(
    lrc: &Lrc,
    path: &Path,
    base: &BaseModel,
    seconds: f64,
    tokenizer: &mut Tokenizer,
) -> Result<Sung, LoraError> {
    let frames = generate::frames(base, seconds);
    let (heard, behind_end) = without_unheard(&lrc.lines, frames);
    let tokenized = tokenized(&heard, path, tokenizer)?;
    let placed = lyrics::place(&tokenized.lines, &placement(base, seconds));
    let token = |&token: &i64| u32::try_from(token).unwrap_or(0);
    let tokens: Vec<u32> = placed.tokens.iter().map(token).collect();
    check_known(tokens.iter().copied(), path, base)?;
    let begins = placed.line_frames.iter();
    let with_words = lrc.lines.iter().filter(|line| !line.text.is_empty());
    Ok(Sung {
        tokens,
        lines: (
            begins.filter(|&&frame| frame < frames).count(),
            with_words.count(),
        ),
        behind_end,
        without_letters: tokenized.without_letters.len(),
        bad_lines: lrc.bad_lines.len(),
    })
}

/// Where the release's own pipeline places lyrics in a song of so many seconds.
fn placement(base: &BaseModel, seconds: f64) -> Placement {
    let config = base.transformer_config();
    let max_frames = config.max_frames;
    match base.songs().is_some_and(|songs| songs.causal) {
        true => Placement::V1_0 { max_frames },
        false => Placement::V1_2 {
            max_frames,
            // Models of one length make all of it, however short the clip that is kept.
            max_secs: match config.has_duration() {
                true => seconds,
                false => base.default_secs(),
            },
        },
    }
}

/// The lyrics of a training piece: its lines as phonemes, and how many lines nothing could be made of. Where they go follows from the
/// stretch that is trained on.
///
/// # Errors
/// When the file cannot be read or is in another encoding, and as [`of_lrc`].
pub fn of_piece(
    path: &Path,
    base: &BaseModel,
    tokenizer: &mut Tokenizer,
) -> Result<(Vec<TimedTokens>, usize), LoraError> {
    let lrc = lyrics::read_lrc(path)?;
    let tokenized = tokenized(&lrc.lines, path, tokenizer)?;
    let tokens = tokenized
        .lines
        .iter()
        .filter_map(|line| line.tokens.as_ref());
    check_known(tokens.flatten().map(|&token| token.into()), path, base)?;
    let bad_lines = lrc.bad_lines.len() + tokenized.without_letters.len();
    Ok((tokenized.lines, bad_lines))
}

fn tokenized(
    lines: &[TimedLine],
    path: &Path,
    tokenizer: &mut Tokenizer,
) -> Result<TokenizedLines, LoraError> {
    let tokenized = tokenizer.tokenize(lines);
    let tokenized = tokenized.map_err(|error| LoraError::BadFile {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    tell_unsung(&tokenized, path)?;
    Ok(tokenized)
}

fn check_known(
    mut tokens: impl Iterator<Item = u32>,
    path: &Path,
    base: &BaseModel,
) -> Result<(), LoraError> {
    let known = base.transformer_config().text_num_embeds;
    match tokens.find(|&token| token as usize > known) {
        None => Ok(()),
        Some(token) => Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: format!(
                "its lyrics need phoneme {token}, and this model knows {known}: it was not trained on DiffRhythm's phonemes; take the lyrics away or take another model"
            ),
        }),
    }
}

/// The lines with those behind the clip's end as mere marks, which need no phonemes, and how many of these have words.
fn without_unheard(lines: &[TimedLine], frames: usize) -> (Vec<TimedLine>, usize) {
    let end_secs = frames as f64 / FRAMES_PER_SEC;
    let mut behind_end = 0;
    let mut heard = lines.to_vec();
    for line in heard.iter_mut().filter(|line| line.time_secs >= end_secs) {
        behind_end += usize::from(!line.text.is_empty());
        line.text.clear();
    }
    (heard, behind_end)
}

/// Names the lines without letters; where there are no others, that is an error.
fn tell_unsung(tokenized: &TokenizedLines, path: &Path) -> Result<(), LoraError> {
    let unsung = &tokenized.without_letters;
    let any_sung = tokenized.lines.iter().any(|line| line.tokens.is_some());
    if let (false, Some(first)) = (any_sung, unsung.first()) {
        return Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: format!(
                "none of its {} lines can be sung: {:?} and the others have no English letter and no Chinese character; write them in Latin letters, or take the lyrics away for instrumental music",
                unsung.len(),
                first.text
            ),
        });
    }
    for line in unsung {
        tracing::warn!(
            "{}: the line at {:.2} s is not sung: it has no English letter and no Chinese character ({:?})",
            path.display(),
            line.time_secs,
            line.text
        );
    }
    Ok(())
}
