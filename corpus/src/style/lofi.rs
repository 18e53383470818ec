//! Lo-fi: rich chords on an electric piano, soft swung drums, tape and dust.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, rhythm, stabs};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Blown, FrequencyModulation, Instrument, Kit, Modal, Pluck, Subtractive};

static PALETTE: Palette = Palette {
    major: &[&[2, 5, 1, 6], &[1, 6, 2, 5], &[4, 3, 2, 1], &[1, 3, 4, 5]],
    minor: &[&[1, 4, 7, 3], &[6, 5, 1, 1], &[1, 6, 4, 5], &[4, 5, 1, 1]],
    sevenths: 1.0,
    ninths: 0.5,
    suspended: 0.05,
    functional: 0.15,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 108.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Major, 3.0), (Mode::Minor, 2.0), (Mode::Dorian, 2.0)],
    phrase_bars: &[(4, 3.0), (2, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.swing = sketch.dice.range(0.1, 0.34);
    sketch.swing_unit_beats = 0.5;
    sketch.looseness_secs = 0.012;
    keys(sketch);
    let dice = &mut sketch.dice;
    let voice: Instrument = if dice.chance(0.5) {
        Pluck::bass(dice).into()
    } else {
        Subtractive::sine_bass(dice).into()
    };
    let kind = dice.pick(&[Line::Groove, Line::Roots, Line::RootFifth]);
    let events = line(sketch, kind, 33.0, 0.75, Sketch::from_energy(0.35));
    sketch.add(
        "bass",
        voice,
        events,
        Mix::new(-5.5, 0.0, 0.03).with(Insert::LowPass { hz: 900.0 }),
    );
    drums(sketch);
    melody(sketch);
    let dice = &mut sketch.dice;
    let cutoff_hz = dice.log_range(4500.0, 12_000.0);
    let depth = dice.range_f32(0.0008, 0.004);
    let hz = dice.range_f32(0.4, 1.2);
    let seed = dice.bits();
    let gain = dice.range_f32(0.0, 0.012);
    sketch.master.inserts.extend([
        Insert::Wobble { depth, hz },
        Insert::LowPass { hz: cutoff_hz },
        Insert::Crackle { gain, seed },
    ]);
    for tag in ["calm", "warm", "swung"] {
        sketch.tag(tag);
    }
}

fn keys(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("piano", Modal::piano(dice).into()),
        1 => ("guitar", Pluck::nylon(dice).into()),
        _ => (
            "electric-piano",
            FrequencyModulation::electric_piano(dice).into(),
        ),
    };
    let hits = if dice.chance(0.5) {
        vec![(0.0, 1.9, 1.0), (2.5, 1.2, 0.8)]
    } else {
        rhythm(dice, 4.0, 0.25)
    };
    let hits: Vec<_> = hits
        .into_iter()
        .map(|(at, beats, accent)| (at, f64::max(beats, 0.9), accent))
        .collect();
    let mut mix = Mix::new(-2.0, dice.range_f32(-0.2, 0.2), dice.range_f32(0.1, 0.35)).spread(0.4);
    if dice.chance(0.6) {
        mix = mix.with(Insert::Tremolo {
            hz: dice.range_f32(2.0, 5.0),
            depth: dice.range_f32(0.1, 0.35),
            stereo: true,
        });
    }
    let events = stabs(sketch, 62.0, 5, 0.65, &hits, |_| true);
    sketch.add(name, instrument, events, mix);
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::soft(&mut sketch.dice);
    let mut groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.35,
                &[
                    (Drum::Kick, "X......x..x....."),
                    (Drum::Kick, "X..x....x.x....."),
                    (Drum::Kick, "X.........x..x.."),
                ],
            ),
            (
                0.35,
                &[
                    (Drum::Snare, "....x.......x..."),
                    (Drum::Rim, "....x.......x..."),
                    (Drum::Snare, "....x.......x..o"),
                ],
            ),
            (
                0.3,
                &[
                    (Drum::ClosedHat, "x.o.x.o.x.o.x.o."),
                    (Drum::ClosedHat, "x.x.xox.x.x.x.xo"),
                    (Drum::Shaker, "o.x.o.x.o.x.o.x."),
                ],
            ),
        ],
    );
    groove.fills = 0.25;
    let events = play(sketch, &groove, &[Drum::Snare], |_| true);
    sketch.add(
        "drums",
        kit,
        events,
        Mix::new(-2.5, 0.0, 0.08)
            .spread(0.2)
            .with(Insert::LowPass { hz: 8000.0 }),
    );
}

fn melody(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(5) {
        0 => ("flute", Blown::flute(dice).into()),
        1 => ("vibraphone", Modal::vibraphone(dice).into()),
        2 => ("guitar", Pluck::nylon(dice).into()),
        3 => ("synth", Subtractive::pluck(dice).into()),
        _ => ("bells", FrequencyModulation::bell(dice).into()),
    };
    let mix = Mix::new(-4.0, dice.range_f32(-0.4, 0.4), 0.35);
    let events = if dice.chance(0.7) {
        let kind = Tune {
            rests: 0.25,
            pentatonic: true,
            ornaments: 0.1,
            ..Tune::at(74.0, 0.45)
        };
        tune(sketch, &kind, Sketch::from_energy(0.5))
    } else {
        let kind = Arpeggio {
            figure: Figure::Random,
            floor: 67.0,
            octaves: 2,
            step_beats: 0.5,
            hold: 1.5,
            velocity: 0.5,
            rests: 0.4,
            bass: false,
        };
        arpeggio(sketch, &kind, Sketch::from_energy(0.5))
    };
    sketch.add(name, instrument, events, mix);
}
