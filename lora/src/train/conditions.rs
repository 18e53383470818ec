//! What the pieces of a song model are trained with: a style vector each, and lyrics where there are some.
//!
//! The style is the vector beside the piece (`NAME.style.npy`, `NAME.style.safetensors`), else the encoder's answer to its sound. Without
//! an encoder there is none, and a vector is learned with the adapter instead.

use std::path::{Path, PathBuf};

use lyrics::{TimedTokens, Tokenizer, TokenizerSettings};

use super::data::LatentPiece;
use crate::base::BaseModel;
use crate::error::LoraError;
use crate::style::{self, StyleEncoder};
use crate::sung;

/// Endings of a ready vector's name, behind the piece's stem.
const VECTOR_ENDINGS: [&str; 2] = ["style.npy", "style.safetensors"];

/// Ending of the lyrics' name.
const LYRICS_ENDING: &str = "lrc";

/// A piece's style and lyrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PieceConditions {
    /// Style vector `[condition width]`.
    pub style: Option<Vec<f32>>,
    /// The lines that are sung in it, from its beginning.
    pub lines: Vec<TimedTokens>,
}

/// Where styles and lyrics come from.
pub struct ConditionSource {
    encoder: Option<StyleEncoder>,
    tokenizer: Tokenizer,
    bad_lines: usize,
}

impl ConditionSource {
    /// Styles by this encoder where no ready vector is beside a piece; lyrics with programs and data as these settings say.
    pub fn new(encoder: Option<StyleEncoder>, lyrics: TokenizerSettings) -> Self {
        Self {
            encoder,
            tokenizer: Tokenizer::new(lyrics),
            bad_lines: 0,
        }
    }

    /// The same without a program or data for lyrics of its own.
    pub fn without_lyrics(encoder: Option<StyleEncoder>) -> Self {
        let settings = TokenizerSettings {
            espeak: None,
            chinese_folder: None,
        };
        Self::new(encoder, settings)
    }

    /// Style and lyrics of the piece in that file.
    ///
    /// # Errors
    /// When a sidecar cannot be used, or the encoder fails.
    pub(super) fn of_piece(
        &mut self,
        path: &Path,
        base: &BaseModel,
    ) -> Result<PieceConditions, LoraError> {
        let width = base.transformer_config().cond_dim;
        let style = match (sidecar(path, &VECTOR_ENDINGS), &self.encoder) {
            (Some(vector), _) => Some(embed::vector::read(&vector, width)?),
            (None, Some(encoder)) => Some(encoder.of_piece(path)?),
            (None, None) => None,
        };
        Ok(PieceConditions {
            style: style.as_deref().map(style::rounded),
            lines: match (sidecar(path, &[LYRICS_ENDING]), base.songs()) {
                (Some(path), Some(_)) => self.lines(&path, base)?,
                _ => Vec::new(),
            },
        })
    }

    fn lines(&mut self, path: &Path, base: &BaseModel) -> Result<Vec<TimedTokens>, LoraError> {
        let (lines, bad_lines) = sung::of_piece(path, base, &mut self.tokenizer)?;
        self.bad_lines += bad_lines;
        Ok(lines)
    }

    /// What to tell about the conditions of these pieces.
    pub(super) fn notes<'a>(&self, pieces: impl Iterator<Item = &'a LatentPiece>) -> Vec<String> {
        let (mut count, mut styled, mut sung) = (0, 0, 0);
        for piece in pieces {
            count += 1;
            sung += usize::from(!piece.conditions.lines.is_empty());
            styled += usize::from(piece.conditions.style.is_some());
        }
        let style = match styled {
            0 => "no style vectors: a vector is learned with the adapter (with MuQ-MuLan, --style-encoder, each piece would get its own)".to_owned(),
            _ if styled == count => "every piece has its style vector".to_owned(),
            _ => format!("{styled} of {count} pieces have a style vector; the others are trained without style"),
        };
        let bad = match self.bad_lines {
            0 => String::new(),
            count => format!("; {count} of their lines could not be used"),
        };
        let lyrics = match sung {
            0 => "no lyrics beside the pieces (NAME.lrc): trained as instrumental".to_owned(),
            _ => format!("{sung} of {count} pieces have lyrics{bad}"),
        };
        vec![style, lyrics]
    }
}

/// The file with the piece's stem and one of these endings.
fn sidecar(path: &Path, endings: &[&str]) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_string_lossy();
    let named = endings
        .iter()
        .map(|ending| path.with_file_name(format!("{stem}.{ending}")));
    named.into_iter().find(|path| path.is_file())
}
