//! What the script found, against the marks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Median distance of the beats from those asked for, below this.
const MOST_ERROR_MS: f64 = 20.0;
/// Share of the loops that are so.
const LOOPS_SHARE: f64 = 0.9;
/// Share of the clips whose style is found.
const CLIPS_SHARE: f64 = 0.8;

/// The script's line, as far as the table needs it.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    tempo: Tempo,
    adherence: Adherence,
}

#[derive(Debug, Deserialize)]
struct Tempo {
    /// The one of the trackers that errs least on real pieces.
    judge: String,
    latency_ms: BTreeMap<String, f64>,
    control: Vec<MeasuredLoop>,
    loops: Vec<MeasuredLoop>,
}

#[derive(Debug, Deserialize)]
struct MeasuredLoop {
    style: String,
    asked_bpm: f64,
    /// None where a tracker finds no beats.
    trackers: BTreeMap<String, Option<Tracked>>,
    onsets: Onsets,
}

#[derive(Debug, Deserialize)]
struct Tracked {
    tempo_bpm: f64,
    error_ms: f64,
    eighth_error_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Onsets {
    strength: f64,
    offset_ms: f64,
    eighth_strength: f64,
    eighth_offset_ms: f64,
    tempo_ratio: f64,
}

#[derive(Debug, Deserialize)]
struct Adherence {
    styles: Vec<String>,
    classifier: String,
    real_accuracy: BTreeMap<String, f64>,
    /// Rows are what was asked for, columns what was found.
    real_confusion: Vec<Vec<u32>>,
    clip_confusion: Vec<Vec<u32>>,
}

/// What must be reached, and what was.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Marks {
    loops: usize,
    loops_on_the_beat: usize,
    /// Mean over styles of the share of their clips that are found.
    found_share: f64,
    styles: usize,
    styles_found: usize,
}

impl Marks {
    pub(super) fn are_met(&self) -> bool {
        self.tempo_is_met() && self.mean_is_met() && self.styles_are_met()
    }

    fn tempo_is_met(&self) -> bool {
        self.loops_on_the_beat as f64 >= LOOPS_SHARE * self.loops as f64
    }

    fn mean_is_met(&self) -> bool {
        self.found_share >= CLIPS_SHARE
    }

    fn styles_are_met(&self) -> bool {
        self.styles_found == self.styles
    }
}

impl Found {
    pub(super) fn marks(&self) -> Marks {
        let shares = shares(&self.adherence.clip_confusion);
        Marks {
            loops: self.tempo.loops.len(),
            loops_on_the_beat: self.tempo.on_the_beat(&self.tempo.loops),
            found_share: shares.iter().sum::<f64>() / shares.len() as f64,
            styles: shares.len(),
            styles_found: shares.iter().filter(|share| **share >= CLIPS_SHARE).count(),
        }
    }
}

impl Tempo {
    fn on_the_beat(&self, loops: &[MeasuredLoop]) -> usize {
        let is_on = |one: &&MeasuredLoop| {
            one.tracked(&self.judge)
                .is_some_and(|found| found.error_ms < MOST_ERROR_MS)
        };
        loops.iter().filter(is_on).count()
    }
}

impl MeasuredLoop {
    fn tracked(&self, tracker: &str) -> Option<&Tracked> {
        self.trackers.get(tracker).and_then(Option::as_ref)
    }
}

/// For each row the share that is on the diagonal.
fn shares(confusion: &[Vec<u32>]) -> Vec<f64> {
    let share = |(number, row): (usize, &Vec<u32>)| {
        f64::from(row[number]) / f64::from(row.iter().sum::<u32>().max(1))
    };
    confusion.iter().enumerate().map(share).collect()
}

/// The tables, as Markdown on standard output.
#[expect(clippy::print_stdout, reason = "the tables are the command's output")]
pub(super) fn print(found: &Found, marks: &Marks) {
    for line in lines(found, marks) {
        println!("{line}");
    }
}

fn lines(found: &Found, marks: &Marks) -> Vec<String> {
    let mut lines = mark_lines(found, marks);
    lines.extend(loop_lines("loops", &found.tempo.loops));
    lines.extend(loop_lines("real pieces", &found.tempo.control));
    let latency = found.tempo.latency_ms.iter();
    let latency: Vec<String> = latency
        .map(|(name, ms)| format!("{name} {ms:.1} ms"))
        .collect();
    lines.push(format!("taken off as latency: {}", latency.join(", ")));
    lines.extend(confusion_lines("real, held out", &found.adherence, true));
    lines.extend(confusion_lines("generated", &found.adherence, false));
    lines
}

fn mark_lines(found: &Found, marks: &Marks) -> Vec<String> {
    let verdict = |is_met| if is_met { "met" } else { "**missed**" };
    let control = &found.tempo.control;
    let adherence = &found.adherence;
    let real = shares(&adherence.real_confusion);
    vec![
        "| what | base | real | mark | |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
        format!(
            "| loops with a beat error below {MOST_ERROR_MS} ms ({}) | {} of {} | {} of {} | {LOOPS_SHARE} | {} |",
            found.tempo.judge,
            marks.loops_on_the_beat,
            marks.loops,
            found.tempo.on_the_beat(control),
            control.len(),
            verdict(marks.tempo_is_met())
        ),
        format!(
            "| clips whose style is found ({}) | {:.2} | {:.2} | {CLIPS_SHARE} | {} |",
            adherence.classifier,
            marks.found_share,
            adherence
                .real_accuracy
                .get(&adherence.classifier)
                .copied()
                .unwrap_or(f64::NAN),
            verdict(marks.mean_is_met())
        ),
        format!(
            "| styles found so often | {} of {} | {} of {} | all | {} |",
            marks.styles_found,
            marks.styles,
            real.iter().filter(|share| **share >= CLIPS_SHARE).count(),
            marks.styles,
            verdict(marks.styles_are_met())
        ),
    ]
}

fn loop_lines(title: &str, loops: &[MeasuredLoop]) -> Vec<String> {
    let trackers: Vec<&String> = loops
        .first()
        .map_or_else(Vec::new, |one| one.trackers.keys().collect());
    let mut head = format!("| {title} | asked |");
    for tracker in &trackers {
        head += &format!(" {tracker}: tempo | error ms | to eighths ms |");
    }
    head += " onsets: beat | offset ms | eighth | offset ms | tempo / asked |";
    let mut lines = vec![
        String::new(),
        head,
        format!("|{}", "---|".repeat(7 + 3 * trackers.len())),
    ];
    for one in loops {
        let mut line = format!("| {} | {} |", one.style, one.asked_bpm);
        for tracker in &trackers {
            line += &one.tracked(tracker).map_or_else(
                || " - | - | - |".to_owned(),
                |found| {
                    format!(
                        " {:.1} | {:.0} | {:.0} |",
                        found.tempo_bpm, found.error_ms, found.eighth_error_ms
                    )
                },
            );
        }
        let onsets = &one.onsets;
        line += &format!(
            " {:.2} | {:+.0} | {:.2} | {:+.0} | {:.2} |",
            onsets.strength,
            onsets.offset_ms,
            onsets.eighth_strength,
            onsets.eighth_offset_ms,
            onsets.tempo_ratio
        );
        lines.push(line);
    }
    lines
}

fn confusion_lines(title: &str, adherence: &Adherence, is_real: bool) -> Vec<String> {
    let confusion = if is_real {
        &adherence.real_confusion
    } else {
        &adherence.clip_confusion
    };
    let mut lines = vec![
        String::new(),
        format!("| {title} | share | {} |", adherence.styles.join(" | ")),
        format!("|{}", "---|".repeat(2 + adherence.styles.len())),
    ];
    let rows = adherence
        .styles
        .iter()
        .zip(confusion)
        .zip(shares(confusion));
    lines.extend(rows.map(|((style, row), share)| {
        let cell = |count: &u32| {
            if *count == 0 {
                ".".to_owned()
            } else {
                count.to_string()
            }
        };
        let cells: Vec<String> = row.iter().map(cell).collect();
        format!("| {style} | {share:.2} | {} |", cells.join(" | "))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(errors_ms: &[Option<f64>], clip_confusion: &[[u32; 2]; 2]) -> Found {
        let loops: Vec<serde_json::Value> = errors_ms
            .iter()
            .map(|error| {
                let tracked = error.map(|error| {
                    serde_json::json!({"tempo_bpm": 120.0, "error_ms": error, "eighth_error_ms": 1.0, "octave": 0})
                });
                serde_json::json!({
                    "style": "house", "seed": 0, "path": "loops/house.wav", "asked_bpm": 120,
                    "trackers": {"essentia": tracked, "librosa": null},
                    "onsets": {
                        "strength": 0.5, "offset_ms": -1.5, "eighth_strength": 0.2, "eighth_offset_ms": 2.0, "tempo_ratio": 1.0
                    },
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "tempo": {"judge": "essentia", "latency_ms": {"essentia": 3.25}, "control": [], "loops": loops},
            "adherence": {
                "styles": ["house", "rock"], "classifier": "random forest", "real_excerpts": 20,
                "real_accuracy": {"random forest": 0.95}, "clip_accuracy": {"random forest": 0.5},
                "real_confusion": [[10, 0], [1, 9]], "clip_confusion": clip_confusion,
            },
        }))
        .unwrap()
    }

    #[test]
    fn one_loop_of_ten_may_be_off_the_beat() {
        let mut errors = [Some(5.0); 10];
        errors[3] = Some(20.0);
        let diagonal = [[10, 0], [0, 10]];
        assert!(found(&errors, &diagonal).marks().are_met());
        errors[4] = None;
        let marks = found(&errors, &diagonal).marks();
        assert_eq!(marks.loops_on_the_beat, 8);
        assert!(!marks.are_met(), "no beats are no beats in time");
    }

    #[test]
    fn eight_clips_of_ten_are_asked_of_every_style() {
        let errors = [Some(5.0); 10];
        assert!(found(&errors, &[[8, 2], [2, 8]]).marks().are_met());
        let marks = found(&errors, &[[10, 0], [3, 7]]).marks();
        assert_eq!((marks.styles_found, marks.styles), (1, 2));
        assert!(marks.mean_is_met() && !marks.are_met());
    }

    #[test]
    fn the_tables_show_marks_loops_and_both_confusions() {
        let found = found(&[Some(5.2), None], &[[8, 2], [0, 10]]);
        let text = lines(&found, &found.marks()).join("\n");
        for line in [
            "| loops with a beat error below 20 ms (essentia) | 1 of 2 | 0 of 0 | 0.9 | **missed** |",
            "| clips whose style is found (random forest) | 0.90 | 0.95 | 0.8 | met |",
            "| styles found so often | 2 of 2 | 2 of 2 | all | met |",
            "| house | 120 | 120.0 | 5 | 1 | - | - | - | 0.50 | -2 | 0.20 | +2 | 1.00 |",
            "taken off as latency: essentia 3.2 ms",
            "| rock | 0.90 | 1 | 9 |",
            "| rock | 1.00 | . | 10 |",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
