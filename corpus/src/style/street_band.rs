//! Street band, held out: trumpets, answering trombones, a sousaphone, carried drums with a lazy swing.
//!
//! The brass opens up as it gets louder and scoops into its notes; nothing of it, nor the rolled
//! snare and the accent on the fourth beat, is in the base.

use crate::composer::accompaniment::{for_bars, stabs};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix, Sound};
use crate::voice::{Brass, Kit};

static PALETTE: Palette = Palette {
    major: &[
        &[1, 1, 4, 4, 1, 1, 5, 1],
        &[1, 4, 1, 5],
        &[1, 6, 2, 5],
        &[1, 1, 5, 1],
    ],
    minor: &[&[1, 1, 4, 5], &[1, 4, 1, 5], &[1, 6, 4, 5]],
    sevenths: 0.0,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (84.0, 124.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Major, 4.0), (Mode::HarmonicMinor, 1.0)],
    phrase_bars: &[(4, 1.0)],
    palette: &PALETTE,
};

/// Figures of a bar for the whole band: onset, beats, accent.
const SHOUTS: [&[(f64, f64, f64)]; 4] = [
    &[(0.0, 0.4, 1.0), (1.5, 0.3, 0.9), (3.0, 0.7, 1.1)],
    &[
        (0.5, 0.3, 0.9),
        (1.0, 0.4, 1.0),
        (2.5, 0.3, 0.9),
        (3.0, 0.8, 1.1),
    ],
    &[
        (0.0, 0.3, 1.0),
        (0.75, 0.3, 0.9),
        (1.5, 0.5, 1.0),
        (3.0, 0.4, 1.1),
    ],
    &[(0.0, 0.8, 1.0), (1.5, 0.3, 0.9), (2.0, 0.3, 0.9)],
];

pub(super) fn write(sketch: &mut Sketch) {
    sketch.swing = sketch.dice.range(0.14, 0.3);
    sketch.swing_unit_beats = 0.5;
    sketch.looseness_secs = 0.008;
    // Walls of a street: early and dull.
    sketch.master.reverb_secs = sketch.dice.range_f32(0.35, 0.7);
    sketch.master.reverb_size = sketch.dice.range_f32(0.7, 1.1);
    sketch.master.reverb_damping_hz = 3500.0;
    let density = sketch.dice.range(0.5, 0.68);
    let kind = Tune {
        reach: 8.0,
        rests: 0.1,
        ornaments: 0.12,
        legato: 0.82,
        velocity: 0.8,
        ..Tune::at(71.0, density)
    };
    let melody = tune(sketch, &kind, Sketch::from_energy(0.45));
    trumpets(sketch, &melody);
    answers(sketch);
    shouts(sketch);
    sousaphone(sketch);
    drums(sketch);
    for tag in ["brass", "energetic", "bright", "swung"] {
        sketch.tag(tag);
    }
}

/// The tune, and where the band is full a second trumpet a third below.
fn trumpets(sketch: &mut Sketch, melody: &[Event]) {
    let key = sketch.key;
    let second: Vec<Event> = melody
        .iter()
        .filter(|event| sketch.form.section_at(event.beat).energy > 0.7)
        .map(|event| {
            let sound = match event.sound {
                Sound::Pitch(midi) => Sound::Pitch(key.degree(key.nearest_degree(midi) - 2)),
                drum @ Sound::Drum(_) => drum,
            };
            Event {
                sound,
                velocity: event.velocity * 0.85,
                ..*event
            }
        })
        .collect();
    for (events, level_db, pan) in [(melody.to_vec(), 0.0, -0.25), (second, -4.0, -0.55)] {
        let voice = Brass::trumpets(&mut sketch.dice);
        sketch.add("trumpets", voice, events, Mix::new(level_db, pan, 0.2));
    }
}

/// The trombones answer each phrase: a climb through the chord, with a slide into its last note.
fn answers(sketch: &mut Sketch) {
    let mut dice = sketch.dice.fork();
    let rhythm: &[(f64, f64)] = dice.pick(&[
        &[(1.5, 0.4), (2.0, 0.4), (2.5, 0.4), (3.0, 0.9)] as &[(f64, f64)],
        &[(2.0, 0.4), (2.5, 0.4), (3.0, 0.9)],
        &[(1.0, 0.7), (2.0, 0.3), (2.25, 0.3), (3.0, 0.9)],
    ]);
    let key = sketch.key;
    let mut events = Vec::new();
    let mut bar = 0;
    for_bars(sketch, Sketch::from_energy(0.5), |at, ending| {
        bar += 1;
        let chord = sketch.chord_at(at + 1.0);
        let mut tones = chord.voicing(key, 53.0, 3);
        tones.push(tones[0] + 12.0);
        if ending {
            events.push(Event {
                slide: -4.0,
                ..Event::pitch(at, 3.0, tones[0], 0.9)
            });
        } else if bar % 2 == 0 {
            let last = rhythm.len() - 1;
            for (i, (onset, beats)) in rhythm.iter().enumerate() {
                let tone = tones[(i + tones.len()).saturating_sub(rhythm.len())];
                events.push(Event {
                    slide: if i == last { -3.0 } else { 0.0 },
                    ..Event::pitch(at + onset, *beats, tone, 0.75 + 0.05 * i as f64)
                });
            }
        } else {
            events.push(Event::pitch(at, 1.6, tones[1], 0.5));
        }
    });
    let voice = Brass::trombones(&mut sketch.dice);
    sketch.add("trombones", voice, events, Mix::new(-2.0, 0.45, 0.2));
}

/// Chords of the whole band in the fullest sections.
fn shouts(sketch: &mut Sketch) {
    let figure = sketch.dice.pick(&SHOUTS);
    let events = stabs(sketch, 62.0, 3, 0.85, figure, |section| {
        section.label == 'E' || section.energy > 0.72
    });
    let voice = Brass::trombones(&mut sketch.dice);
    let mix = Mix::new(-5.0, 0.2, 0.2).spread(0.5);
    sketch.add("trombones", voice, events, mix);
}

/// Root, fifth and the push into the next bar.
fn sousaphone(sketch: &mut Sketch) {
    let mut dice = sketch.dice.fork();
    let figure: &[(f64, f64, i32)] = dice.pick(&[
        &[(0.0, 0.8, 0), (1.5, 0.4, 7), (2.0, 0.7, 0), (3.0, 0.7, 7)] as &[(f64, f64, i32)],
        &[(0.0, 0.6, 0), (1.5, 0.4, 0), (2.5, 0.4, 7), (3.0, 0.8, 7)],
        &[
            (0.0, 0.4, 0),
            (0.75, 0.4, 7),
            (1.5, 0.4, 12),
            (2.0, 0.6, 7),
            (3.0, 0.8, 0),
        ],
    ]);
    let key = sketch.key;
    let mut events = Vec::new();
    for_bars(sketch, Sketch::from_energy(0.25), |at, ending| {
        for &(onset, beats, interval) in figure {
            if ending && onset > 0.0 {
                break;
            }
            let chord = sketch.chord_at(at + onset);
            let root = chord.root_from(key, 32.0);
            let pitch = match interval {
                7 => chord.interval_from(key, chord.fifth(), 34.0),
                above => root + above as f32,
            };
            let velocity = if onset == 0.0 || onset == 3.0 {
                0.9
            } else {
                0.75
            };
            events.push(Event::pitch(at + onset, beats, pitch, velocity));
        }
        if !ending && dice.chance(0.4) {
            let next = sketch
                .chord_at(at + sketch.bar_beats())
                .root_from(key, 32.0);
            events.push(Event::pitch(at + 3.75, 0.2, next - 1.0, 0.65));
        }
    });
    let voice = Brass::sousaphone(&mut sketch.dice);
    sketch.add("sousaphone", voice, events, Mix::new(-3.0, 0.0, 0.08));
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::street(&mut sketch.dice);
    let mut groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.0,
                &[
                    (Drum::Kick, "X.....x.....X..."),
                    (Drum::Kick, "X..x..x.....X..."),
                    (Drum::Kick, "X.....x...x.X..."),
                ],
            ),
            (
                0.0,
                &[
                    (Drum::Snare, "x.oxo.xox.oxo.Xo"),
                    (Drum::Snare, "xoox.oxoxoox.oXo"),
                    (Drum::Snare, "x.oox.oox.oox.Xo"),
                ],
            ),
            (
                0.4,
                &[
                    (Drum::Ride, "x...x...x...X..."),
                    (Drum::Ride, "..x...x...x.X..."),
                ],
            ),
            (
                0.6,
                &[
                    (Drum::Jingle, "..x...x...x...x."),
                    (Drum::Rim, "x..x..x...x.x..."),
                ],
            ),
        ],
    );
    groove.crash = true;
    groove.fills = 0.0;
    let mut events = play(sketch, &groove, &[], |_| true);
    rolls(sketch, &mut events);
    let mix = Mix::new(-2.0, 0.0, 0.12).spread(0.35).with(Insert::Peak {
        hz: 3200.0,
        q: 0.8,
        gain_db: 2.0,
    });
    sketch.add("drums", kit, events, mix);
}

/// A snare roll that grows through the last two beats of every phrase.
fn rolls(sketch: &Sketch, events: &mut Vec<Event>) {
    let strokes = 16;
    for section in &sketch.form.sections {
        if section.label == 'E' {
            continue;
        }
        let end = sketch.form.start_beat(section) + section.bars as f64 * sketch.bar_beats();
        events.extend((0..strokes).map(|i| {
            let beat = end - 2.0 + 2.0 * f64::from(i) / f64::from(strokes);
            Event::drum(beat, Drum::Snare, 0.25 + 0.025 * f64::from(i))
        }));
    }
}
