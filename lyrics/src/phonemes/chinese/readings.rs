//! The reading of each word in Bopomofo (`chinese_to_bopomofo`).

use super::bopomofo::of_pinyin;
use super::lexicon::Lexicon;
use super::polyphones::Polyphones;
use super::sandhi;
use crate::LyricsError;

/// The syllables of all words, separated by `|`; marks stay themselves.
pub(super) fn bopomofo(
    text: &str,
    words: &[String],
    lexicon: &Lexicon,
    polyphones: &mut dyn Polyphones,
) -> Result<String, LyricsError> {
    let sentence: Vec<char> = text.chars().collect();
    let mut line = String::new();
    let mut index = 0;
    for word in words {
        let characters: Vec<char> = word.chars().collect();
        let syllables = match whole_word(word, &characters, lexicon, polyphones) {
            Some(syllables) => syllables,
            None => one_by_one(&characters, index, &sentence, lexicon, polyphones)?,
        };
        index += characters.len();
        if !characters.iter().copied().any(is_chinese) {
            line.push('|');
            line.push_str(word);
            continue;
        }
        let syllables = sandhi::apply(word, &characters, syllables);
        if !line.is_empty() {
            line.push('|');
        }
        line.push_str(
            &syllables
                .into_iter()
                .map(with_first_tone)
                .collect::<Vec<_>>()
                .join("|"),
        );
    }
    Ok(line)
}

fn is_chinese(character: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&character)
}

/// A word that the lexicon knows, unless it is a single polyphone.
fn whole_word(
    word: &str,
    characters: &[char],
    lexicon: &Lexicon,
    polyphones: &dyn Polyphones,
) -> Option<Vec<String>> {
    let pinyin = lexicon.pinyin(word)?;
    if matches!(characters, [single] if polyphones.is_polyphone(*single)) {
        return None;
    }
    let mut syllables = Vec::new();
    for syllable in pinyin.split(' ') {
        match of_pinyin(syllable) {
            Some(bopomofo) => syllables.push(bopomofo),
            // Here the reference asks the package pypinyin for the whole word; the lexicon's single characters say the same.
            None => syllables.extend(
                characters
                    .iter()
                    .map(|&character| from_lexicon(character, lexicon)),
            ),
        }
    }
    Some(syllables)
}

/// A word that the lexicon lacks, character by character.
fn one_by_one(
    characters: &[char],
    begin: usize,
    sentence: &[char],
    lexicon: &Lexicon,
    polyphones: &mut dyn Polyphones,
) -> Result<Vec<String>, LyricsError> {
    let mut syllables = Vec::with_capacity(characters.len());
    for (offset, &character) in characters.iter().enumerate() {
        // The reference counts in the joined words, which 不 at the end of a line is lost from.
        let index = begin + offset;
        if polyphones.is_polyphone(character) && index < sentence.len() {
            let reading = polyphones.reading(sentence, index)?;
            syllables.push(of_pinyin(&reading).ok_or_else(|| LyricsError::Polyphone {
                character,
                sentence: sentence.iter().collect(),
                detail: format!("{reading:?} is no syllable of Mandarin"),
            })?);
        } else {
            syllables.push(from_lexicon(character, lexicon));
        }
    }
    Ok(syllables)
}

/// A character's own reading, or the character where it has none: the vocabulary then drops it.
fn from_lexicon(character: char, lexicon: &Lexicon) -> String {
    let mut name = [0; 4];
    let name: &str = character.encode_utf8(&mut name);
    lexicon
        .pinyin(name)
        .and_then(of_pinyin)
        .unwrap_or_else(|| name.to_owned())
}

/// Bopomofo writes no mark for the first tone; IPA needs one.
fn with_first_tone(mut syllable: String) -> String {
    if syllable.ends_with(|last| ('\u{3105}'..='\u{3129}').contains(&last)) {
        syllable.push('ˉ');
    }
    syllable
}
