//! Solo piano: a singing right hand over broken or struck chords.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, stabs};
use crate::composer::bass::{Line, line};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::score::Mix;
use crate::voice::Modal;

static PALETTE: Palette = Palette {
    major: &[&[1, 5, 6, 4], &[1, 6, 4, 5], &[1, 3, 4, 5], &[6, 4, 1, 5]],
    minor: &[&[1, 6, 3, 7], &[1, 4, 5, 1], &[1, 7, 6, 5], &[6, 7, 1, 1]],
    sevenths: 0.3,
    ninths: 0.1,
    suspended: 0.05,
    functional: 0.5,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 180.0),
    metres: &[(4, 4.0), (3, 2.0), (6, 1.0)],
    modes: &[
        (Mode::Major, 4.0),
        (Mode::Minor, 3.0),
        (Mode::HarmonicMinor, 1.0),
        (Mode::Dorian, 1.0),
        (Mode::Lydian, 0.5),
    ],
    phrase_bars: &[(4, 2.0), (8, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.009;
    let dice = &mut sketch.dice;
    let piano = if dice.chance(0.2) {
        Modal::upright(dice)
    } else {
        Modal::piano(dice)
    };
    let density = dice.range(0.25, 0.65);
    let ornaments = dice.range(0.0, 0.12);
    let kind = Tune {
        ornaments,
        legato: 1.0,
        velocity: dice.range(0.6, 0.85),
        ..Tune::at(dice.range_f32(69.0, 76.0), density)
    };
    let mut events = tune(sketch, &kind, Sketch::from_energy(0.25));
    let left = sketch.dice.range(0.4, 0.6);
    match sketch.dice.below(4) {
        0 => {
            events.extend(line(sketch, Line::RootFifth, 36.0, left, |_| true));
            let weak: Vec<(f64, f64, f64)> = (1..sketch.beats_per_bar)
                .map(|beat| (beat as f64, 0.5, 0.85))
                .collect();
            events.extend(stabs(sketch, 57.0, 3, left, &weak, |_| true));
        }
        1 => {
            let half = sketch.bar_beats() / 2.0;
            events.extend(stabs(
                sketch,
                55.0,
                4,
                left,
                &[(0.0, half, 1.0), (half, half, 0.85)],
                |_| true,
            ));
            events.extend(line(
                sketch,
                Line::Roots,
                33.0,
                left,
                Sketch::from_energy(0.5),
            ));
        }
        _ => {
            let figure = sketch
                .dice
                .pick(&[Figure::Alberti, Figure::Up, Figure::UpDown]);
            let step_beats = if sketch.tempo_bpm < 85.0 && sketch.dice.chance(0.5) {
                0.25
            } else {
                0.5
            };
            let bass = sketch.dice.chance(0.7);
            let kind = Arpeggio {
                figure,
                floor: 50.0,
                octaves: 1 + usize::from(figure != Figure::Alberti),
                step_beats,
                hold: 1.5,
                velocity: left,
                rests: 0.0,
                bass,
            };
            events.extend(arpeggio(sketch, &kind, |_| true));
        }
    }
    let mix = Mix::new(0.0, 0.0, sketch.dice.range_f32(0.1, 0.5)).spread(0.55);
    sketch.add("piano", piano, events, mix);
    sketch.tag("solo");
    sketch.tag(if sketch.tempo_bpm < 90.0 {
        "calm"
    } else {
        "bright"
    });
    if !sketch.key.mode.is_major() {
        sketch.tag("dark");
    }
}
