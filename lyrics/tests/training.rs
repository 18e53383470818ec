//! Placement for training against the reference's data set.

use lyrics::{TimedTokens, TrainingWindow, place_for_training};
use serde_json::Value;

#[test]
fn stretches_are_placed_as_by_the_reference() {
    let file: Value = serde_json::from_str(include_str!("fixtures/training.json")).unwrap();
    let size = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let lines: Vec<TimedTokens> = case["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| TimedTokens {
                time_secs: line["time"].as_f64().unwrap(),
                tokens: Some(
                    line["tokens"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|token| size(token) as u16)
                        .collect(),
                ),
            })
            .collect();
        let window = TrainingWindow {
            max_frames: size(&case["max_frames"]),
            song_frames: size(&case["song_frames"]),
            start_frame: size(&case["start_frame"]),
        };
        let placed = place_for_training(&lines, &window);
        let Some(expected) = case["placed"].as_array() else {
            assert_eq!(placed, None);
            continue;
        };
        let placed = placed.unwrap();
        let mut tokens = vec![0; size(&case["frames"])];
        for pair in expected {
            tokens[size(&pair[0])] = pair[1].as_i64().unwrap();
        }
        assert_eq!(placed.tokens, tokens, "{window:?}");
        assert_eq!(
            placed.valid_frames,
            size(&case["valid_frames"]),
            "{window:?}"
        );
        assert_eq!(
            Some(placed.start_time),
            case["start_time"].as_f64(),
            "{window:?}"
        );
    }
}
