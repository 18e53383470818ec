//! Waltz: one bass, two chords, and an accordion's tune.

use crate::composer::accompaniment::stabs;
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::score::{Drum, Mix};
use crate::voice::{Blown, Bowed, Instrument, Kit, Modal, Organ, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 1, 5, 5], &[1, 4, 5, 1], &[1, 6, 2, 5], &[1, 5, 5, 1]],
    minor: &[&[1, 1, 5, 5], &[1, 4, 5, 1], &[1, 7, 3, 5], &[4, 1, 5, 1]],
    sevenths: 0.25,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.4,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (84.0, 180.0),
    metres: &[(3, 1.0)],
    modes: &[
        (Mode::Major, 3.0),
        (Mode::HarmonicMinor, 2.0),
        (Mode::Minor, 1.0),
    ],
    phrase_bars: &[(8, 3.0), (4, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.007;
    melody(sketch);
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("guitar", Pluck::steel(dice).into()),
        1 => ("accordion", Organ::accordion(dice).into()),
        2 => ("piano", Modal::piano(dice).into()),
        _ => ("piano", Modal::upright(dice).into()),
    };
    let hold = dice.range(0.3, 0.8);
    let mix = Mix::new(-6.0, dice.range_f32(-0.4, 0.0), 0.2).spread(0.2);
    let events = stabs(
        sketch,
        62.0,
        4,
        0.65,
        &[(1.0, hold, 1.0), (2.0, hold, 0.9)],
        |_| true,
    );
    sketch.add(name, instrument, events, mix);
    let (instrument, _) = (Pluck::bass(&mut sketch.dice), ());
    let events = line(sketch, Line::RootFifth, 36.0, 0.8, |_| true);
    sketch.add("bass", instrument, events, Mix::new(-5.5, 0.1, 0.05));
    if sketch.dice.chance(0.4) {
        let kit = Kit::acoustic(&mut sketch.dice);
        let groove = Groove::choose(
            &mut sketch.dice,
            &[
                (0.4, &[(Drum::Kick, "X.....")]),
                (
                    0.5,
                    &[
                        (Drum::ClosedHat, "..x.x."),
                        (Drum::Snare, "..o.o."),
                        (Drum::Jingle, "..x.x."),
                    ],
                ),
            ],
        );
        let events = play(sketch, &groove, &[], |_| true);
        sketch.add("drums", kit, events, Mix::new(-10.0, 0.0, 0.15).spread(0.3));
    }
    sketch.tag(if sketch.key.mode.is_major() {
        "bright"
    } else {
        "warm"
    });
}

fn melody(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(6) {
        0 => ("fiddle", Bowed::fiddle(dice).into()),
        1 => ("reed", Blown::clarinet(dice).into()),
        _ => ("accordion", Organ::accordion(dice).into()),
    };
    let density = dice.range(0.3, 0.6);
    let ornaments = dice.range(0.05, 0.3);
    let kind = Tune {
        ornaments,
        legato: 0.95,
        ..Tune::at(dice.range_f32(70.0, 76.0), density)
    };
    let mix = Mix::new(-1.5, dice.range_f32(0.0, 0.4), 0.25);
    let events = tune(sketch, &kind, Sketch::from_energy(0.3));
    // Thirds below the tune, as a second hand plays them.
    let thirds = sketch.dice.chance(0.5);
    let mut all = events.clone();
    if thirds {
        for event in &events {
            if let crate::score::Sound::Pitch(midi) = event.sound {
                let below = sketch.key.degree(sketch.key.nearest_degree(midi) - 2);
                let mut second = *event;
                second.sound = crate::score::Sound::Pitch(below);
                second.velocity *= 0.75;
                all.push(second);
            }
        }
    }
    sketch.add(name, instrument, all, mix);
}
