//! Abbreviations and numbers as words (`_english_to_ipa` in the reference's `g2p/g2p/english.py`).

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::number_words::{And, cardinal, ordinal, ordinal_of_words, year};
use super::regex;
use crate::python::WORD_CLASS;

const ABBREVIATIONS: [(&str, &str); 20] = [
    ("mrs", "misess"),
    ("mr", "mister"),
    ("dr", "doctor"),
    ("st", "saint"),
    ("co", "company"),
    ("jr", "junior"),
    ("maj", "major"),
    ("gen", "general"),
    ("drs", "doctors"),
    ("rev", "reverend"),
    ("lt", "lieutenant"),
    ("hon", "honorable"),
    ("sgt", "sergeant"),
    ("capt", "captain"),
    ("esq", "esquire"),
    ("ltd", "limited"),
    ("col", "colonel"),
    ("ft", "fort"),
    ("etc", "et cetera"),
    ("btw", "by the way"),
];

/// `text` with abbreviations written out and numbers as words.
pub(super) fn normalize(text: &str) -> String {
    numbers(&abbreviations(text))
}

fn abbreviations(text: &str) -> String {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| regex(&format!("[{WORD_CLASS}]+")));
    WORDS
        .replace_all(text, |word: &Captures<'_>| long_form(&word[0]).to_owned())
        .into_owned()
}

fn long_form(word: &str) -> &str {
    // Python ignores case by simple folding, where the long s is an s.
    let folded = word.to_lowercase().replace('ſ', "s");
    let found = ABBREVIATIONS.iter().find(|(short, _)| *short == folded);
    found.map_or(word, |(_, long)| long)
}

/// `normalize_numbers`, step by step: each step sees what the one before it wrote.
fn numbers(text: &str) -> String {
    type Step = (Regex, fn(&Captures<'_>) -> String);
    static STEPS: LazyLock<[Step; 8]> = LazyLock::new(|| {
        [
            (regex(r"[0-9][0-9,]+[0-9]"), |found| {
                found[0].replace(',', "")
            }),
            (regex(r"£([0-9,]*[0-9]+)"), |found| {
                format!("{} pounds", &found[1])
            }),
            (regex(r"\$([0-9.,]*[0-9]+)"), |found| dollars(&found[1])),
            (regex(r"([0-9]+)/([0-9]+)"), |found| {
                fraction(&found[1], &found[2])
            }),
            (regex(r"[0-9]+\.[0-9]+"), |found| {
                found[0].replace('.', " point ")
            }),
            (regex(r"[0-9.,]*[0-9]+%"), |found| {
                found[0].replace('%', " percent ")
            }),
            (regex(r"([0-9]+)(st|nd|rd|th)"), |found| {
                format!(" {} ", ordinal(&found[1]))
            }),
            (regex(r"[0-9]+"), |found| format!(" {} ", number(&found[0]))),
        ]
    });
    STEPS
        .iter()
        .fold(text.to_owned(), |text, (pattern, replace)| {
            pattern.replace_all(&text, *replace).into_owned()
        })
}

fn dollars(amount: &str) -> String {
    let mut parts = amount.split('.');
    let (whole, fraction, more) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next(),
    );
    // The reference stops at a comma that belongs to no number.
    if more.is_some() || amount.contains(',') {
        return format!(" {amount} dollars ");
    }
    let (dollars, cents) = (
        whole.trim_start_matches('0'),
        fraction.trim_start_matches('0'),
    );
    let dollar_unit = if dollars == "1" { "dollar" } else { "dollars" };
    let cent_unit = if cents == "1" { "cent" } else { "cents" };
    match (dollars, cents) {
        ("", "") => " zero dollars ".to_owned(),
        (_, "") => format!(" {dollars} {dollar_unit} "),
        ("", _) => format!(" {cents} {cent_unit} "),
        _ => format!(" {dollars} {dollar_unit}, {cents} {cent_unit} "),
    }
}

fn fraction(numerator: &str, denominator: &str) -> String {
    let numerator = numerator.trim_start_matches('0');
    match (numerator, denominator.trim_start_matches('0')) {
        ("1", "2") => " one half ".to_owned(),
        ("1", "4") => " one quarter ".to_owned(),
        (_, "2") => format!(" {} halves ", cardinal(numerator, And::Said)),
        (_, "4") => format!(" {} quarters ", cardinal(numerator, And::Said)),
        (_, denominator) => {
            let parts = ordinal_of_words(&cardinal(denominator, And::Said));
            format!(" {} {parts} ", cardinal(numerator, And::Said))
        }
    }
}

fn number(digits: &str) -> String {
    let value = digits.trim_start_matches('0').parse::<u64>().ok();
    match value {
        Some(value @ 1_001..3_000) => year(value as usize),
        _ => cardinal(digits, And::Left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_fractions_and_dates() {
        for (text, words) in [
            ("Dr. Drs MRS Stop", "doctor. doctors misess Stop"),
            ("$5.50", " five  dollars,  fifty  cents "),
            ("$1,000.01", " one thousand  dollars,  one  cent "),
            ("£20", " twenty  pounds"),
            ("1/2 3/4 2/3", " one half   three quarters   two third "),
            ("50%", " fifty  percent "),
            ("2nd", " second "),
            ("3.14", " three  point  fourteen "),
            ("$1.2.3", " one point two . three dollars"),
        ] {
            let spaces = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(spaces(&normalize(text)), spaces(words), "{text}");
        }
    }
}
