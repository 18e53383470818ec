//! The zoo: any instrument in any part, at any tempo and in any mode of the base styles.

use crate::composer::accompaniment::{Arpeggio, Figure, arpeggio, pad, rhythm, stabs, strums};
use crate::composer::bass::{Line, line};
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::dice::Dice;
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{
    Blown, Bowed, FrequencyModulation, Instrument, Kit, Modal, Organ, Pluck, Subtractive,
};

static PALETTE: Palette = Palette {
    major: &[
        &[1, 5, 6, 4],
        &[1, 4, 5, 1],
        &[1, 2, 1, 2],
        &[1, 1, 1, 1],
        &[1, 3, 4, 5],
        &[2, 5, 1, 1],
    ],
    minor: &[
        &[1, 6, 3, 7],
        &[1, 4, 5, 1],
        &[1, 7, 6, 5],
        &[1, 1, 1, 1],
        &[1, 7, 1, 7],
        &[1, 2, 1, 7],
    ],
    sevenths: 0.35,
    ninths: 0.15,
    suspended: 0.12,
    functional: 0.3,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 180.0),
    metres: &[(4, 5.0), (3, 2.0), (6, 1.0)],
    modes: &[
        (Mode::Major, 1.0),
        (Mode::Minor, 1.0),
        (Mode::Dorian, 1.0),
        (Mode::Mixolydian, 1.0),
        (Mode::Lydian, 0.7),
        (Mode::Phrygian, 0.7),
        (Mode::HarmonicMinor, 0.7),
    ],
    phrase_bars: &[(4, 3.0), (2, 1.0), (8, 1.0)],
    palette: &PALETTE,
};

/// Any melodic or harmonic instrument with its tag.
fn any(dice: &mut Dice) -> (&'static str, Instrument) {
    match dice.below(28) {
        0 => ("piano", Modal::piano(dice).into()),
        1 => ("piano", Modal::upright(dice).into()),
        2 => ("marimba", Modal::marimba(dice).into()),
        3 => ("marimba", Modal::xylophone(dice).into()),
        4 => ("vibraphone", Modal::vibraphone(dice).into()),
        5 => ("bells", Modal::glockenspiel(dice).into()),
        6 => ("bells", Modal::bell(dice).into()),
        7 => ("bells", FrequencyModulation::bell(dice).into()),
        8 => (
            "electric-piano",
            FrequencyModulation::electric_piano(dice).into(),
        ),
        9 => ("brass", FrequencyModulation::brass(dice).into()),
        10 | 11 => ("guitar", Pluck::nylon(dice).into()),
        12 | 13 => ("guitar", Pluck::steel(dice).into()),
        14 => ("harp", Pluck::harp(dice).into()),
        15 => ("banjo", Pluck::banjo(dice).into()),
        16 => ("lute", Pluck::lute(dice).into()),
        17 => ("synth", Subtractive::stab(dice).into()),
        18 => ("synth", Subtractive::pluck(dice).into()),
        19 => ("lead", Subtractive::lead(dice).into()),
        20 => ("organ", Organ::drawbar(dice).into()),
        21 => ("organ", Organ::pipe(dice).into()),
        22 => ("accordion", Organ::accordion(dice).into()),
        23 => ("fiddle", Bowed::fiddle(dice).into()),
        24 => ("cello", Bowed::cello(dice).into()),
        25 => ("flute", Blown::flute(dice).into()),
        26 => ("reed", Blown::clarinet(dice).into()),
        _ => ("reed", Blown::oboe(dice).into()),
    }
}

pub(super) fn write(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    sketch.looseness_secs = dice.range(0.0, 0.012);
    if dice.chance(0.25) {
        sketch.swing = dice.range(0.08, 0.35);
        sketch.swing_unit_beats = dice.pick(&[0.5, 1.0]);
    }
    if dice.chance(0.3) {
        sketch.master.reverb_secs = dice.range_f32(2.5, 6.0);
        sketch.master.reverb_gain = dice.range_f32(0.5, 1.0);
    }
    // From a single instrument to a full band.
    let size = sketch
        .dice
        .weighted(&[(1, 2.0), (2, 2.5), (3, 2.0), (4, 1.5), (5, 1.0)]);
    let with_drums = sketch.dice.chance(0.25 + 0.1 * size as f64);
    melody(sketch);
    if size > 1 {
        chords(sketch);
    }
    if size > 2 {
        bass(sketch);
    }
    for _ in 3..size {
        chords(sketch);
    }
    if with_drums {
        drums(sketch);
    }
    if size == 1 && !with_drums {
        sketch.tag("solo");
        sketch.tag("sparse");
    }
    if size > 4 {
        sketch.tag("dense");
    }
    if sketch.swing > 0.0 {
        sketch.tag("swung");
    }
    if sketch.master.reverb_secs > 2.4 {
        sketch.tag("reverberant");
    }
    mood(sketch, with_drums);
    if sketch.dice.chance(0.12) {
        let hz = sketch.dice.log_range(2500.0, 7000.0);
        sketch.master.inserts.push(Insert::LowPass { hz });
    }
}

fn mood(sketch: &mut Sketch, with_drums: bool) {
    if with_drums && sketch.tempo_bpm > 120.0 {
        sketch.tag("energetic");
    } else if !with_drums && sketch.tempo_bpm < 90.0 {
        sketch.tag("calm");
    }
    sketch.tag(if sketch.key.mode.is_major() {
        "bright"
    } else {
        "dark"
    });
}

fn mix(sketch: &mut Sketch, level_db: f32) -> Mix {
    let beat_secs = sketch.beat_secs() as f32;
    let dice = &mut sketch.dice;
    let mut mix = Mix::new(
        level_db + dice.range_f32(-2.0, 2.0),
        dice.range_f32(-0.6, 0.6),
        dice.range_f32(0.03, 0.5),
    )
    .spread(dice.range_f32(0.0, 0.5));
    match dice.below(10) {
        0 => {
            mix = mix.with(Insert::Delay {
                secs: beat_secs * dice.pick(&[0.5, 0.75, 1.0]),
                feedback: 0.4,
                mix: 0.3,
            })
        }
        1 => {
            mix = mix.with(Insert::Chorus {
                depth_secs: 0.003,
                hz: dice.range_f32(0.2, 1.0),
                mix: 0.6,
            })
        }
        2 => {
            mix = mix.with(Insert::Tremolo {
                hz: dice.range_f32(2.0, 7.0),
                depth: dice.range_f32(0.2, 0.6),
                stereo: dice.chance(0.5),
            })
        }
        3 => {
            mix = mix.with(Insert::Distortion {
                drive: dice.log_range(0.7, 8.0),
                tone_hz: dice.log_range(2500.0, 6000.0),
            });
            sketch.tag("distorted");
        }
        4 => mix = mix.doubled(dice.range_f32(5.0, 14.0)),
        _ => {}
    }
    mix
}

fn melody(sketch: &mut Sketch) {
    let (name, instrument) = any(&mut sketch.dice);
    let dice = &mut sketch.dice;
    let density = dice.range(0.2, 0.85);
    let kind = Tune {
        reach: dice.range_f32(7.0, 12.0),
        rests: dice.range(0.0, 0.3),
        ornaments: dice.range(0.0, 0.25),
        legato: dice.range(0.6, 1.1),
        velocity: dice.range(0.5, 0.9),
        pentatonic: dice.chance(0.4),
        ..Tune::at(dice.range_f32(57.0, 80.0), density)
    };
    let mix = mix(sketch, -1.0);
    let events = tune(sketch, &kind, |_| true);
    sketch.add(name, instrument, events, mix);
}

fn chords(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let (mut name, mut instrument) = any(dice);
    let bar = sketch.bar_beats();
    let dice = &mut sketch.dice;
    let threshold = dice.range(0.0, 0.6);
    let centre = dice.range_f32(55.0, 68.0);
    let events: Vec<Event> = match dice.below(4) {
        0 => {
            if dice.chance(0.7) {
                (name, instrument) = match dice.below(3) {
                    0 => ("strings", Bowed::ensemble(dice).into()),
                    1 => ("choir", Blown::choir(dice).into()),
                    _ => ("pad", Subtractive::pad(dice).into()),
                };
            }
            pad(sketch, centre, 4, 0.6, Sketch::from_energy(threshold))
        }
        1 => {
            let density = dice.range(0.1, 0.7);
            let hits = rhythm(dice, bar, density);
            stabs(
                sketch,
                centre,
                4,
                0.7,
                &hits,
                Sketch::from_energy(threshold),
            )
        }
        2 if matches!(instrument, Instrument::Pluck(_)) => {
            let hits = rhythm(dice, bar, 0.5);
            strums(sketch, centre, 0.6, &hits, Sketch::from_energy(threshold))
        }
        _ => {
            let kind = Arpeggio {
                figure: Figure::any(dice),
                floor: centre - 6.0,
                octaves: 1 + dice.below(3),
                step_beats: dice.pick(&[0.25, 0.5, 0.5, 1.0]),
                hold: dice.range(0.5, 2.5),
                velocity: 0.65,
                rests: dice.range(0.0, 0.4),
                bass: dice.chance(0.3),
            };
            arpeggio(sketch, &kind, Sketch::from_energy(threshold))
        }
    };
    let mix = mix(sketch, -4.5);
    sketch.add(name, instrument, events, mix);
}

fn bass(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let instrument: Instrument = match dice.below(6) {
        0 => FrequencyModulation::bass(dice).into(),
        1 => Subtractive::bass(dice).into(),
        2 => Subtractive::sine_bass(dice).into(),
        3 => Subtractive::acid(dice).into(),
        _ => Pluck::bass(dice).into(),
    };
    let kind = dice.pick(&[
        Line::Roots,
        Line::RootFifth,
        Line::Eighths,
        Line::OffBeat,
        Line::Walking,
        Line::Groove,
        Line::Sequence,
    ]);
    let level = dice.range_f32(-7.0, -3.0);
    let threshold = dice.range(0.0, 0.5);
    let events = line(sketch, kind, 33.0, 0.8, Sketch::from_energy(threshold));
    sketch.add("bass", instrument, events, Mix::new(level, 0.0, 0.04));
}

fn drums(sketch: &mut Sketch) {
    let dice = &mut sketch.dice;
    let by_hand = dice.chance(0.3);
    let kit = match dice.below(4) {
        _ if by_hand => Kit::hand(dice),
        0 => Kit::electronic(dice),
        1 => Kit::soft(dice),
        2 => Kit::chip(dice),
        _ => Kit::acoustic(dice),
    };
    let (low, high, top) = if by_hand {
        (
            Drum::FrameLow,
            Drum::FrameHigh,
            dice.pick(&[Drum::Shaker, Drum::Jingle]),
        )
    } else {
        (
            Drum::Kick,
            dice.pick(&[Drum::Snare, Drum::Clap, Drum::Rim]),
            dice.pick(&[Drum::ClosedHat, Drum::Ride, Drum::Shaker]),
        )
    };
    let lanes: [&[&str]; 3] = match sketch.beats_per_bar {
        3 => [
            &["X.....", "X...o.", "X..o.."],
            &["..x.x.", "....x.", "..x..."],
            &["xoxoxo", "x.x.x."],
        ],
        6 => [
            &["X.....x.....", "X.........x."],
            &["......x.....", "....x.....x."],
            &["xoxoxoxoxoxo", "x.x.x.x.x.x."],
        ],
        _ => [
            &[
                "X.......X.......",
                "X..x..x.X.......",
                "X...X...X...X...",
                "X.....x...x.....",
                "X.x....x..x.....",
            ],
            &[
                "....x.......x...",
                "....x..o.o..x...",
                "........x.......",
                "...x..x....x..x.",
            ],
            &[
                "x.x.x.x.x.x.x.x.",
                "xoxoxoxoxoxoxoxo",
                "..x...x...x...x.",
                "x..x..x.x..x..x.",
            ],
        ],
    };
    let mut groove = Groove::default()
        .with((low, dice.pick(lanes[0])), 0.1)
        .with((high, dice.pick(lanes[1])), 0.3)
        .with((top, dice.pick(lanes[2])), 0.45);
    groove.fills = 0.4;
    groove.ghosts = 0.05;
    let level = dice.range_f32(-6.0, 0.0);
    let send = dice.range_f32(0.02, 0.35);
    let events = play(sketch, &groove, &[high, low], |_| true);
    sketch.add(
        if by_hand { "hand-drum" } else { "drums" },
        kit,
        events,
        Mix::new(level, 0.0, send).spread(0.35),
    );
}
