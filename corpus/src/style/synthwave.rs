//! Synthwave: a sequenced bass, gated snare, wide pads and a singing lead.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, pad};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{FrequencyModulation, Instrument, Kit, Subtractive};

static PALETTE: Palette = Palette {
    major: &[&[1, 5, 6, 4], &[4, 5, 6, 1], &[1, 3, 4, 5]],
    minor: &[&[1, 6, 3, 7], &[6, 7, 1, 1], &[1, 7, 6, 6], &[1, 4, 6, 7]],
    sevenths: 0.2,
    ninths: 0.1,
    suspended: 0.1,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (70.0, 170.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Minor, 5.0), (Mode::Dorian, 1.0), (Mode::Major, 1.5)],
    phrase_bars: &[(4, 2.0), (8, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.001;
    let beat_secs = sketch.beat_secs() as f32;
    let bass = Subtractive::bass(&mut sketch.dice);
    let kind = sketch
        .dice
        .pick(&[Line::Sequence, Line::Sequence, Line::Eighths]);
    let events = line(sketch, kind, 31.0, 0.85, Sketch::from_energy(0.2));
    sketch.add("bass", bass, events, Mix::new(-4.5, 0.0, 0.03));
    let voice = Subtractive::pad(&mut sketch.dice);
    let events = pad(sketch, 62.0, 4, 0.6, |_| true);
    let chorus = Insert::Chorus {
        depth_secs: 0.003,
        hz: 0.6,
        mix: 0.7,
    };
    sketch.add(
        "pad",
        voice,
        events,
        Mix::new(-5.0, 0.0, 0.4).doubled(14.0).with(chorus),
    );
    if sketch.dice.chance(0.65) {
        let voice = Subtractive::pluck(&mut sketch.dice);
        let figure = Figure::any(&mut sketch.dice);
        let kind = Arpeggio {
            figure,
            floor: 64.0,
            octaves: 2,
            step_beats: 0.25,
            hold: 0.7,
            velocity: 0.6,
            rests: 0.0,
            bass: false,
        };
        let events = arpeggio(sketch, &kind, Sketch::from_energy(0.4));
        let mix = Mix::new(-8.0, -0.3, 0.25).with(Insert::Delay {
            secs: 0.75 * beat_secs,
            feedback: 0.4,
            mix: 0.3,
        });
        sketch.add("arpeggio", voice, events, mix);
    }
    let dice = &mut sketch.dice;
    let (name, lead): (_, Instrument) = if dice.chance(0.25) {
        ("brass", FrequencyModulation::brass(dice).into())
    } else {
        ("lead", Subtractive::lead(dice).into())
    };
    let density = dice.range(0.3, 0.55);
    let kind = Tune {
        legato: 0.97,
        ornaments: 0.12,
        ..Tune::at(73.0, density)
    };
    let events = tune(sketch, &kind, Sketch::from_energy(0.55));
    let mix = Mix::new(-3.5, 0.1, 0.4).with(Insert::Delay {
        secs: 0.5 * beat_secs,
        feedback: 0.35,
        mix: 0.25,
    });
    sketch.add(name, lead, events, mix);
    drums(sketch);
    for tag in ["synth", "dark"] {
        sketch.tag(tag);
    }
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::electronic(&mut sketch.dice);
    let groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.3,
                &[
                    (Drum::Kick, "X.......X......."),
                    (Drum::Kick, "X...X...X...X..."),
                    (Drum::Kick, "X.....x.X......."),
                ],
            ),
            (0.4, &[(Drum::Snare, "....X.......X...")]),
            (
                0.5,
                &[
                    (Drum::ClosedHat, "x.x.x.x.x.x.x.x."),
                    (Drum::ClosedHat, "xoxoxoxoxoxoxoxo"),
                ],
            ),
        ],
    );
    let send = sketch.dice.range_f32(0.15, 0.45);
    let events = play(sketch, &groove, &[Drum::HighTom, Drum::LowTom], |_| true);
    sketch.add("drums", kit, events, Mix::new(-2.0, 0.0, send).spread(0.4));
}
