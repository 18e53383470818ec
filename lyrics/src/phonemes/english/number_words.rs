//! English numbers as words, in the forms that the reference asks of the Python package inflect 7.

const UNITS: [&str; 10] = [
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];
const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const THOUSANDS: [&str; 12] = [
    "",
    " thousand",
    " million",
    " billion",
    " trillion",
    " quadrillion",
    " quintillion",
    " sextillion",
    " septillion",
    " octillion",
    " nonillion",
    " decillion",
];
/// Endings, longest words first where one ends another.
const ORDINAL_ENDINGS: [(&str, &str); 8] = [
    ("ty", "tieth"),
    ("one", "first"),
    ("two", "second"),
    ("three", "third"),
    ("five", "fifth"),
    ("eight", "eighth"),
    ("nine", "ninth"),
    ("twelve", "twelfth"),
];

/// Whether "and" stands before what is below a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum And {
    Said,
    Left,
}

/// `digits` as a cardinal number. Numbers beyond decillions, which the reference cannot read, are read digit by digit.
pub(super) fn cardinal(digits: &str, and: And) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "zero".to_owned();
    }
    let values: Vec<usize> = digits
        .bytes()
        .map(|digit| usize::from(digit.saturating_sub(b'0')).min(9))
        .collect();
    if values.len() > 3 * THOUSANDS.len() {
        let words: Vec<&str> = values
            .iter()
            .map(|&value| if value == 0 { "zero" } else { UNITS[value] })
            .collect();
        return words.join(" ");
    }
    // Groups of three from the right, each with its thousands.
    let mut groups: Vec<String> = values
        .rchunks(3)
        .zip(THOUSANDS)
        .filter(|(group, _)| group.iter().any(|&digit| digit > 0))
        .map(|(group, thousands)| format!("{}{thousands}", below_thousand(group, and)))
        .collect();
    groups.reverse();
    join_groups(&groups, and)
}

fn below_thousand(group: &[usize], and: And) -> String {
    let value = group.iter().fold(0, |value, digit| value * 10 + digit);
    let (hundreds, rest) = (value / 100, value % 100);
    match (hundreds, rest, and) {
        (0, _, _) => below_hundred(rest),
        (_, 0, _) => format!("{} hundred", UNITS[hundreds]),
        (_, _, And::Said) => format!("{} hundred and {}", UNITS[hundreds], below_hundred(rest)),
        (_, _, And::Left) => format!("{} hundred {}", UNITS[hundreds], below_hundred(rest)),
    }
}

fn below_hundred(value: usize) -> String {
    let (tens, units) = (value / 10 % 10, value % 10);
    match (tens, units) {
        (0, _) => UNITS[units].to_owned(),
        (1, _) => TEENS[units].to_owned(),
        (_, 0) => TENS[tens].to_owned(),
        _ => format!("{}-{}", TENS[tens], UNITS[units]),
    }
}

/// Commas between groups, but before a last one of a single word "and", or nothing.
fn join_groups(groups: &[String], and: And) -> String {
    match groups {
        [before @ .., last] if !before.is_empty() && !last.contains(' ') => {
            let and = if and == And::Said { " and" } else { "" };
            format!("{}{and} {last}", before.join(", "))
        }
        _ => groups.join(", "),
    }
}

/// `digits` as an ordinal number.
pub(super) fn ordinal(digits: &str) -> String {
    ordinal_of_words(&cardinal(digits, And::Said))
}

/// A cardinal number in words as an ordinal.
pub(super) fn ordinal_of_words(words: &str) -> String {
    ORDINAL_ENDINGS
        .iter()
        .find_map(|(ending, replacement)| {
            words
                .strip_suffix(ending)
                .map(|stem| format!("{stem}{replacement}"))
        })
        .unwrap_or_else(|| format!("{words}th"))
}

/// A number from 1001 to 2999 as years are read (`_expand_number`).
pub(super) fn year(value: usize) -> String {
    let (centuries, rest) = (value / 100, value % 100);
    match (value, rest) {
        (2_000, _) => "two thousand".to_owned(),
        (2_001..=2_009, _) => format!("two thousand {}", UNITS[rest]),
        (_, 0) => format!("{} hundred", below_hundred(centuries)),
        (_, 1..=9) => format!("{} oh {}", below_hundred(centuries), UNITS[rest]),
        _ => format!("{} {}", below_hundred(centuries), below_hundred(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of inflect 7.6.0.
    #[test]
    fn numbers_as_inflect_says_them() {
        for (digits, said, left) in [
            ("0", "zero", "zero"),
            ("007", "seven", "seven"),
            ("21", "twenty-one", "twenty-one"),
            ("101", "one hundred and one", "one hundred one"),
            ("1001", "one thousand and one", "one thousand one"),
            (
                "3021",
                "three thousand and twenty-one",
                "three thousand twenty-one",
            ),
            (
                "1100000",
                "one million, one hundred thousand",
                "one million, one hundred thousand",
            ),
            (
                "1234567",
                "one million, two hundred and thirty-four thousand, five hundred and sixty-seven",
                "one million, two hundred thirty-four thousand, five hundred sixty-seven",
            ),
        ] {
            assert_eq!(cardinal(digits, And::Said), said);
            assert_eq!(cardinal(digits, And::Left), left);
        }
        assert_eq!(cardinal(&"10".repeat(20), And::Said).split(' ').count(), 40);
        for (digits, words) in [
            ("1", "first"),
            ("12", "twelfth"),
            ("20", "twentieth"),
            ("100", "one hundredth"),
            ("0", "zeroth"),
        ] {
            assert_eq!(ordinal(digits), words);
        }
        for (value, words) in [
            (1905, "nineteen oh five"),
            (1999, "nineteen ninety-nine"),
            (2000, "two thousand"),
            (2010, "twenty ten"),
            (1100, "eleven hundred"),
        ] {
            assert_eq!(year(value), words);
        }
    }
}
