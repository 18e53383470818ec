//! Drum patterns on a grid, with ghosts, fills and crashes.

use super::form::Section;
use super::sketch::{Event, Sketch};
use crate::dice::Dice;
use crate::score::Drum;

/// A drum and its strokes: `X` loud, `x` plain, `o` soft, anything else silent; the text spans a bar.
pub(crate) type Lane = (Drum, &'static str);

/// A groove: lanes by the energy at which they enter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groove {
    lanes: Vec<(Drum, Vec<f64>, f64)>,
    pub(crate) fills: f64,
    pub(crate) ghosts: f64,
    pub(crate) crash: bool,
}

impl Groove {
    /// One of each group of lanes, entering at the group's energy.
    pub(crate) fn choose(dice: &mut Dice, groups: &[(f64, &[Lane])]) -> Self {
        let mut groove = Self {
            fills: 0.6,
            ghosts: 0.06,
            crash: false,
            ..Self::default()
        };
        for (threshold, lanes) in groups {
            let (drum, text) = dice.pick(lanes);
            groove.lanes.push((drum, strokes(text), *threshold));
        }
        groove
    }

    pub(crate) fn with(mut self, lane: Lane, threshold: f64) -> Self {
        self.lanes.push((lane.0, strokes(lane.1), threshold));
        self
    }
}

fn strokes(text: &str) -> Vec<f64> {
    text.chars()
        .map(|stroke| match stroke {
            'X' => 1.0,
            'x' => 0.8,
            'o' => 0.45,
            _ => 0.0,
        })
        .collect()
}

/// The groove over all wanted sections; the last bar of a phrase may hold a fill.
pub(crate) fn play(
    sketch: &mut Sketch,
    groove: &Groove,
    fill_drums: &[Drum],
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut dice = sketch.dice.fork();
    let mut events = Vec::new();
    let bar_beats = sketch.bar_beats();
    for section in sketch
        .form
        .sections
        .iter()
        .filter(|section| wanted(section))
    {
        let start = sketch.form.start_beat(section);
        if section.label == 'E' {
            if let Some((drum, _, _)) = groove.lanes.first() {
                events.push(Event::drum(start, *drum, 0.9));
            }
            if groove.crash {
                events.push(Event::drum(start, Drum::Crash, 0.6));
            }
            continue;
        }
        if groove.crash && section.energy > 0.65 {
            events.push(Event::drum(start, Drum::Crash, 0.55));
        }
        for bar in 0..section.bars {
            let at = start + bar as f64 * bar_beats;
            let last = bar + 1 == section.bars;
            let fill = last && !fill_drums.is_empty() && dice.chance(groove.fills);
            let until = if fill {
                bar_beats - dice.pick(&[1.0, 1.0, 2.0])
            } else {
                bar_beats
            };
            for (drum, lane, threshold) in &groove.lanes {
                if section.energy < *threshold {
                    continue;
                }
                let step = bar_beats / lane.len() as f64;
                for (i, velocity) in lane.iter().enumerate() {
                    let beat = i as f64 * step;
                    let snare_or_tom = matches!(drum, Drum::Snare | Drum::Clap | Drum::Rim);
                    if beat >= until && (snare_or_tom || *drum == Drum::ClosedHat) {
                        continue;
                    }
                    if *velocity > 0.0 {
                        events.push(Event::drum(at + beat, *drum, *velocity));
                    } else if snare_or_tom && dice.chance(groove.ghosts) {
                        events.push(Event::drum(at + beat, *drum, 0.2));
                    }
                }
            }
            if fill {
                fill_bar(
                    &mut dice,
                    fill_drums,
                    at + until,
                    at + bar_beats,
                    &mut events,
                );
            }
        }
    }
    events
}

fn fill_bar(dice: &mut Dice, drums: &[Drum], from: f64, until: f64, events: &mut Vec<Event>) {
    let count = ((until - from) * 4.0).round() as usize;
    for i in 0..count {
        if dice.chance(0.75) {
            let drum = drums[(i * drums.len() / count.max(1)).min(drums.len() - 1)];
            let rise = 0.5 + 0.45 * i as f64 / count as f64;
            events.push(Event::drum(from + i as f64 * 0.25, drum, rise));
        }
    }
}
