//! What the fuzz target and the replay of its corpus do with an input.

use std::path::Path;

use lyrics::{
    Lrc, Placement, Reading, TimedTokens, TrainingWindow, parse_lrc, parse_lrc_bytes, place,
    place_for_training, split_languages,
};

/// Reads, places and checks what must hold of any input.
pub(crate) fn read(input: &[u8]) {
    match parse_lrc_bytes(input, Path::new("input.lrc")) {
        Ok(lrc) => {
            assert!(
                lrc.lines
                    .windows(2)
                    .all(|pair| pair[0].time_secs <= pair[1].time_secs)
            );
            assert!(lrc.lines.iter().all(|line| line.time_secs >= 0.0));
            check(&lrc);
        }
        Err(error) => assert!(error.to_string().contains("input.lrc"), "{error}"),
    }
    if let Ok(text) = str::from_utf8(input) {
        check(&parse_lrc(text, Reading::Tolerant));
        check(&parse_lrc(text, Reading::Reference));
    }
}

fn check(lrc: &Lrc) {
    for line in &lrc.lines {
        assert!(line.time_secs.is_finite());
        assert!(!line.text.contains(['\n', '\r']) || line.text == line.text.trim());
        let whole: String = split_languages(&line.text)
            .iter()
            .map(|segment| segment.text.as_str())
            .collect();
        assert_eq!(whole, line.text);
    }
    assert!(
        lrc.bad_lines
            .windows(2)
            .all(|pair| pair[0].number < pair[1].number)
    );
    let lines: Vec<TimedTokens> = lrc
        .lines
        .iter()
        .map(|line| TimedTokens {
            time_secs: line.time_secs,
            tokens: (!line.text.is_empty()).then(|| {
                line.text
                    .chars()
                    .map(|letter| letter as u16 % 363 + 1)
                    .collect()
            }),
        })
        .collect();
    for placement in [
        Placement::V1_0 { max_frames: 2048 },
        Placement::V1_2 {
            max_frames: 2048,
            max_secs: 95.0,
        },
        Placement::V1_2 {
            max_frames: 6144,
            max_secs: 285.0,
        },
    ] {
        let placed = place(&lines, &placement);
        assert!(placed.tokens.iter().all(|token| (0..=363).contains(token)));
        let periods = placed.tokens.iter().filter(|&&token| token == 2).count();
        assert!(periods <= placed.placed_lines && placed.placed_lines <= periods + 1);
    }
    let window = TrainingWindow {
        max_frames: 2048,
        song_frames: 4_000,
        start_frame: 500,
    };
    if let Some(placed) = place_for_training(&lines, &window) {
        assert!(placed.valid_frames <= 2048 && placed.tokens.len() == 2048);
    }
}
