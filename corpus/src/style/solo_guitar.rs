//! Solo guitar: picked chords with a bass, sometimes a tune on top.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, rhythm, strums};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::Mix;
use crate::voice::Pluck;

static PALETTE: Palette = Palette {
    major: &[&[1, 5, 6, 4], &[1, 4, 1, 5], &[1, 6, 4, 5], &[4, 1, 5, 1]],
    minor: &[&[1, 7, 6, 5], &[1, 6, 3, 7], &[1, 4, 7, 3], &[1, 4, 1, 5]],
    sevenths: 0.3,
    ninths: 0.1,
    suspended: 0.12,
    functional: 0.3,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 180.0),
    metres: &[(4, 4.0), (3, 2.0), (6, 1.0)],
    modes: &[
        (Mode::Major, 3.0),
        (Mode::Minor, 2.0),
        (Mode::Dorian, 1.0),
        (Mode::Mixolydian, 1.0),
        (Mode::Phrygian, 0.7),
        (Mode::HarmonicMinor, 0.7),
    ],
    phrase_bars: &[(4, 2.0), (8, 1.0), (2, 0.4)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.007;
    let bar = sketch.bar_beats();
    let dice = &mut sketch.dice;
    let (name, guitar) = match dice.below(8) {
        0..=2 => ("guitar", Pluck::steel(dice)),
        3 => ("harp", Pluck::harp(dice)),
        4 => ("lute", Pluck::lute(dice)),
        5 => ("banjo", Pluck::banjo(dice)),
        _ => ("guitar", Pluck::nylon(dice)),
    };
    let style = dice.below(4);
    let body = Insert::Peak {
        hz: dice.range_f32(180.0, 260.0),
        q: 1.2,
        gain_db: dice.range_f32(1.0, 4.0),
    };
    let mix = Mix::new(0.0, dice.range_f32(-0.2, 0.2), dice.range_f32(0.08, 0.35))
        .spread(0.35)
        .with(body);
    let mut events = Vec::new();
    if style == 3 {
        let hits = rhythm(dice, bar, 0.55);
        events.extend(strums(sketch, 62.0, 0.65, &hits, |_| true));
    } else {
        let figure = dice.pick(&[Figure::Alberti, Figure::Up, Figure::UpDown, Figure::Random]);
        let step_beats = if sketch.tempo_bpm < 90.0 && sketch.dice.chance(0.5) {
            0.25
        } else {
            0.5
        };
        let rests = sketch.dice.range(0.0, 0.25);
        let kind = Arpeggio {
            figure,
            floor: 54.0,
            octaves: 1 + usize::from(figure != Figure::Alberti),
            step_beats,
            hold: 2.5,
            velocity: 0.6,
            rests,
            bass: true,
        };
        events.extend(arpeggio(sketch, &kind, |_| true));
    }
    if style != 0 {
        let density = sketch.dice.range(0.2, 0.55);
        let kind = Tune {
            ornaments: 0.12,
            legato: 1.1,
            velocity: 0.8,
            ..Tune::at(71.0, density)
        };
        events.extend(tune(sketch, &kind, Sketch::from_energy(0.5)));
    }
    sketch.add(name, guitar, events, mix);
    sketch.tag("solo");
    sketch.tag(if sketch.tempo_bpm < 95.0 {
        "calm"
    } else {
        "bright"
    });
    sketch.tag("warm");
}
