//! Blues: shuffled, dominant sevenths in twelve bars, walking bass, a guitar or harmonica that answers.

use crate::composer::accompaniment::{rhythm, stabs};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::{Chord, Palette};
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Blown, FrequencyModulation, Instrument, Kit, Modal, Organ, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 4, 1, 1, 4, 4, 1, 5]],
    minor: &[&[1, 4, 1, 1, 4, 4, 1, 5]],
    sevenths: 1.0,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 180.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Mixolydian, 3.0), (Mode::Dorian, 1.0)],
    phrase_bars: &[(4, 1.0)],
    palette: &PALETTE,
};

/// Roots of the twelve bars, in semitones.
const TWELVE: [i32; 12] = [0, 5, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7];

pub(super) fn write(sketch: &mut Sketch) {
    sketch.swing = sketch.dice.range(0.2, 0.36);
    sketch.looseness_secs = 0.008;
    twelve_bars(sketch);
    let dice = &mut sketch.dice;
    let bass = Pluck::bass(dice);
    let kind = dice.pick(&[Line::Walking, Line::Walking, Line::Groove]);
    let events = line(sketch, kind, 31.0, 0.8, |_| true);
    sketch.add("bass", bass, events, Mix::new(-4.5, 0.0, 0.05));
    comping(sketch);
    answer(sketch);
    let kit = Kit::acoustic(&mut sketch.dice);
    let groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.0,
                &[
                    (Drum::Kick, "X...x..."),
                    (Drum::Kick, "X.o.x.o."),
                    (Drum::Kick, "X......o"),
                ],
            ),
            (
                0.2,
                &[
                    (Drum::Snare, "..x...x."),
                    (Drum::Rim, "..x...x."),
                    (Drum::Snare, "..x...xo"),
                ],
            ),
            (
                0.0,
                &[
                    (Drum::Ride, "x.xxx.xx"),
                    (Drum::ClosedHat, "x.xxx.xx"),
                    (Drum::ClosedHat, "xxxxxxxx"),
                ],
            ),
        ],
    );
    let events = play(sketch, &groove, &[Drum::Snare, Drum::LowTom], |_| true);
    sketch.add("drums", kit, events, Mix::new(-3.5, 0.0, 0.1).spread(0.35));
    for tag in ["swung", "warm"] {
        sketch.tag(tag);
    }
}

/// Lays the twelve bars over the whole form, whatever its sections.
fn twelve_bars(sketch: &mut Sketch) {
    let minor = !sketch.key.mode.is_major();
    for section in &mut sketch.form.sections {
        for (bar, chord) in section.chords.iter_mut().enumerate() {
            let root = if section.label == 'E' {
                0
            } else {
                TWELVE[(section.start_bar + bar) % 12]
            };
            let third = if minor && root != 7 { 3 } else { 4 };
            *chord = Chord {
                root,
                intervals: vec![0, third, 7, 10],
            };
        }
    }
}

fn comping(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("organ", Organ::drawbar(dice).into()),
        1 => (
            "electric-piano",
            FrequencyModulation::electric_piano(dice).into(),
        ),
        2 => ("guitar", Pluck::steel(dice).into()),
        _ => ("piano", Modal::upright(dice).into()),
    };
    let hits = rhythm(dice, 4.0, 0.35);
    let mix = Mix::new(-6.0, dice.range_f32(-0.5, -0.1), 0.15).spread(0.2);
    let events = stabs(sketch, 61.0, 4, 0.65, &hits, Sketch::from_energy(0.3));
    sketch.add(name, instrument, events, mix);
}

fn answer(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let density = dice.range(0.4, 0.65);
    let kind = Tune {
        pentatonic: false,
        rests: 0.22,
        ornaments: 0.3,
        ..Tune::at(dice.range_f32(66.0, 74.0), density)
    };
    let mut mix = Mix::new(-1.5, dice.range_f32(0.1, 0.4), 0.2);
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("reed", Blown::clarinet(dice).into()),
        1 => ("reed", Blown::oboe(dice).into()),
        2 => ("piano", Modal::piano(dice).into()),
        _ => {
            mix = mix.with(Insert::Distortion {
                drive: dice.range_f32(0.8, 3.0),
                tone_hz: 4000.0,
            });
            ("electric-guitar", Pluck::electric(dice).into())
        }
    };
    let events = tune(sketch, &kind, Sketch::from_energy(0.4));
    sketch.add(name, instrument, events, mix);
}
