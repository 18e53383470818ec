//! Ambient: long pads, sparse bells, a large room, no drums.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, pad};
use crate::composer::bass::{Line, line};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::Mix;
use crate::voice::{Blown, Bowed, FrequencyModulation, Instrument, Modal, Pluck, Subtractive};

static PALETTE: Palette = Palette {
    major: &[
        &[1, 4],
        &[1, 1, 4, 4],
        &[1, 3, 4, 4],
        &[4, 1, 6, 5],
        &[1, 2, 1, 2],
    ],
    minor: &[&[1, 6], &[1, 1, 6, 6], &[1, 4, 6, 7], &[1, 7, 1, 6]],
    sevenths: 0.6,
    ninths: 0.4,
    suspended: 0.3,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 140.0),
    metres: &[(4, 3.0), (3, 1.0)],
    modes: &[
        (Mode::Major, 2.0),
        (Mode::Lydian, 2.0),
        (Mode::Dorian, 2.0),
        (Mode::Minor, 2.0),
        (Mode::Mixolydian, 1.0),
    ],
    phrase_bars: &[(4, 1.0), (2, 0.5)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.015;
    sketch.tail_secs += 1.5;
    let dice = &mut sketch.dice;
    sketch.master.reverb_secs = dice.range_f32(3.0, 7.0);
    sketch.master.reverb_size = dice.range_f32(1.0, 1.6);
    sketch.master.reverb_gain = dice.range_f32(0.6, 1.1);
    pads(sketch);
    bells(sketch);
    if sketch.dice.chance(0.6) {
        let voice = Subtractive::sine_bass(&mut sketch.dice);
        let events = line(sketch, Line::Roots, 33.0, 0.6, Sketch::from_energy(0.4));
        sketch.add("bass", voice, events, Mix::new(-8.5, 0.0, 0.1));
    }
    for tag in ["calm", "reverberant"] {
        sketch.tag(tag);
    }
    sketch.tag(if sketch.key.mode.is_major() {
        "warm"
    } else {
        "dark"
    });
}

fn pads(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(4) {
        0 => ("choir", Blown::choir(dice).into()),
        1 => ("strings", Bowed::ensemble(dice).into()),
        _ => ("pad", Subtractive::pad(dice).into()),
    };
    let centre = dice.range_f32(54.0, 64.0);
    let mix = Mix::new(-3.0, 0.0, dice.range_f32(0.4, 0.9))
        .doubled(dice.range_f32(6.0, 16.0))
        .with(Insert::Chorus {
            depth_secs: 0.003,
            hz: dice.range_f32(0.1, 0.5),
            mix: 0.6,
        });
    let events = pad(sketch, centre, 4, 0.6, |_| true);
    sketch.add(name, instrument, events, mix);
    if sketch.dice.chance(0.4) {
        let voice = Subtractive::pad(&mut sketch.dice);
        let events = pad(sketch, centre + 14.0, 3, 0.5, Sketch::from_energy(0.55));
        sketch.add("pad", voice, events, Mix::new(-8.0, 0.0, 0.8).doubled(14.0));
    }
}

fn bells(sketch: &mut Sketch) {
    let beat_secs = sketch.beat_secs() as f32;
    let dice = &mut sketch.dice;
    let (name, instrument): (_, Instrument) = match dice.below(6) {
        0 => ("bells", Modal::bell(dice).into()),
        1 => ("bells", FrequencyModulation::bell(dice).into()),
        2 => ("vibraphone", Modal::vibraphone(dice).into()),
        3 => ("harp", Pluck::harp(dice).into()),
        4 => ("piano", Modal::piano(dice).into()),
        _ => ("bells", Modal::glockenspiel(dice).into()),
    };
    let mix = Mix::new(dice.range_f32(-7.0, -3.0), 0.0, dice.range_f32(0.4, 0.9))
        .spread(0.6)
        .with(Insert::Delay {
            secs: beat_secs * 1.5,
            feedback: 0.5,
            mix: 0.3,
        });
    let events = if dice.chance(0.5) {
        let kind = Tune {
            rests: 0.35,
            pentatonic: true,
            legato: 1.6,
            velocity: 0.6,
            ..Tune::at(74.0, 0.25)
        };
        tune(sketch, &kind, Sketch::from_energy(0.25))
    } else {
        let step_beats = dice.pick(&[0.5, 1.0, 1.0]);
        let rests = dice.range(0.3, 0.65);
        let kind = Arpeggio {
            figure: Figure::Random,
            floor: 66.0,
            octaves: 2,
            step_beats,
            hold: 3.0,
            velocity: 0.55,
            rests,
            bass: false,
        };
        arpeggio(sketch, &kind, Sketch::from_energy(0.25))
    };
    if events.len() < 24 {
        sketch.tag("sparse");
    }
    sketch.add(name, instrument, events, mix);
}
