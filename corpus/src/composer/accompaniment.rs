//! Chords as pads, stabs, strums and broken figures.

use super::form::Section;
use super::sketch::{Event, Sketch};
use crate::dice::Dice;

/// Held chords, one for each slot of the harmony.
pub(crate) fn pad(
    sketch: &Sketch,
    centre: f32,
    most: usize,
    velocity: f64,
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    for slot in sketch.form.slots(wanted) {
        for pitch in slot.chord.voicing(sketch.key, centre, most) {
            events.push(Event::pitch(slot.start, slot.beats * 0.97, pitch, velocity));
        }
    }
    events
}

/// Chords on a rhythm: onset, length (both in beats of the bar) and accent.
pub(crate) fn stabs(
    sketch: &Sketch,
    centre: f32,
    most: usize,
    velocity: f64,
    rhythm: &[(f64, f64, f64)],
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    for_bars(sketch, wanted, |at, ending| {
        if ending {
            let pitches = sketch.chord_at(at).voicing(sketch.key, centre, most);
            events.extend(
                pitches
                    .iter()
                    .map(|p| Event::pitch(at, sketch.bar_beats() * 0.9, *p, velocity)),
            );
            return;
        }
        for &(onset, beats, accent) in rhythm {
            if onset < sketch.bar_beats() {
                let pitches = sketch
                    .chord_at(at + onset)
                    .voicing(sketch.key, centre, most);
                events.extend(
                    pitches
                        .iter()
                        .map(|p| Event::pitch(at + onset, beats, *p, velocity * accent)),
                );
            }
        }
    });
    events
}

/// A strummed rhythm: the strings of a chord follow each other, down or up.
pub(crate) fn strums(
    sketch: &Sketch,
    centre: f32,
    velocity: f64,
    rhythm: &[(f64, f64, f64)],
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    let gap = 0.014 / sketch.beat_secs();
    let key = sketch.key;
    for_bars(sketch, wanted, |at, ending| {
        let whole = [(0.0, sketch.bar_beats() * 0.95, 1.0)];
        let rhythm = if ending { &whole[..] } else { rhythm };
        for &(onset, beats, accent) in rhythm.iter().filter(|hit| hit.0 < sketch.bar_beats()) {
            let chord = sketch.chord_at(at + onset);
            let mut strings = vec![chord.root_from(key, centre - 19.0)];
            strings.extend(chord.voicing(key, centre - 8.0, 4));
            strings.extend(chord.voicing(key, centre + 4.0, 4).iter().skip(1));
            let up = (onset * 2.0).round() as i32 % 2 == 1;
            if up {
                strings.reverse();
                strings.truncate(4);
            }
            for (i, pitch) in strings.iter().enumerate() {
                events.push(Event::pitch(
                    at + onset + i as f64 * gap,
                    beats,
                    *pitch,
                    velocity * accent,
                ));
            }
        }
    });
    events
}

/// The order in which a broken chord's notes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Up,
    Down,
    UpDown,
    Alberti,
    Random,
}

impl Figure {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        dice.pick(&[
            Self::Up,
            Self::Down,
            Self::UpDown,
            Self::Alberti,
            Self::Random,
        ])
    }

    fn index(self, step: usize, count: usize, dice: &mut Dice) -> usize {
        match self {
            Self::Up => step % count,
            Self::Down => count - 1 - step % count,
            Self::UpDown => {
                let cycle = (2 * count - 2).max(1);
                let at = step % cycle;
                if at < count { at } else { cycle - at }
            }
            Self::Alberti => [0, count - 1, count / 2, count - 1][step % 4],
            Self::Random => dice.below(count),
        }
    }
}

/// Broken chords in steps of `step_beats` over `octaves` octaves from `floor` upwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arpeggio {
    pub(crate) figure: Figure,
    pub(crate) floor: f32,
    pub(crate) octaves: usize,
    pub(crate) step_beats: f64,
    /// Length of a note in steps.
    pub(crate) hold: f64,
    pub(crate) velocity: f64,
    /// Chance that a step stays silent.
    pub(crate) rests: f64,
    /// Whether the first step of each chord sounds the root an octave lower.
    pub(crate) bass: bool,
}

pub(crate) fn arpeggio(
    sketch: &mut Sketch,
    kind: &Arpeggio,
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut dice = sketch.dice.fork();
    let mut events = Vec::new();
    for slot in sketch.form.slots(wanted) {
        let mut ladder = Vec::new();
        for octave in 0..kind.octaves {
            ladder.extend(slot.chord.voicing(
                sketch.key,
                kind.floor + 6.0 + 12.0 * octave as f32,
                4,
            ));
        }
        if slot.section.label == 'E' {
            for (i, pitch) in ladder.iter().take(5).enumerate() {
                events.push(Event::pitch(
                    slot.start + i as f64 * 0.08,
                    slot.beats,
                    *pitch,
                    kind.velocity,
                ));
            }
            if kind.bass {
                events.push(Event::pitch(
                    slot.start,
                    slot.beats,
                    slot.chord.root_from(sketch.key, kind.floor - 12.0),
                    kind.velocity,
                ));
            }
            continue;
        }
        let steps = (slot.beats / kind.step_beats).round() as usize;
        for step in 0..steps {
            let beat = slot.start + step as f64 * kind.step_beats;
            let accent = if step == 0 {
                1.1
            } else if beat.fract() < 1e-6 {
                1.0
            } else {
                0.85
            };
            if step == 0 && kind.bass {
                let root = slot.chord.root_from(sketch.key, kind.floor - 12.0);
                events.push(Event::pitch(beat, slot.beats * 0.95, root, kind.velocity));
            } else if dice.chance(kind.rests) {
                continue;
            }
            let pitch = ladder[kind.figure.index(step, ladder.len(), &mut dice)];
            events.push(Event::pitch(
                beat,
                kind.step_beats * kind.hold,
                pitch,
                kind.velocity * accent,
            ));
        }
    }
    events
}

/// A bar's rhythm for stabs or strums, drawn by chance: syncopated as `density` grows.
pub(crate) fn rhythm(dice: &mut Dice, bar_beats: f64, density: f64) -> Vec<(f64, f64, f64)> {
    let mut hits = Vec::new();
    let mut at = 0.0;
    while at < bar_beats - 1e-9 {
        let strong = at % 2.0 < 1e-9;
        let chance = if at == 0.0 {
            0.9
        } else if strong {
            0.35 + 0.5 * density
        } else {
            0.2 + 0.6 * density
        };
        if dice.chance(chance) {
            let beats = dice.pick(&[0.25, 0.45, 0.45, 0.9]);
            hits.push((at, beats, if strong { 1.0 } else { 0.85 }));
        }
        at += 0.5;
    }
    if hits.is_empty() {
        hits.push((0.0, bar_beats * 0.9, 1.0));
    }
    hits
}

/// Calls `play` with the first beat of every bar of the wanted sections, and whether it is the ending.
pub(crate) fn for_bars(
    sketch: &Sketch,
    wanted: impl Fn(&Section) -> bool,
    mut play: impl FnMut(f64, bool),
) {
    for section in sketch
        .form
        .sections
        .iter()
        .filter(|section| wanted(section))
    {
        for bar in 0..section.bars {
            play(
                sketch.form.start_beat(section) + bar as f64 * sketch.bar_beats(),
                section.label == 'E',
            );
        }
    }
}
