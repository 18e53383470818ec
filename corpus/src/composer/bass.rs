//! Bass lines.

use super::accompaniment::for_bars;
use super::form::Section;
use super::sketch::{Event, Sketch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// One root for each bar.
    Roots,
    /// Root and fifth by turns, every other beat.
    RootFifth,
    /// Roots in eighths.
    Eighths,
    /// The octave between the beats.
    OffBeat,
    /// A new note each beat, moving to the next root.
    Walking,
    /// A syncopated figure that is kept through the piece.
    Groove,
    /// Sixteenths with octaves, kept through the piece.
    Sequence,
}

/// A line from `floor` upwards.
pub(crate) fn line(
    sketch: &mut Sketch,
    kind: Line,
    floor: f32,
    velocity: f64,
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut dice = sketch.dice.fork();
    let mut events = Vec::new();
    let bar = sketch.bar_beats();
    let key = sketch.key;
    let groove: Vec<(f64, f64, i32)> = {
        let mut hits = vec![(0.0, 0.7, 0)];
        let mut at = 0.5;
        while at < bar {
            if dice.chance(if at.fract() > 0.0 { 0.45 } else { 0.3 }) {
                hits.push((
                    at,
                    dice.pick(&[0.25, 0.45, 0.7]),
                    dice.weighted(&[(0, 4.0), (12, 1.5), (7, 1.5), (-5, 0.5)]),
                ));
            }
            at += dice.pick(&[0.5, 0.5, 0.25, 0.75]);
            at = (at * 4.0).round() / 4.0;
        }
        hits
    };
    let pattern: Vec<i32> = (0..8)
        .map(|_| dice.weighted(&[(0, 5.0), (12, 2.0), (7, 1.0), (-1, 2.0)]))
        .collect();
    for_bars(sketch, wanted, |at, ending| {
        let chord = sketch.chord_at(at);
        let root = chord.root_from(key, floor);
        let fifth = chord.interval_from(key, chord.fifth(), floor);
        let mut note = |beat: f64, beats: f64, pitch: f32, accent: f64| {
            events.push(Event::pitch(beat, beats, pitch, velocity * accent));
        };
        if ending {
            note(at, bar * 0.95, root, 1.0);
            return;
        }
        match kind {
            Line::Roots => note(at, bar * 0.95, root, 1.0),
            Line::RootFifth => {
                let mut beat = 0.0;
                while beat < bar {
                    let first = beat == 0.0;
                    note(
                        at + beat,
                        0.9,
                        if first { root } else { fifth },
                        if first { 1.0 } else { 0.85 },
                    );
                    beat += if bar == 3.0 { 3.0 } else { 2.0 };
                }
            }
            Line::Eighths => {
                for i in 0..(bar * 2.0) as usize {
                    let beat = at + i as f64 * 0.5;
                    let root = sketch.chord_at(beat).root_from(key, floor);
                    note(beat, 0.45, root, if i % 2 == 0 { 1.0 } else { 0.8 });
                }
            }
            Line::OffBeat => {
                for i in 0..bar as usize {
                    note(at + i as f64 + 0.5, 0.4, root, 1.0);
                }
            }
            Line::Walking => {
                let next = sketch.chord_at(at + bar).root_from(key, floor);
                let third =
                    chord.interval_from(key, chord.intervals.get(1).copied().unwrap_or(4), floor);
                for i in 0..bar as usize {
                    let pitch = match i {
                        0 => root,
                        _ if i + 1 == bar as usize => next + dice.pick(&[-1.0, 1.0, 2.0, -2.0]),
                        _ => dice.pick(&[third, fifth, fifth, root]),
                    };
                    note(
                        at + i as f64,
                        0.85,
                        pitch,
                        if i % 2 == 0 { 1.0 } else { 0.9 },
                    );
                }
            }
            Line::Groove => {
                for &(onset, beats, interval) in &groove {
                    let root = sketch.chord_at(at + onset).root_from(key, floor);
                    let pitch = if interval == 7 {
                        fifth
                    } else {
                        root + interval as f32
                    };
                    note(
                        at + onset,
                        beats,
                        pitch,
                        if onset.fract() == 0.0 { 1.0 } else { 0.85 },
                    );
                }
            }
            Line::Sequence => {
                for i in 0..(bar * 4.0) as usize {
                    let interval = pattern[i % pattern.len()];
                    if interval >= 0 {
                        note(
                            at + i as f64 * 0.25,
                            0.22,
                            root + interval as f32,
                            if i % 4 == 0 { 1.0 } else { 0.8 },
                        );
                    }
                }
            }
        }
    });
    events
}
