//! Tunes: a motif, its repetition and variation, phrases that answer, cadences.

use super::form::Section;
use super::sketch::{Event, Sketch};
use crate::dice::Dice;

/// What kind of tune a part wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tune {
    /// Middle of the register, MIDI.
    pub(crate) centre: f32,
    /// Half its width in semitones.
    pub(crate) reach: f32,
    /// `0..=1`: how far bars are subdivided.
    pub(crate) density: f64,
    /// Chance that a note is left out.
    pub(crate) rests: f64,
    /// Chance of a grace note or turn on a long note.
    pub(crate) ornaments: f64,
    /// Length of notes in parts of their time.
    pub(crate) legato: f64,
    pub(crate) velocity: f64,
    /// Whether only five notes of the scale are used.
    pub(crate) pentatonic: bool,
}

impl Tune {
    pub(crate) fn at(centre: f32, density: f64) -> Self {
        Self {
            centre,
            reach: 9.0,
            density,
            rests: 0.08,
            ornaments: 0.0,
            legato: 0.92,
            velocity: 0.75,
            pentatonic: false,
        }
    }
}

/// One bar of a motif: onset and length in beats, and steps of the scale from the last note.
#[derive(Clone, Debug)]
struct Cell {
    notes: Vec<(f64, f64, i32)>,
}

/// Divides `beats` again and again: the recursion keeps strong beats strong.
pub(crate) fn subdivide(dice: &mut Dice, beats: f64, density: f64, out: &mut Vec<f64>) {
    let split = match beats {
        b if b >= 3.0 => 0.6 + 0.6 * density,
        b if b >= 2.0 => 0.25 + 0.75 * density,
        b if b >= 1.0 => 0.9 * density,
        b if b >= 0.5 => 0.9 * (density - 0.45).max(0.0),
        _ => 0.0,
    };
    if !dice.chance(split) {
        out.push(beats);
        return;
    }
    let parts: &[f64] = match beats {
        6.0 => dice.pick(&[&[3.0, 3.0], &[3.0, 3.0], &[2.0, 1.0, 2.0, 1.0]]),
        5.0 => dice.pick(&[&[3.0, 2.0], &[2.0, 3.0]]),
        4.0 => dice.pick(&[
            &[2.0, 2.0],
            &[2.0, 2.0],
            &[3.0, 1.0],
            &[1.5, 1.5, 1.0],
            &[1.0, 3.0],
        ]),
        3.0 => dice.pick(&[&[2.0, 1.0], &[1.0, 2.0], &[1.0, 1.0, 1.0], &[1.5, 0.5, 1.0]]),
        2.0 => dice.pick(&[&[1.0, 1.0], &[1.0, 1.0], &[1.5, 0.5], &[0.5, 1.0, 0.5]]),
        1.5 => dice.pick(&[&[1.0, 0.5], &[0.5, 1.0]]),
        1.0 => dice.pick(&[&[0.5, 0.5], &[0.5, 0.5], &[0.75, 0.25], &[0.5, 0.25, 0.25]]),
        _ => &[0.25, 0.25],
    };
    if parts.iter().sum::<f64>() > beats + 1e-9 {
        out.push(beats);
        return;
    }
    for part in parts {
        subdivide(dice, *part, density - 0.08, out);
    }
}

fn cell(dice: &mut Dice, bar_beats: f64, density: f64) -> Cell {
    let mut lengths = Vec::new();
    subdivide(dice, bar_beats, density, &mut lengths);
    let mut beat = 0.0;
    let mut direction = if dice.chance(0.5) { 1 } else { -1 };
    let notes = lengths
        .iter()
        .map(|&beats| {
            let onset = beat;
            beat += beats;
            if dice.chance(0.35) {
                direction = -direction;
            }
            let size = dice.weighted(&[(0, 1.0), (1, 5.0), (2, 2.0), (3, 0.5), (4, 0.4)]);
            (onset, beats, direction * size)
        })
        .collect();
    Cell { notes }
}

/// The order of motif bars in a phrase: numbers name cells, the last bar is a cadence.
fn layout(dice: &mut Dice, bars: usize) -> Vec<usize> {
    let four =
        |dice: &mut Dice| dice.pick(&[[0, 1, 0, 9], [0, 0, 1, 9], [0, 1, 2, 9], [0, 0, 0, 9]]);
    match bars {
        1 => vec![0],
        2 => vec![0, 9],
        3 => vec![0, 1, 9],
        _ => {
            let mut order = Vec::new();
            let question = four(dice);
            let mut turn = 0;
            while order.len() < bars {
                let mut part = if turn % 2 == 0 || dice.chance(0.6) {
                    question
                } else {
                    four(dice)
                };
                // The first phrase asks: its end stays open on the way.
                if (order.len() / 4) % 2 == 0 && bars > 4 {
                    part[3] = 8;
                }
                order.extend(part);
                turn += 1;
            }
            order.truncate(bars);
            if let Some(last) = order.last_mut() {
                *last = 9;
            }
            order
        }
    }
}

/// The scale step of a five-note scale in a seven-note one.
fn pentatonic(sketch: &Sketch, degree: i32) -> i32 {
    let avoided: [i32; 2] = if sketch.key.mode.is_major() {
        [3, 6]
    } else {
        [1, 5]
    };
    if avoided.contains(&degree.rem_euclid(7)) {
        degree - 1
    } else {
        degree
    }
}

/// The degree nearest to `degree` whose pitch belongs to the chord at `beat`.
pub(crate) fn snapped(sketch: &Sketch, degree: i32, beat: f64) -> i32 {
    let chord = sketch.chord_at(beat);
    [0, 1, -1, 2, -2]
        .iter()
        .map(|offset| degree + offset)
        .find(|d| chord.contains(sketch.key, sketch.key.degree(*d)))
        .unwrap_or(degree)
}

/// A tune over all sections that `wanted` admits; sections with one label share their motifs.
pub(crate) fn tune(
    sketch: &mut Sketch,
    kind: &Tune,
    wanted: impl Fn(&Section) -> bool,
) -> Vec<Event> {
    let mut motif_dice = sketch.dice.fork();
    let mut events = Vec::new();
    let bar_beats = sketch.bar_beats();
    let phrase_seed = motif_dice.bits();
    let mut motifs = std::collections::BTreeMap::new();
    let sections: Vec<Section> = sketch
        .form
        .sections
        .iter()
        .filter(|section| wanted(section))
        .cloned()
        .collect();
    for section in &sections {
        let name = if section.label == 'B' { 'B' } else { 'A' };
        let (cells, order) = motifs
            .entry(name)
            .or_insert_with(|| {
                let density = kind.density
                    + if name == 'B' {
                        motif_dice.range(-0.1, 0.15)
                    } else {
                        0.0
                    };
                let cells: Vec<Cell> = (0..3)
                    .map(|_| cell(&mut motif_dice, bar_beats, density))
                    .collect();
                (cells, layout(&mut motif_dice, section.bars))
            })
            .clone();
        // The same seed for each return of a section: the tune is recognised.
        let mut dice = Dice::new(
            if name == 'B' { "phrase b" } else { "phrase a" },
            phrase_seed,
        );
        let start = sketch.form.start_beat(section);
        let home = sketch.key.nearest_degree(kind.centre);
        if section.label == 'E' {
            let degree = snapped(sketch, home, start);
            events.push(Event::pitch(
                start,
                bar_beats,
                sketch.key.degree(degree),
                kind.velocity * 0.9,
            ));
            continue;
        }
        let mut degree = snapped(sketch, home, start);
        for (bar, &which) in order.iter().take(section.bars).enumerate() {
            let at = start + bar as f64 * bar_beats;
            if which >= 8 {
                degree = cadence(sketch, kind, &mut dice, at, degree, which == 9, &mut events);
                continue;
            }
            degree = play_cell(
                sketch,
                kind,
                &mut dice,
                &cells[which % cells.len()],
                at,
                degree,
                &mut events,
            );
        }
    }
    events
}

/// Plays one bar of a motif from `degree`; returns the last degree.
fn play_cell(
    sketch: &Sketch,
    kind: &Tune,
    dice: &mut Dice,
    cell: &Cell,
    at: f64,
    from: i32,
    events: &mut Vec<Event>,
) -> i32 {
    let mut degree = from;
    let low = kind.centre - kind.reach;
    let high = kind.centre + kind.reach;
    for &(onset, beats, step) in &cell.notes {
        degree += step;
        let pitch = sketch.key.degree(degree);
        if pitch > high {
            degree -= 2 + step.abs();
        } else if pitch < low {
            degree += 2 + step.abs();
        }
        let beat = at + onset;
        let strong = onset.fract() < 1e-9 && (beats >= 1.0 || onset == 0.0);
        if strong {
            degree = snapped(sketch, degree, beat);
        } else if kind.pentatonic {
            degree = pentatonic(sketch, degree);
        }
        if onset > 0.0 && dice.chance(kind.rests) {
            continue;
        }
        let accent = if onset == 0.0 {
            1.1
        } else if strong {
            1.0
        } else {
            0.85
        };
        ornamented(sketch, kind, dice, beat, beats, degree, accent, events);
    }
    degree
}

/// A phrase's last bar: an approach and a long note, at rest (closed) or on the way (open).
fn cadence(
    sketch: &Sketch,
    kind: &Tune,
    dice: &mut Dice,
    at: f64,
    from: i32,
    closed: bool,
    events: &mut Vec<Event>,
) -> i32 {
    let bar = sketch.bar_beats();
    let home = sketch.key.nearest_degree(kind.centre);
    let goal_class = if closed { 0 } else { dice.pick(&[4, 1, 4]) };
    let goal = (home - 4..=home + 4)
        .filter(|d| d.rem_euclid(7) == goal_class)
        .min_by_key(|d| (d - from).abs())
        .unwrap_or(home);
    let goal = if closed {
        snapped(sketch, goal, at + bar - 1.0)
    } else {
        goal
    };
    let long = if bar > 3.0 {
        bar - dice.pick(&[1.0, 2.0])
    } else {
        bar - 1.0
    };
    let lead = bar - long;
    let count = if lead >= 2.0 || kind.density > 0.5 {
        2
    } else {
        1
    };
    let side = if from >= goal { 1 } else { -1 };
    for i in 0..count {
        let degree = goal + side * (count - i);
        let beats = lead / f64::from(count);
        events.push(Event::pitch(
            at + f64::from(i) * beats,
            beats * kind.legato,
            sketch.key.degree(degree),
            kind.velocity * 0.9,
        ));
    }
    let held = (long * dice.pick(&[0.6, 0.8, 0.9])).max(0.5);
    ornamented(sketch, kind, dice, at + lead, held, goal, 1.0, events);
    goal
}

/// One note, perhaps with a grace note, a turn or a slide.
#[expect(
    clippy::too_many_arguments,
    reason = "one note needs its place, its length and its accent"
)]
fn ornamented(
    sketch: &Sketch,
    kind: &Tune,
    dice: &mut Dice,
    beat: f64,
    beats: f64,
    degree: i32,
    accent: f64,
    events: &mut Vec<Event>,
) {
    let velocity = kind.velocity * accent;
    let pitch = sketch.key.degree(degree);
    let quick = 0.07 / sketch.beat_secs();
    if beats >= 0.5 && dice.chance(kind.ornaments) {
        match dice.below(3) {
            0 => {
                events.push(Event::pitch(
                    beat,
                    quick,
                    sketch.key.degree(degree + 1),
                    velocity * 0.8,
                ));
                events.push(Event::pitch(
                    beat + quick,
                    beats * kind.legato - quick,
                    pitch,
                    velocity,
                ));
            }
            1 if beats >= 4.0 * quick => {
                for (i, step) in [0, 1, 0, -1].iter().enumerate() {
                    let length = if i == 3 { quick } else { quick * 0.95 };
                    events.push(Event::pitch(
                        beat + i as f64 * quick,
                        length,
                        sketch.key.degree(degree + step),
                        velocity * 0.85,
                    ));
                }
                let rest = (beats * kind.legato - 4.0 * quick).max(quick);
                events.push(Event::pitch(beat + 4.0 * quick, rest, pitch, velocity));
            }
            _ => events.push(Event {
                slide: -1.5,
                ..Event::pitch(beat, beats * kind.legato, pitch, velocity)
            }),
        }
        return;
    }
    events.push(Event::pitch(beat, beats * kind.legato, pitch, velocity));
}
