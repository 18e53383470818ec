//! Characters with several readings.

use crate::LyricsError;

/// Whoever knows how a polyphone is read in its sentence: the reference's model, or a record of it.
pub trait Polyphones {
    /// Whether the reading of `character` is to be asked for, rather than looked up.
    fn is_polyphone(&self, character: char) -> bool;

    /// The reading of the character at `index` of `sentence` as pinyin with its tone, such as `de5`.
    ///
    /// # Errors
    /// When there is no usable answer.
    fn reading(&mut self, sentence: &[char], index: usize) -> Result<String, LyricsError>;
}
