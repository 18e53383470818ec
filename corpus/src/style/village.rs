//! Village band, held out: a drone, a buzzing long-necked lute, a frame drum, a nasal double reed.
//!
//! One mode with a lowered second under a major third, a tune full of ornaments on one harmony,
//! and dance rhythms of three and three and two. No base style has any of the four sounds.

use crate::composer::accompaniment::for_bars;
use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::melody::{Tune, tune};
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::effect::Insert;
use crate::score::{Drum, Mix, Sound};
use crate::voice::{Blown, Kit, Organ, Pluck};

static PALETTE: Palette = Palette {
    major: &[&[1, 1, 1, 1]],
    minor: &[&[1, 1, 1, 1], &[1, 1, 2, 1], &[1, 1, 7, 1], &[1, 2, 1, 1]],
    sevenths: 0.0,
    ninths: 0.0,
    suspended: 0.0,
    functional: 0.0,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (126.0, 152.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Hijaz, 1.0)],
    phrase_bars: &[(4, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.006;
    sketch.tail_secs = sketch.dice.range(1.2, 1.8);
    sketch.master.reverb_secs = sketch.dice.range_f32(0.7, 1.2);
    // A microphone in a courtyard, not a studio.
    sketch.master.inserts.push(Insert::LowPass { hz: 7000.0 });
    let density = sketch.dice.range(0.68, 0.85);
    let centre = 60.0 + f32::from(sketch.key.tonic) + if sketch.key.tonic > 6 { -5.0 } else { 7.0 };
    let kind = Tune {
        reach: 8.0,
        rests: 0.02,
        ornaments: 0.45,
        legato: 0.95,
        velocity: 0.8,
        ..Tune::at(centre, density)
    };
    let melody = tune(sketch, &kind, |_| true);
    lute(sketch, &melody);
    reed(sketch, &melody);
    drone(sketch);
    drum(sketch);
    for tag in ["lute", "energetic", "bright"] {
        sketch.tag(tag);
    }
}

/// The tune, long notes as repeated strokes, and the open low string between.
fn lute(sketch: &mut Sketch, melody: &[Event]) {
    let mut dice = sketch.dice.fork();
    let mut events = Vec::new();
    for event in melody {
        let strokes = (event.beats / 0.25).floor() as usize;
        if strokes >= 3 && dice.chance(0.55) {
            for stroke in 0..strokes {
                let velocity = event.velocity * if stroke % 2 == 0 { 1.0 } else { 0.7 };
                events.push(Event {
                    beat: event.beat + 0.25 * stroke as f64,
                    beats: 0.3,
                    velocity,
                    slide: 0.0,
                    ..*event
                });
            }
        } else {
            events.push(Event {
                beats: event.beats + 0.1,
                slide: 0.0,
                ..*event
            });
        }
    }
    let voice = Pluck::long_necked(&mut sketch.dice);
    let bright = Insert::Peak {
        hz: 2600.0,
        q: 1.0,
        gain_db: 4.0,
    };
    let mix = Mix::new(0.0, -0.25, 0.12)
        .with(bright)
        .with(Insert::HighPass { hz: 180.0 });
    sketch.add("lute", voice.clone(), events, mix);
    open_string(sketch, voice);
}

/// The low string between the notes of the tune.
fn open_string(sketch: &mut Sketch, voice: Pluck) {
    let pitch = sketch.key.degree(0) - if sketch.key.tonic > 6 { 24.0 } else { 12.0 };
    let mut events = Vec::new();
    for_bars(
        sketch,
        |_| true,
        |at, ending| {
            let strokes: &[f64] = if ending { &[0.0] } else { &[0.0, 1.5, 3.0] };
            events.extend(
                strokes
                    .iter()
                    .map(|onset| Event::pitch(at + onset, 0.7, pitch, 0.5)),
            );
        },
    );
    let mix = Mix::new(-10.0, -0.4, 0.12).with(Insert::LowPass { hz: 3500.0 });
    sketch.add("lute", voice, events, mix);
}

/// Answers in the second half of each phrase, an octave above.
fn reed(sketch: &mut Sketch, melody: &[Event]) {
    let bar = sketch.bar_beats();
    let phrase = sketch.form.phrase_bars as f64 * bar;
    let lift = if sketch.key.tonic > 6 { 12.0 } else { 0.0 };
    let events: Vec<Event> = melody
        .iter()
        .filter(|event| {
            sketch.form.section_at(event.beat).energy > 0.45 && event.beat % phrase >= phrase / 2.0
        })
        .map(|event| {
            let sound = match event.sound {
                Sound::Pitch(midi) => Sound::Pitch(midi + lift),
                drum @ Sound::Drum(_) => drum,
            };
            let slide = if event.beats > 0.4 { -1.0 } else { 0.0 };
            Event {
                sound,
                slide,
                beats: event.beats * 1.04,
                ..*event
            }
        })
        .collect();
    let voice = Blown::double_reed(&mut sketch.dice);
    sketch.add("double-reed", voice, events, Mix::new(-1.5, 0.35, 0.2));
}

fn drone(sketch: &mut Sketch) {
    let root = sketch.key.degree(0) - 12.0 - if sketch.key.tonic > 6 { 12.0 } else { 0.0 };
    let beats = sketch.total_beats();
    let events = vec![
        Event::pitch(0.0, beats, root, 0.7),
        Event::pitch(0.0, beats, root + 7.0, 0.5),
    ];
    let voice = Organ::drone(&mut sketch.dice);
    sketch.add(
        "drone",
        voice,
        events,
        Mix::new(-9.0, 0.0, 0.1)
            .spread(0.5)
            .with(Insert::LowPass { hz: 1400.0 }),
    );
}

fn drum(sketch: &mut Sketch) {
    let kit = Kit::hand(&mut sketch.dice);
    let groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.0,
                &[
                    (Drum::FrameLow, "X.....x.x......."),
                    (Drum::FrameLow, "X.......X..x...."),
                    (Drum::FrameLow, "X..x....X..x...."),
                ],
            ),
            (
                0.0,
                &[
                    (Drum::FrameHigh, "..ox..o...o.x..o"),
                    (Drum::FrameHigh, "...x..x.....x.oo"),
                    (Drum::FrameHigh, "..o.x.o..o..x.x."),
                ],
            ),
        ],
    );
    let events = play(
        sketch,
        &groove,
        &[Drum::FrameHigh, Drum::FrameHigh, Drum::FrameLow],
        |_| true,
    );
    sketch.add(
        "frame-drum",
        kit,
        events,
        Mix::new(-3.0, 0.1, 0.12).spread(0.25),
    );
}
