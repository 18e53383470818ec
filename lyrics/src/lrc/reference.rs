//! The reference's reading: fixed columns (`parse_lyrics` in ASLP-lab/DiffRhythm, `infer/infer_utils.py`).

use super::{BadLine, Lrc, TimedLine};
use crate::python;

pub(super) fn parse(text: &str) -> Lrc {
    let mut lrc = Lrc::default();
    // The reference strips the whole text first, so the count starts at its first line that is not blank.
    let blank = text.len() - text.trim_start_matches(python::is_space).len();
    let skipped = text[..blank].matches('\n').count();
    for (index, line) in python::strip(text).split('\n').enumerate() {
        match timed_line(line) {
            Ok(timed) => lrc.lines.push(timed),
            Err(_) if python::strip(line).is_empty() => {}
            Err(reason) => lrc
                .bad_lines
                .push(BadLine::new(skipped + index + 1, line, reason)),
        }
    }
    lrc
}

fn timed_line(line: &str) -> Result<TimedLine, &'static str> {
    let time: String = line.chars().skip(1).take(8).collect();
    let text: String = line.chars().skip(10).collect();
    let mut parts = time.split(':');
    let (Some(minutes), Some(seconds), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err("characters 2 to 9 are not MM:SS.ss");
    };
    let minutes = python::int(minutes).ok_or("the minutes are not a number")?;
    let seconds = python::float(seconds).ok_or("the seconds are not a number")?;
    Ok(TimedLine {
        time_secs: (minutes * 60) as f64 + seconds,
        text: python::strip(&text).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_whatever_they_hold() {
        let lrc = parse("\n\n[00:06.123]three\nno\n[0:05.00]short\n[00:08.00]你好 \n");
        let lines: Vec<_> = lrc
            .lines
            .iter()
            .map(|line| (line.time_secs, line.text.as_str()))
            .collect();
        assert_eq!(lines, [(6.12, "]three"), (8.0, "你好")]);
        let bad: Vec<_> = lrc.bad_lines.iter().map(|bad| bad.number).collect();
        assert_eq!(bad, [4, 5]);
    }
}
