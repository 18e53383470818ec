//! Pinyin to Bopomofo, and Bopomofo to IPA.

use std::collections::HashMap;
use std::sync::LazyLock;

/// `g2p/sources/pinyin_2_bpmf.txt` of ASLP-lab/DiffRhythm (Apache-2.0), unchanged.
const TABLE: &str = include_str!("../../../data/pinyin_to_bopomofo.txt");

/// The Bopomofo of a syllable with its tone, such as `hao3`; the first tone has no mark.
pub(super) fn of_pinyin(syllable: &str) -> Option<String> {
    static SYLLABLES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
        TABLE
            .lines()
            .filter_map(|line| line.trim().split_once('\t'))
            .collect()
    });
    let tone = match syllable.chars().next_back()? {
        '0' | '5' => "˙",
        '1' => "",
        '2' => "ˊ",
        '3' => "ˇ",
        '4' => "ˋ",
        _ => return None,
    };
    let bopomofo = SYLLABLES.get(&syllable[..syllable.len() - 1])?;
    Some(format!("{bopomofo}{tone}"))
}

/// Replaced in this order (`_bopomofo_to_ipa`): rhymes before their parts.
const IPA: [(&str, &str); 66] = [
    ("ㄅㄛ", "p⁼wo"),
    ("ㄆㄛ", "pʰwo"),
    ("ㄇㄛ", "mwo"),
    ("ㄈㄛ", "fwo"),
    ("ㄧㄢ", "|jɛn"),
    ("ㄩㄢ", "|ɥæn"),
    ("ㄧㄣ", "|in"),
    ("ㄩㄣ", "|ɥn"),
    ("ㄧㄥ", "|iŋ"),
    ("ㄨㄥ", "|ʊŋ"),
    ("ㄩㄥ", "|jʊŋ"),
    ("ㄧㄚ", "|ia"),
    ("ㄧㄝ", "|iɛ"),
    ("ㄧㄠ", "|iɑʊ"),
    ("ㄧㄡ", "|ioʊ"),
    ("ㄧㄤ", "|iɑŋ"),
    ("ㄨㄚ", "|ua"),
    ("ㄨㄛ", "|uo"),
    ("ㄨㄞ", "|uaɪ"),
    ("ㄨㄟ", "|ueɪ"),
    ("ㄨㄢ", "|uan"),
    ("ㄨㄣ", "|uən"),
    ("ㄨㄤ", "|uɑŋ"),
    ("ㄩㄝ", "|ɥɛ"),
    ("ㄅ", "p⁼"),
    ("ㄆ", "pʰ"),
    ("ㄇ", "m"),
    ("ㄈ", "f"),
    ("ㄉ", "t⁼"),
    ("ㄊ", "tʰ"),
    ("ㄋ", "n"),
    ("ㄌ", "l"),
    ("ㄍ", "k⁼"),
    ("ㄎ", "kʰ"),
    ("ㄏ", "x"),
    ("ㄐ", "tʃ⁼"),
    ("ㄑ", "tʃʰ"),
    ("ㄒ", "ʃ"),
    ("ㄓ", "ts`⁼"),
    ("ㄔ", "ts`ʰ"),
    ("ㄕ", "s`"),
    ("ㄖ", "ɹ`"),
    ("ㄗ", "ts⁼"),
    ("ㄘ", "tsʰ"),
    ("ㄙ", "|s"),
    ("ㄚ", "|a"),
    ("ㄛ", "|o"),
    ("ㄜ", "|ə"),
    ("ㄝ", "|ɛ"),
    ("ㄞ", "|aɪ"),
    ("ㄟ", "|eɪ"),
    ("ㄠ", "|ɑʊ"),
    ("ㄡ", "|oʊ"),
    ("ㄢ", "|an"),
    ("ㄣ", "|ən"),
    ("ㄤ", "|ɑŋ"),
    ("ㄥ", "|əŋ"),
    ("ㄦ", "əɹ"),
    ("ㄧ", "|i"),
    ("ㄨ", "|u"),
    ("ㄩ", "|ɥ"),
    ("ˉ", "→|"),
    ("ˊ", "↑|"),
    ("ˇ", "↓↑|"),
    ("ˋ", "↓|"),
    ("˙", "|"),
];

/// Bopomofo as IPA.
///
/// The reference spells Latin letters out as Bopomofo before, but its normalisation has removed them by then.
pub(super) fn to_ipa(bopomofo: &str) -> String {
    IPA.iter().fold(bopomofo.to_owned(), |text, (from, to)| {
        text.replace(from, to)
    })
}
