//! String ensemble: slow chords, moving inner voices, a cello or violin above them.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, pad, stabs};
use crate::composer::bass::{Line, line};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Frame, Sketch};
use crate::effect::Insert;
use crate::score::Mix;
use crate::voice::{Bowed, Instrument, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 5, 6, 4], &[1, 4, 2, 5], &[1, 3, 6, 4]],
    minor: &[&[1, 6, 4, 5], &[1, 4, 7, 3], &[1, 7, 6, 5]],
    sevenths: 0.25,
    ninths: 0.05,
    suspended: 0.12,
    functional: 0.5,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 160.0),
    metres: &[(4, 3.0), (3, 2.0)],
    modes: &[
        (Mode::Minor, 3.0),
        (Mode::Major, 3.0),
        (Mode::HarmonicMinor, 1.0),
        (Mode::Dorian, 1.0),
        (Mode::Lydian, 0.5),
    ],
    phrase_bars: &[(4, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.014;
    sketch.tail_secs += 0.8;
    // The faster the beat, the firmer the bows: a chord that swells over a whole beat has no place in time.
    let most_attack_secs = 0.3 * sketch.beat_secs() as f32;
    let dice = &mut sketch.dice;
    sketch.master.reverb_secs = dice.range_f32(1.6, 3.5);
    let voice = Bowed::ensemble(dice).speaking_within(most_attack_secs);
    let send = dice.range_f32(0.25, 0.6);
    let body = Insert::Peak {
        hz: dice.range_f32(350.0, 600.0),
        q: 1.0,
        gain_db: 3.0,
    };
    let events = pad(sketch, 62.0, 4, 0.65, |_| true);
    sketch.add(
        "strings",
        voice,
        events,
        Mix::new(-3.0, 0.0, send).spread(0.6).with(body),
    );
    let low = Bowed::ensemble(&mut sketch.dice).speaking_within(most_attack_secs);
    let kind = sketch
        .dice
        .pick(&[Line::Roots, Line::Roots, Line::RootFifth, Line::Walking]);
    let events = line(sketch, kind, 36.0, 0.7, Sketch::from_energy(0.35));
    sketch.add("cello", low, events, Mix::new(-4.0, 0.4, send));
    let dice = &mut sketch.dice;
    let (name, solo, centre): (_, Instrument, _) = if dice.chance(0.35) {
        (
            "cello",
            Bowed::cello(dice).speaking_within(most_attack_secs).into(),
            62.0,
        )
    } else if dice.chance(0.5) {
        ("fiddle", Bowed::fiddle(dice).into(), 74.0)
    } else {
        (
            "strings",
            Bowed::ensemble(dice)
                .speaking_within(most_attack_secs)
                .into(),
            76.0,
        )
    };
    let density = dice.range(0.2, 0.5);
    let kind = Tune {
        legato: 1.0,
        ornaments: 0.06,
        rests: 0.04,
        ..Tune::at(centre, density)
    };
    let pan = dice.range_f32(-0.4, 0.2);
    let events = tune(sketch, &kind, Sketch::from_energy(0.5));
    sketch.add(name, solo, events, Mix::new(-1.5, pan, send));
    pulse(sketch, send);
    sketch.tag(if sketch.tempo_bpm < 95.0 {
        "calm"
    } else {
        "warm"
    });
    sketch.tag(if sketch.key.mode.is_major() {
        "bright"
    } else {
        "dark"
    });
}

/// What tells the beat under the long notes: plucked by the second violins, or short strokes of the violas.
fn pulse(sketch: &mut Sketch, send: f32) {
    match sketch.dice.below(10) {
        0 => {}
        1..=4 => {
            let pizzicato = Pluck {
                decay_secs: 0.5,
                release_secs: 0.3,
                ..Pluck::nylon(&mut sketch.dice)
            };
            let kind = Arpeggio {
                figure: Figure::Up,
                floor: 58.0,
                octaves: 1,
                step_beats: 0.5,
                hold: 0.9,
                velocity: 0.6,
                rests: 0.1,
                bass: false,
            };
            let events = arpeggio(sketch, &kind, |_| true);
            sketch.add(
                "strings",
                pizzicato,
                events,
                Mix::new(-2.5, -0.3, 0.7 * send),
            );
        }
        _ => {
            let voice = Bowed::detached(&mut sketch.dice);
            let step_beats = sketch.dice.pick(&[0.5, 0.5, 1.0]);
            let count = (sketch.bar_beats() / step_beats) as usize;
            let rhythm: Vec<(f64, f64, f64)> = (0..count)
                .map(|i| {
                    let onset = i as f64 * step_beats;
                    let accent = match onset {
                        0.0 => 1.15,
                        on if on.fract() == 0.0 => 1.0,
                        _ => 0.6,
                    };
                    (onset, 0.4 * step_beats, accent)
                })
                .collect();
            let events = stabs(sketch, 57.0, 3, 0.7, &rhythm, |_| true);
            let mix = Mix::new(-1.0, -0.2, 0.4 * send).spread(0.4);
            sketch.add("strings", voice, events, mix);
        }
    }
}
