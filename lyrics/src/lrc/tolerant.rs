//! What LRC files in the wild contain, understood as players understand it.
//!
//! `[mm:ss.xx]` with any number of digits, `:` or `,` before the fraction, or hours; several times before one text; times
//! between words in `<>` or `[]`; tags such as `[ti:..]`; `[offset:+500]`, which moves all lines 0.5 s earlier.

use super::{BadLine, Lrc, TimedLine};
use crate::python;

/// More times than this on one line are no refrain but damage.
const MAX_TIMES_A_LINE: usize = 64;
/// No time is longer; a bracket that does not end within is text.
const MAX_TIME_BYTES: usize = 32;
/// The tag that moves all lines.
const OFFSET: &str = "offset";
/// No line that is sung is longer.
const MAX_TEXT_CHARACTERS: usize = 2_000;

pub(super) fn parse(text: &str) -> Lrc {
    let mut lrc = Lrc::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, line) in unified.split('\n').enumerate() {
        if let Err(reason) = read_line(line, &mut lrc) {
            lrc.bad_lines.push(BadLine::new(index + 1, line, reason));
        }
    }
    apply_offset(&mut lrc);
    lrc.lines
        .sort_by(|a, b| a.time_secs.total_cmp(&b.time_secs));
    lrc
}

fn read_line(line: &str, lrc: &mut Lrc) -> Result<(), &'static str> {
    let line = python::strip(line);
    if line.is_empty() {
        return Ok(());
    }
    if let Some(tag) = tag(line) {
        if tag.0 == OFFSET && python::int(&tag.1).is_none() {
            return Err("its offset is no whole number of milliseconds");
        }
        lrc.tags.push(tag);
        return Ok(());
    }
    let (times, rest) = leading_times(line);
    if times.is_empty() {
        return Err(why_no_time(line));
    }
    if times.len() > MAX_TIMES_A_LINE {
        return Err("it has more than 64 times");
    }
    let text = without_word_times(rest);
    if text.chars().count() > MAX_TEXT_CHARACTERS {
        return Err("it has more than 2000 characters");
    }
    lrc.lines
        .extend(times.into_iter().map(|time_secs| TimedLine {
            time_secs,
            text: text.clone(),
        }));
    Ok(())
}

/// `[key:value]` with a key of letters, as the whole line.
fn tag(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    let key = python::strip(key);
    let is_key = key == "#" || (!key.is_empty() && key.chars().all(char::is_alphabetic));
    (is_key && !value.contains(['[', ']']))
        .then(|| (key.to_lowercase(), python::strip(value).to_owned()))
}

/// The times that a line begins with, in seconds, and what follows them.
fn leading_times(line: &str) -> (Vec<f64>, &str) {
    let mut times = Vec::new();
    let mut rest = line;
    while let Some((time, behind)) = bracketed_time(rest, '[', ']') {
        times.push(time);
        rest = behind.trim_start_matches(python::is_space);
    }
    (times, rest)
}

fn bracketed_time(text: &str, open: char, close: char) -> Option<(f64, &str)> {
    let inside = text.strip_prefix(open)?;
    let end = inside
        .bytes()
        .take(MAX_TIME_BYTES)
        .position(|byte| char::from(byte) == close)?;
    Some((time_secs(&inside[..end])?, &inside[end + 1..]))
}

/// `m:ss`, `mm:ss.x`, `mm:ss,xx`, `mm:ss:xx`, `mm:ss.xxx` or `h:mm:ss.xx`, in seconds.
fn time_secs(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').map(python::strip).collect();
    match parts[..] {
        [minutes, seconds] => Some(whole(minutes)? * 60.0 + decimal(seconds)?),
        [minutes, seconds, hundredths]
            if hundredths.len() == 2 && !seconds.contains(['.', ',']) =>
        {
            Some(whole(minutes)? * 60.0 + whole(seconds)? + whole(hundredths)? / 100.0)
        }
        [hours, minutes, seconds] => {
            Some(whole(hours)? * 3_600.0 + whole(minutes)? * 60.0 + decimal(seconds)?)
        }
        _ => None,
    }
}

fn whole(text: &str) -> Option<f64> {
    let digits =
        !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn decimal(text: &str) -> Option<f64> {
    let (seconds, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    whole(seconds).filter(|_| digits)?;
    format!("{seconds}.{fraction}").parse().ok()
}

/// `text` without the times that karaoke files put before each word.
fn without_word_times(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '[']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let time = bracketed_time(from, '<', '>').or_else(|| bracketed_time(from, '[', ']'));
        rest = match time {
            Some((_, behind)) => behind,
            None => {
                plain.push_str(&from[..1]);
                &from[1..]
            }
        };
    }
    plain.push_str(rest);
    let words: Vec<&str> = plain
        .split(python::is_space)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

fn why_no_time(line: &str) -> &'static str {
    match line
        .strip_prefix('[')
        .and_then(|inside| inside.split_once(']'))
    {
        Some((inside, _)) if inside.contains(':') => "its time cannot be understood",
        Some(_) => "it has brackets but no time in them",
        None => "it has no time",
    }
}

/// `[offset:..]` counts in milliseconds, and a positive one shows lyrics earlier.
fn apply_offset(lrc: &mut Lrc) {
    let offset = lrc.tags.iter().rev().find(|(key, _)| key == OFFSET);
    let Some(offset_ms) = offset.and_then(|(_, value)| python::int(value)) else {
        return;
    };
    for line in &mut lrc.lines {
        let moved_secs = line.time_secs - offset_ms as f64 / 1_000.0;
        lrc.moved_to_start += usize::from(moved_secs < 0.0);
        line.time_secs = moved_secs.max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(f64, String)> {
        parse(text)
            .lines
            .into_iter()
            .map(|line| (line.time_secs, line.text))
            .collect()
    }

    #[test]
    fn times_of_every_shape() {
        for (time, secs) in [
            ("01:02.34", 62.34),
            ("1:02", 62.0),
            ("01:02.345", 62.345),
            ("01:02,5", 62.5),
            ("01:02:34", 62.34),
            ("1:01:02.50", 3_662.5),
            ("00:75.00", 75.0),
            (" 00 : 07.00 ", 7.0),
            ("123:00.00", 7_380.0),
        ] {
            assert_eq!(
                lines(&format!("[{time}]x")),
                [(secs, "x".to_owned())],
                "{time}"
            );
        }
        for time in [
            "0x:01.00", "00:", ":01", "00:1.2.3", "-1:00", "00:01.x", "1:2:3:4", "99999:00",
            "00:1e3",
        ] {
            let lrc = parse(&format!("[{time}]x"));
            assert!(lrc.lines.is_empty(), "{time}");
            assert_eq!(lrc.bad_lines.len(), 1, "{time}");
        }
    }

    #[test]
    fn refrains_are_repeated_and_lines_sorted() {
        let text = "[00:10.00][00:30.00]refrain\r\n[00:20.00]verse\r[00:05]first\n";
        let expected = [
            (5.0, "first"),
            (10.0, "refrain"),
            (20.0, "verse"),
            (30.0, "refrain"),
        ];
        assert_eq!(
            lines(text),
            expected.map(|(time, text)| (time, text.to_owned()))
        );
    }

    #[test]
    fn word_times_tags_and_offset() {
        let lrc = parse(
            "\u{feff}[ti: My Song]\n[offset:+500]\n[00:01.00]<00:01.00> He <00:01.50>llo [00:02.00]you [x] < 3\n[00:00.20]\n",
        );
        assert_eq!(
            lrc.tags,
            [
                ("ti".to_owned(), "My Song".to_owned()),
                ("offset".to_owned(), "+500".to_owned())
            ]
        );
        assert_eq!(lrc.bad_lines, []);
        assert_eq!(lrc.moved_to_start, 1);
        let lines: Vec<_> = lrc
            .lines
            .iter()
            .map(|line| (line.time_secs, line.text.as_str()))
            .collect();
        assert_eq!(lines, [(0.0, ""), (0.5, "He llo you [x] < 3")]);
    }

    #[test]
    fn bad_lines_are_counted_and_named() {
        let long = "y".repeat(MAX_TEXT_CHARACTERS + 1);
        let many = "[0:01]".repeat(MAX_TIMES_A_LINE + 1);
        let lrc = parse(&format!(
            "[00:0x.00]a\nplain\n[Chorus]\n\n[00:02.00]good\n[0:03]{long}\n{many}z\n[offset:abc]\n[offset:123456789012345678901]\n"
        ));
        let bad: Vec<_> = lrc
            .bad_lines
            .iter()
            .map(|bad| (bad.number, bad.reason))
            .collect();
        assert_eq!(
            bad,
            [
                (1, "its time cannot be understood"),
                (2, "it has no time"),
                (3, "it has brackets but no time in them"),
                (6, "it has more than 2000 characters"),
                (7, "it has more than 64 times"),
                (8, "its offset is no whole number of milliseconds"),
                (9, "its offset is no whole number of milliseconds"),
            ]
        );
        assert!(
            lrc.bad_lines
                .iter()
                .all(|bad| bad.text.chars().count() <= BadLine::MAX_CHARACTERS)
        );
        assert_eq!(lrc.lines.len(), 1);
    }
}
