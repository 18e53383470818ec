//! House: four on the floor, a bass between the beats, stabs on a loop of four chords.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, pad, rhythm, stabs};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{FrequencyModulation, Instrument, Kit, Modal, Organ, Subtractive};

pub(super) static PALETTE: Palette = Palette {
    major: &[
        &[1, 5, 6, 4],
        &[4, 1, 5, 6],
        &[1, 1, 4, 4],
        &[6, 4, 1, 5],
        &[2, 5, 1, 1],
    ],
    minor: &[
        &[1, 6, 3, 7],
        &[1, 1, 6, 7],
        &[1, 4, 1, 5],
        &[1, 7, 6, 7],
        &[4, 1, 7, 6],
        &[1, 1, 1, 1],
    ],
    sevenths: 0.5,
    ninths: 0.25,
    suspended: 0.05,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (112.0, 164.0),
    metres: &[(4, 1.0)],
    modes: &[
        (Mode::Minor, 4.0),
        (Mode::Dorian, 2.0),
        (Mode::Major, 2.0),
        (Mode::Mixolydian, 0.7),
        (Mode::Phrygian, 0.5),
    ],
    phrase_bars: &[(4, 2.0), (8, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    if sketch.dice.chance(0.4) {
        sketch.swing = sketch.dice.range(0.05, 0.25);
        sketch.swing_unit_beats = 0.5;
    }
    sketch.looseness_secs = 0.0015;
    drums(sketch);
    bass(sketch);
    chords(sketch);
    top(sketch);
    let mood = sketch.dice.pick(&["energetic", "bright", "dark"]);
    sketch.tag(if sketch.key.mode.is_major() && mood == "dark" {
        "bright"
    } else {
        mood
    });
    sketch.tag("energetic");
}

fn drums(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let kit = Kit::electronic(dice);
    let groove = Groove::choose(
        dice,
        &[
            (
                0.0,
                &[
                    (Drum::Kick, "X...X...X...X..."),
                    (Drum::Kick, "X...X...X...X.o."),
                ],
            ),
            (
                0.4,
                &[
                    (Drum::Clap, "....x.......x..."),
                    (Drum::Snare, "....x.......x..."),
                    (Drum::Clap, "....x.......x..o"),
                ],
            ),
            (
                0.3,
                &[
                    (Drum::OpenHat, "..x...x...x...x."),
                    (Drum::OpenHat, "..x...x...x..xx."),
                ],
            ),
            (
                0.55,
                &[
                    (Drum::ClosedHat, "xoxoxoxoxoxoxoxo"),
                    (Drum::Shaker, "oxooxoooxoooxoxo"),
                    (Drum::ClosedHat, "x.ox.ox.x.ox.oxo"),
                ],
            ),
            (
                0.75,
                &[
                    (Drum::Rim, "...o..o....o..o."),
                    (Drum::HighTom, "......x......x.."),
                    (Drum::Jingle, "..o...o...o...o."),
                ],
            ),
        ],
    );
    let level = dice.range_f32(-2.0, 1.0);
    let send = dice.range_f32(0.02, 0.12);
    let events = play(sketch, &groove, &[Drum::Snare, Drum::Clap], |_| true);
    sketch.add("drums", kit, events, Mix::new(level, 0.0, send).spread(0.3));
}

fn bass(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let instrument: Instrument = match dice.below(4) {
        0 => FrequencyModulation::bass(dice).into(),
        1 => Subtractive::acid(dice).into(),
        2 => Subtractive::sine_bass(dice).into(),
        _ => Subtractive::bass(dice).into(),
    };
    let kind = dice.pick(&[
        Line::OffBeat,
        Line::Groove,
        Line::Groove,
        Line::Sequence,
        Line::Eighths,
    ]);
    let mix = Mix::new(dice.range_f32(-5.5, -2.5), 0.0, 0.0).with(Insert::Pump {
        beat_secs: sketch.beat_secs() as f32,
        depth: sketch.dice.range_f32(0.2, 0.7),
    });
    let events = line(sketch, kind, 33.0, 0.85, Sketch::from_energy(0.35));
    sketch.add("bass", instrument, events, mix);
}

fn chords(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("piano", Modal::piano(dice).into()),
        1 => ("organ", Organ::drawbar(dice).into()),
        2 => (
            "electric-piano",
            FrequencyModulation::electric_piano(dice).into(),
        ),
        _ => ("synth", Subtractive::stab(dice).into()),
    };
    let density = dice.range(0.2, 0.6);
    let hits = rhythm(dice, 4.0, density);
    let beat_secs = sketch.beat_secs() as f32;
    let dice = &mut sketch.dice;
    let mut mix = Mix::new(dice.range_f32(-7.0, -3.5), 0.0, dice.range_f32(0.15, 0.5))
        .doubled(dice.range_f32(4.0, 12.0))
        .with(Insert::HighPass { hz: 150.0 });
    if dice.chance(0.5) {
        mix = mix.with(Insert::Delay {
            secs: 0.75 * beat_secs,
            feedback: 0.4,
            mix: dice.range_f32(0.15, 0.4),
        });
    }
    mix = mix.with(Insert::Pump {
        beat_secs,
        depth: dice.range_f32(0.2, 0.6),
    });
    let events = stabs(sketch, 64.0, 5, 0.75, &hits, Sketch::from_energy(0.25));
    sketch.add(name, instrument, events, mix);
    if sketch.dice.chance(0.5) {
        let pad_voice = Subtractive::pad(&mut sketch.dice);
        let mix = Mix::new(-9.0, 0.0, 0.5).doubled(10.0).with(Insert::Pump {
            beat_secs,
            depth: 0.7,
        });
        let events = pad(sketch, 60.0, 4, 0.6, Sketch::from_energy(0.6));
        sketch.add("pad", pad_voice, events, mix);
    }
}

fn top(sketch: &mut Sketch) {
    let beat_secs = sketch.beat_secs() as f32;
    if sketch.dice.chance(0.6) {
        let voice = Subtractive::pluck(&mut sketch.dice);
        let figure = Figure::any(&mut sketch.dice);
        let kind = Arpeggio {
            figure,
            floor: 66.0,
            octaves: 2,
            step_beats: 0.25,
            hold: 0.8,
            velocity: 0.6,
            rests: 0.25,
            bass: false,
        };
        let events = arpeggio(sketch, &kind, Sketch::from_energy(0.7));
        let mix = Mix::new(-8.0, 0.2, 0.3).with(Insert::Delay {
            secs: 0.75 * beat_secs,
            feedback: 0.45,
            mix: 0.35,
        });
        sketch.add("arpeggio", voice, events, mix);
    } else {
        let voice = Subtractive::lead(&mut sketch.dice);
        let kind = Tune {
            rests: 0.2,
            pentatonic: true,
            ..Tune::at(72.0, 0.55)
        };
        let events = tune(sketch, &kind, Sketch::from_energy(0.65));
        let mix = Mix::new(-5.0, -0.15, 0.3).with(Insert::Delay {
            secs: 0.5 * beat_secs,
            feedback: 0.35,
            mix: 0.25,
        });
        sketch.add("lead", voice, events, mix);
    }
}
