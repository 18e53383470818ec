//! Rock: doubled distorted chords, bass, a kit, a lead.

use crate::composer::accompaniment::{for_bars, rhythm};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Kit, Organ, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 4, 5, 4], &[1, 5, 6, 4], &[1, 7, 4, 1], &[1, 1, 4, 5]],
    minor: &[
        &[1, 6, 7, 1],
        &[1, 7, 6, 7],
        &[1, 3, 7, 4],
        &[1, 1, 6, 7],
        &[1, 4, 6, 5],
    ],
    sevenths: 0.0,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (76.0, 180.0),
    metres: &[(4, 8.0), (3, 1.0)],
    modes: &[
        (Mode::Minor, 4.0),
        (Mode::Mixolydian, 3.0),
        (Mode::Major, 2.0),
        (Mode::Dorian, 1.0),
        (Mode::Phrygian, 0.5),
    ],
    phrase_bars: &[(4, 3.0), (8, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.005;
    guitars(sketch);
    let dice = &mut sketch.dice;
    let voice = Pluck::bass(dice);
    let kind = dice.pick(&[Line::Eighths, Line::Eighths, Line::Groove, Line::RootFifth]);
    let mix = Mix::new(-4.5, 0.0, 0.02).with(Insert::Distortion {
        drive: dice.range_f32(0.5, 2.0),
        tone_hz: 2500.0,
    });
    let events = line(sketch, kind, 33.0, 0.85, Sketch::from_energy(0.3));
    sketch.add("bass", voice, events, mix);
    drums(sketch);
    lead(sketch);
    if sketch.dice.chance(0.25) {
        let organ = Organ::drawbar(&mut sketch.dice);
        let events =
            crate::composer::accompaniment::pad(sketch, 66.0, 3, 0.6, Sketch::from_energy(0.6));
        sketch.add("organ", organ, events, Mix::new(-9.0, 0.3, 0.25));
    }
    for tag in ["energetic", "distorted"] {
        sketch.tag(tag);
    }
    sketch.tag(if sketch.key.mode.is_major() {
        "bright"
    } else {
        "dark"
    });
}

/// Root, fifth and octave, on the left and on the right.
fn guitars(sketch: &mut Sketch) {
    let bar = sketch.bar_beats();
    let dice = &mut sketch.dice;
    let voice = Pluck::electric(dice);
    let drive = dice.log_range(2.0, 12.0);
    let tone_hz = dice.log_range(2800.0, 5500.0);
    let chug = dice.chance(0.5);
    let hits = if chug {
        (0..(bar * 2.0) as usize)
            .map(|i| {
                (
                    i as f64 * 0.5,
                    if i % 4 == 0 { 0.48 } else { 0.3 },
                    if i % 2 == 0 { 1.0 } else { 0.8 },
                )
            })
            .collect()
    } else {
        rhythm(dice, bar, 0.4)
    };
    let open: Vec<(f64, f64, f64)> = rhythm(dice, bar, 0.2)
        .into_iter()
        .map(|(at, _, accent)| (at, 1.4, accent))
        .collect();
    let key = sketch.key;
    let mut events = Vec::new();
    for_bars(
        sketch,
        |_| true,
        |at, ending| {
            let whole = vec![(0.0, bar, 1.0)];
            let pattern = if ending {
                &whole
            } else if sketch.form.section_at(at).label == 'B' {
                &open
            } else {
                &hits
            };
            for &(onset, beats, accent) in pattern {
                let root = sketch.chord_at(at + onset).root_from(key, 40.0);
                for interval in [0.0, 7.0, 12.0] {
                    events.push(Event::pitch(
                        at + onset,
                        beats,
                        root + interval,
                        0.8 * accent,
                    ));
                }
            }
        },
    );
    let mix = Mix::new(-1.5, 0.0, 0.08)
        .doubled(9.0)
        .with(Insert::Distortion { drive, tone_hz })
        .with(Insert::HighPass { hz: 100.0 });
    sketch.add("electric-guitar", voice, events, mix);
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::acoustic(&mut sketch.dice);
    let mut groove = if sketch.beats_per_bar == 3 {
        Groove::choose(
            &mut sketch.dice,
            &[
                (0.0, &[(Drum::Kick, "X.....x.....")]),
                (
                    0.2,
                    &[(Drum::Snare, "....x...x..."), (Drum::Snare, "........x...")],
                ),
                (
                    0.2,
                    &[
                        (Drum::Ride, "x.x.x.x.x.x."),
                        (Drum::ClosedHat, "x.x.x.x.x.x."),
                    ],
                ),
            ],
        )
    } else {
        Groove::choose(
            &mut sketch.dice,
            &[
                (
                    0.0,
                    &[
                        (Drum::Kick, "X.......X.x....."),
                        (Drum::Kick, "X..x..x.X......."),
                        (Drum::Kick, "X.x.....X.x..x.."),
                        (Drum::Kick, "X...x...X...x.x."),
                    ],
                ),
                (
                    0.2,
                    &[
                        (Drum::Snare, "....X.......X..."),
                        (Drum::Snare, "....X.......X..o"),
                        (Drum::Snare, "........X......."),
                    ],
                ),
                (
                    0.2,
                    &[
                        (Drum::ClosedHat, "x.x.x.x.x.x.x.x."),
                        (Drum::Ride, "x.x.x.x.x.x.x.x."),
                        (Drum::OpenHat, "x...x...x...x..."),
                        (Drum::ClosedHat, "xoxoxoxoxoxoxoxo"),
                    ],
                ),
            ],
        )
    };
    groove.crash = true;
    let events = play(
        sketch,
        &groove,
        &[Drum::Snare, Drum::HighTom, Drum::LowTom],
        |_| true,
    );
    sketch.add("drums", kit, events, Mix::new(-1.0, 0.0, 0.15).spread(0.4));
}

fn lead(sketch: &mut Sketch) {
    let beat_secs = sketch.beat_secs() as f32;
    let dice = &mut sketch.dice;
    let voice = Pluck::electric(dice);
    let density = dice.range(0.4, 0.75);
    let kind = Tune {
        pentatonic: dice.chance(0.6),
        ornaments: 0.15,
        rests: 0.12,
        ..Tune::at(71.0, density)
    };
    let mix = Mix::new(-3.5, dice.range_f32(-0.25, 0.25), 0.3)
        .with(Insert::Distortion {
            drive: dice.log_range(4.0, 14.0),
            tone_hz: 4500.0,
        })
        .with(Insert::Delay {
            secs: beat_secs * 0.75,
            feedback: 0.3,
            mix: 0.2,
        });
    let events = tune(sketch, &kind, Sketch::from_energy(0.6));
    sketch.add("electric-guitar", voice, events, mix);
}
