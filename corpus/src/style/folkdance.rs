//! Folk dance: a fiddle or flute over strummed strings and a hand drum, in old modes.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, rhythm, strums};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Blown, Bowed, Instrument, Kit, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 1, 7, 1], &[1, 4, 5, 1], &[1, 1, 4, 5], &[1, 5, 4, 5]],
    minor: &[&[1, 7, 1, 7], &[1, 1, 7, 7], &[1, 3, 7, 1], &[1, 7, 4, 1]],
    sevenths: 0.0,
    ninths: 0.0,
    suspended: 0.1,
    functional: 0.15,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (84.0, 180.0),
    metres: &[(4, 4.0), (6, 2.0), (3, 1.0)],
    modes: &[
        (Mode::Dorian, 4.0),
        (Mode::Mixolydian, 3.0),
        (Mode::Major, 2.0),
        (Mode::Minor, 1.0),
    ],
    phrase_bars: &[(4, 2.0), (8, 2.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.007;
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(5) {
        0 => ("flute", Blown::flute(dice).into()),
        1 => ("banjo", Pluck::banjo(dice).into()),
        2 => ("lute", Pluck::lute(dice).into()),
        _ => ("fiddle", Bowed::fiddle(dice).into()),
    };
    let density = dice.range(0.6, 0.85);
    let ornaments = dice.range(0.1, 0.35);
    let kind = Tune {
        ornaments,
        rests: 0.03,
        legato: 0.9,
        ..Tune::at(dice.range_f32(69.0, 76.0), density)
    };
    let mix = Mix::new(-1.0, dice.range_f32(-0.3, 0.3), 0.2).with(Insert::Peak {
        hz: 1100.0,
        q: 1.5,
        gain_db: 3.0,
    });
    let events = tune(sketch, &kind, Sketch::from_energy(0.3));
    sketch.add(name, instrument, events, mix);
    accompaniment(sketch);
    drums(sketch);
    if sketch.dice.chance(0.6) {
        let voice = Pluck::bass(&mut sketch.dice);
        let events = line(
            sketch,
            Line::RootFifth,
            36.0,
            0.75,
            Sketch::from_energy(0.5),
        );
        sketch.add("bass", voice, events, Mix::new(-6.5, 0.0, 0.05));
    }
    sketch.tag(if sketch.tempo_bpm > 120.0 {
        "energetic"
    } else {
        "warm"
    });
    sketch.tag("bright");
}

fn accompaniment(sketch: &mut Sketch) {
    let bar = sketch.bar_beats();
    let dice = &mut sketch.dice;
    let (name, voice) = match dice.below(4) {
        0 => ("lute", Pluck::lute(dice)),
        1 => ("harp", Pluck::harp(dice)),
        2 => ("banjo", Pluck::banjo(dice)),
        _ => ("guitar", Pluck::steel(dice)),
    };
    let mix = Mix::new(-5.0, dice.range_f32(-0.5, 0.5), 0.15);
    let events = if name == "guitar" || dice.chance(0.3) {
        let hits = rhythm(dice, bar, 0.5);
        strums(sketch, 62.0, 0.6, &hits, |_| true)
    } else {
        let figure = Figure::any(dice);
        let kind = Arpeggio {
            figure,
            floor: 56.0,
            octaves: 2,
            step_beats: 0.5,
            hold: 1.4,
            velocity: 0.65,
            rests: 0.05,
            bass: true,
        };
        arpeggio(sketch, &kind, |_| true)
    };
    sketch.add(name, voice, events, mix);
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::hand(&mut sketch.dice);
    let groups: &[(f64, &[(Drum, &str)])] = match sketch.beats_per_bar {
        3 => &[
            (
                0.3,
                &[(Drum::FrameLow, "X....."), (Drum::FrameLow, "X...o.")],
            ),
            (0.5, &[(Drum::FrameHigh, "..x.x.")]),
        ],
        6 => &[
            (
                0.3,
                &[
                    (Drum::FrameLow, "X.....x....."),
                    (Drum::FrameLow, "X.....o...x."),
                ],
            ),
            (
                0.5,
                &[
                    (Drum::FrameHigh, "....x.....x."),
                    (Drum::FrameHigh, "..o.x...o.x."),
                ],
            ),
            (
                0.6,
                &[
                    (Drum::Jingle, "....x.....x."),
                    (Drum::Shaker, "x.o.o.x.o.o."),
                ],
            ),
        ],
        _ => &[
            (
                0.3,
                &[
                    (Drum::FrameLow, "X.......X......."),
                    (Drum::FrameLow, "X.....o.X......."),
                    (Drum::FrameLow, "X...o...X...o..."),
                ],
            ),
            (
                0.5,
                &[
                    (Drum::FrameHigh, "....x..o....x..."),
                    (Drum::FrameHigh, "..o.x...o.o.x..."),
                    (Drum::Rim, "....x.......x..."),
                ],
            ),
            (
                0.6,
                &[
                    (Drum::Shaker, "x.o.x.o.x.o.x.o."),
                    (Drum::Jingle, "....x.......x..."),
                    (Drum::Jingle, "..o...o...o...o."),
                ],
            ),
        ],
    };
    let groove = Groove::choose(&mut sketch.dice, groups);
    let events = play(sketch, &groove, &[Drum::FrameHigh, Drum::FrameLow], |_| {
        true
    });
    sketch.add(
        "hand-drum",
        kit,
        events,
        Mix::new(-4.0, 0.0, 0.15).spread(0.2),
    );
}
