//! Minimalism: mallets in short patterns that interlock and shift.

use crate::composer::accompaniment::pad;
use crate::composer::bass::{Line, line};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::score::Mix;
use crate::voice::{Blown, Instrument, Modal, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 1, 6, 6], &[1, 4, 1, 4], &[1, 3, 4, 2], &[1, 1, 1, 1]],
    minor: &[&[1, 1, 7, 7], &[1, 6, 1, 6], &[1, 4, 7, 3]],
    sevenths: 0.6,
    ninths: 0.3,
    suspended: 0.15,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (84.0, 180.0),
    metres: &[(4, 3.0), (3, 2.0), (6, 1.0)],
    modes: &[
        (Mode::Major, 3.0),
        (Mode::Lydian, 2.0),
        (Mode::Dorian, 2.0),
        (Mode::Mixolydian, 2.0),
    ],
    phrase_bars: &[(4, 2.0), (2, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.003;
    let players = 2 + sketch.dice.below(3);
    pulse(sketch);
    for player in 0..players {
        mallets(sketch, player, players);
    }
    if sketch.dice.chance(0.4) {
        let voice = Pluck::bass(&mut sketch.dice);
        let events = line(sketch, Line::Roots, 36.0, 0.7, Sketch::from_energy(0.5));
        sketch.add("bass", voice, events, Mix::new(-7.5, 0.0, 0.1));
    }
    if sketch.dice.chance(0.35) {
        let voice = Blown::clarinet(&mut sketch.dice);
        let events = pad(sketch, 64.0, 2, 0.5, Sketch::from_energy(0.6));
        sketch.add("reed", voice, events, Mix::new(-9.0, 0.0, 0.4).doubled(6.0));
    }
    for tag in ["bright", "dense"] {
        sketch.tag(tag);
    }
}

/// The same high note on every beat from beginning to end: what the players count by.
fn pulse(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let voice = Modal::xylophone(dice);
    let level_db = dice.range_f32(-7.0, -4.0);
    let mut pitch = sketch.key.degree(7);
    if pitch > 78.0 {
        pitch -= 12.0;
    }
    let last = (sketch.total_beats() - sketch.bar_beats()) as usize;
    let events = (0..=last)
        .flat_map(|beat| {
            let accent = if beat % sketch.beats_per_bar == 0 {
                0.9
            } else {
                0.75
            };
            [(pitch, accent), (pitch + 12.0, 0.6 * accent)]
                .map(|(pitch, accent)| Event::pitch(beat as f64, 0.5, pitch, accent))
        })
        .collect();
    sketch.add("marimba", voice, events, Mix::new(level_db, 0.0, 0.15));
}

/// A pattern of degrees over two beats or a bar, kept, moved by the harmony.
fn mallets(sketch: &mut Sketch, player: usize, players: usize) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(8) {
        0 => ("vibraphone", Modal::vibraphone(dice).into()),
        1 => ("marimba", Modal::xylophone(dice).into()),
        2 => ("bells", Modal::glockenspiel(dice).into()),
        3 => ("harp", Pluck::harp(dice).into()),
        _ => ("marimba", Modal::marimba(dice).into()),
    };
    let centre = 58.0 + 7.0 * player as f32 + if name == "bells" { 14.0 } else { 0.0 };
    let step = dice.pick(&[0.25, 0.5, 0.5]);
    let length = dice.pick(&[3, 4, 5, 6, 8]);
    let pattern: Vec<Option<usize>> = (0..length)
        .map(|i| (i == 0 || dice.chance(0.72)).then(|| dice.below(5)))
        .collect();
    let threshold = 0.12 * player as f64 + 0.15;
    let key = sketch.key;
    let mut events = Vec::new();
    for slot in sketch.form.slots(Sketch::from_energy(threshold)) {
        let mut ladder = slot.chord.voicing(key, centre, 4);
        let upper: Vec<f32> = ladder.iter().map(|pitch| pitch + 12.0).collect();
        ladder.extend(upper);
        if slot.section.label == 'E' {
            events.push(Event::pitch(slot.start, 1.0, ladder[0], 0.8));
            continue;
        }
        let first = (slot.start / step).round() as usize;
        for i in 0..(slot.beats / step).round() as usize {
            // The pattern runs over bar lines: its length differs from player to player.
            if let Some(rung) = pattern[(first + i) % pattern.len()] {
                let beat = slot.start + i as f64 * step;
                let accent = if (first + i).is_multiple_of(pattern.len()) {
                    0.85
                } else {
                    0.65
                };
                events.push(Event::pitch(
                    beat,
                    step,
                    ladder[rung % ladder.len()],
                    accent,
                ));
            }
        }
    }
    let pan = if players > 1 {
        1.4 * player as f32 / (players - 1) as f32 - 0.7
    } else {
        0.0
    };
    let send = sketch.dice.range_f32(0.1, 0.35);
    sketch.add(
        name,
        instrument,
        events,
        Mix::new(-2.0 - player as f32, pan, send),
    );
}
