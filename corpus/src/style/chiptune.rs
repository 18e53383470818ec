//! Chiptune: two pulses, a stepped triangle and a noise channel.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Kit, Subtractive};

static PALETTE: Palette = Palette {
    major: &[&[1, 5, 6, 4], &[1, 4, 5, 5], &[1, 6, 4, 5], &[6, 4, 1, 5]],
    minor: &[&[1, 6, 7, 1], &[1, 7, 6, 5], &[1, 4, 5, 1], &[1, 6, 3, 7]],
    sevenths: 0.0,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.3,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (96.0, 180.0),
    metres: &[(4, 6.0), (3, 1.0)],
    modes: &[
        (Mode::Major, 4.0),
        (Mode::Minor, 3.0),
        (Mode::Mixolydian, 1.0),
        (Mode::HarmonicMinor, 1.0),
    ],
    phrase_bars: &[(4, 2.0), (8, 2.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.0;
    sketch.master.reverb_gain = if sketch.dice.chance(0.6) { 0.0 } else { 0.3 };
    let lead = Subtractive::chip_pulse(&mut sketch.dice);
    let ornaments = sketch.dice.range(0.0, 0.25);
    let density = sketch.dice.range(0.45, 0.8);
    let centre = sketch.dice.range_f32(72.0, 78.0);
    let beat_secs = sketch.beat_secs() as f32;
    let kind = Tune {
        legato: 0.85,
        ornaments,
        ..Tune::at(centre, density)
    };
    let events = tune(sketch, &kind, Sketch::from_energy(0.45));
    let mut mix = Mix::new(-3.0, sketch.dice.range_f32(-0.4, 0.0), 0.1);
    if sketch.dice.chance(0.5) {
        mix = mix.with(Insert::Delay {
            secs: beat_secs * 0.75,
            feedback: 0.3,
            mix: 0.25,
        });
    }
    sketch.add("lead", lead, events, mix);
    let voice = Subtractive::chip_pulse(&mut sketch.dice);
    let quick = sketch.dice.chance(0.5);
    let figure = Figure::any(&mut sketch.dice);
    let kind = Arpeggio {
        figure: if quick { Figure::Up } else { figure },
        floor: 58.0,
        octaves: if quick { 1 } else { 2 },
        step_beats: if quick { 0.125 } else { 0.25 },
        hold: 0.95,
        velocity: 0.6,
        rests: 0.0,
        bass: false,
    };
    let events = arpeggio(sketch, &kind, |_| true);
    let pan = sketch.dice.range_f32(0.0, 0.4);
    sketch.add("arpeggio", voice, events, Mix::new(-7.0, pan, 0.05));
    let kind = sketch
        .dice
        .pick(&[Line::Eighths, Line::Groove, Line::Sequence, Line::RootFifth]);
    let events = line(sketch, kind, 40.0, 0.9, Sketch::from_energy(0.3));
    sketch.add(
        "bass",
        Subtractive::chip_triangle(),
        events,
        Mix::new(-5.5, 0.0, 0.0),
    );
    drums(sketch);
    for tag in ["synth", "bright", "dry"] {
        sketch.tag(tag);
    }
    if sketch.tempo_bpm > 130.0 {
        sketch.tag("energetic");
    }
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::chip(&mut sketch.dice);
    let groove = if sketch.beats_per_bar == 3 {
        Groove::choose(
            &mut sketch.dice,
            &[
                (0.3, &[(Drum::Kick, "X.....")]),
                (0.4, &[(Drum::Snare, "..x.x.")]),
                (0.5, &[(Drum::ClosedHat, "xoxoxo")]),
            ],
        )
    } else {
        Groove::choose(
            &mut sketch.dice,
            &[
                (
                    0.3,
                    &[
                        (Drum::Kick, "X.......X......."),
                        (Drum::Kick, "X...x...X..xx..."),
                        (Drum::Kick, "X.....x.X......."),
                    ],
                ),
                (
                    0.4,
                    &[
                        (Drum::Snare, "....x.......x..."),
                        (Drum::Snare, "....x.......x.o."),
                    ],
                ),
                (
                    0.5,
                    &[
                        (Drum::ClosedHat, "x.x.x.x.x.x.x.x."),
                        (Drum::ClosedHat, "xoxoxoxoxoxoxoxo"),
                        (Drum::OpenHat, "..x...x...x...x."),
                    ],
                ),
            ],
        )
    };
    let events = play(sketch, &groove, &[Drum::Snare], |_| true);
    sketch.add("drums", kit, events, Mix::new(-5.0, 0.0, 0.0));
}
