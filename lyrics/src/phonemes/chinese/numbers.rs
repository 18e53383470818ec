//! Arabic numerals as Chinese characters, as the Python package cn2an 0.5.23 transforms them (`transform(.., "an2cn")`).

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::phonemes::english::regex;

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
const UNITS: [&str; 16] = [
    "", "十", "百", "千", "万", "十", "百", "千", "亿", "十", "百", "千", "万", "十", "百", "千",
];
/// Decimals beyond these are cut.
const MAX_DECIMALS: usize = 16;

/// Dates, fractions, percentages, degrees and numbers in characters; what cannot be told stays as it is.
pub(super) fn as_characters(text: &str) -> String {
    type Step = (Regex, fn(&str) -> Option<String>);
    static STEPS: LazyLock<[Step; 5]> = LazyLock::new(|| {
        [
            (regex(r"(\d{2,4}年)?(\d{1,2}月)?(\d{1,2}日)?"), date),
            (regex(r"\d+/\d+"), fraction),
            (regex(r"-?(\d+\.)?\d+%"), percentage),
            (regex(r"\d+℃"), celsius),
            (regex(r"-?(\d+\.)?\d+"), number),
        ]
    });
    STEPS.iter().fold(text.to_owned(), |text, (pattern, say)| {
        let replace = |found: &Captures<'_>| say(&found[0]).unwrap_or_else(|| found[0].to_owned());
        pattern.replace_all(&text, replace).into_owned()
    })
}

/// Years digit by digit, months and days as numbers.
fn date(text: &str) -> Option<String> {
    let mut said = String::new();
    let mut rest = text;
    while let Some(unit) = rest.find(['年', '月', '日']) {
        let (value, behind) = rest.split_at(unit);
        let name = behind.chars().next()?;
        if name == '年' {
            said.extend(values(value)?.into_iter().map(|digit| DIGITS[digit]));
        } else {
            said.push_str(&whole(&values(value)?)?);
        }
        said.push(name);
        rest = &behind[name.len_utf8()..];
    }
    Some(said)
}

fn fraction(text: &str) -> Option<String> {
    let (numerator, denominator) = text.split_once('/')?;
    Some(format!(
        "{}分之{}",
        number(denominator)?,
        number(numerator)?
    ))
}

fn percentage(text: &str) -> Option<String> {
    Some(format!("百分之{}", number(text.strip_suffix('%')?)?))
}

fn celsius(text: &str) -> Option<String> {
    Some(format!("{}摄氏度", number(text.strip_suffix('℃')?)?))
}

/// A number, perhaps negative, perhaps with decimals (`An2Cn.an2cn`).
fn number(text: &str) -> Option<String> {
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("负", rest));
    let (integer, decimals) = text.split_once('.').unwrap_or((text, ""));
    let mut said = format!("{sign}{}", whole(&values(integer)?)?);
    if !decimals.is_empty() {
        said.push('点');
        said.extend(
            values(decimals)?
                .into_iter()
                .take(MAX_DECIMALS)
                .map(|digit| DIGITS[digit]),
        );
    }
    Some(said)
}

/// ASCII and full-width digits.
fn values(digits: &str) -> Option<Vec<usize>> {
    digits
        .chars()
        .map(|digit| match digit {
            '0'..='9' => Some(digit as usize - '0' as usize),
            '０'..='９' => Some(digit as usize - '０' as usize),
            _ => None,
        })
        .collect()
}

/// An integer of up to 16 digits (`__integer_convert`).
fn whole(digits: &[usize]) -> Option<String> {
    let leading = digits.iter().take_while(|&&digit| digit == 0).count();
    let digits = &digits[leading..];
    if digits.len() > UNITS.len() {
        return None;
    }
    let mut said = String::new();
    for (index, &digit) in digits.iter().enumerate() {
        let place = digits.len() - index - 1;
        if digit > 0 {
            said.push(DIGITS[digit]);
            said.push_str(UNITS[place]);
            continue;
        }
        if place.is_multiple_of(4) {
            said.push('零');
            said.push_str(UNITS[place]);
        }
        if !said.ends_with('零') {
            said.push('零');
        }
    }
    let said = said
        .replace("零零", "零")
        .replace("零万", "万")
        .replace("零亿", "亿")
        .replace("亿万", "亿");
    let said = said.trim_matches('零');
    let said = if said.starts_with("一十") {
        &said['一'.len_utf8()..]
    } else {
        said
    };
    Some(if said.is_empty() {
        "零".to_owned()
    } else {
        said.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of cn2an 0.5.23.
    #[test]
    fn numbers_as_cn2an_says_them() {
        for (text, said) in [
            ("我有3个", "我有三个"),
            ("2024年8月24日", "二零二四年八月二十四日"),
            ("08日", "八日"),
            ("3/4", "四分之三"),
            ("-12.50%", "百分之负十二点五零"),
            ("37℃", "三十七摄氏度"),
            ("100000001", "一亿零一"),
            ("10010", "一万零一十"),
            ("00", "零"),
            ("0.5", "零点五"),
            ("１２", "十二"),
            ("12345678901234567", "12345678901234567"),
        ] {
            assert_eq!(as_characters(text), said, "{text}");
        }
    }
}
