//! Bronze ensemble, held out: a slow skeleton, interlocking figures above it, gongs that mark time.
//!
//! The tuning has no twelve equal steps and bars come in pairs that beat; neither is in the base.

use crate::composer::drums::{Groove, play};
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::score::{Drum, Mix};
use crate::voice::{Kit, Modal};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (72.0, 132.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::Pelog, 1.0)],
    phrase_bars: &[(4, 1.0)],
    palette: &Palette::WITHOUT_CHORDS,
};

/// The five of seven degrees in use.
const FIVE: [i32; 5] = [0, 1, 2, 4, 5];

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.005;
    sketch.master.reverb_secs = sketch.dice.range_f32(1.2, 2.2);
    let skeleton = skeleton(sketch);
    core(sketch, &skeleton);
    interlock(sketch, &skeleton);
    gongs(sketch, &skeleton);
    let kit = Kit::hand(&mut sketch.dice);
    let groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.3,
                &[
                    (Drum::FrameLow, "o.....x...o.x..."),
                    (Drum::FrameLow, "..x...o.x.....x."),
                ],
            ),
            (
                0.4,
                &[
                    (Drum::FrameHigh, "..o..o....o..o.o"),
                    (Drum::FrameHigh, "....o..o...o..oo"),
                ],
            ),
        ],
    );
    let events = play(sketch, &groove, &[], |_| true);
    sketch.add("drum", kit, events, Mix::new(-9.0, 0.0, 0.15));
    for tag in ["bells", "bright", "dense"] {
        sketch.tag(tag);
    }
}

/// A pitch of the five-note row; rung 5 is an octave above rung 0.
fn rung(sketch: &Sketch, rung: i32) -> f32 {
    let tonic = 60.0 + f32::from(sketch.key.tonic % 6);
    let steps = sketch.key.mode.steps();
    tonic + 12.0 * rung.div_euclid(5) as f32 + steps[FIVE[rung.rem_euclid(5) as usize] as usize]
}

/// One rung for each beat of the piece: a phrase that comes back, its last beat on the goal.
fn skeleton(sketch: &mut Sketch) -> Vec<i32> {
    let mut dice = sketch.dice.fork();
    let beats = sketch.form.phrase_bars * sketch.beats_per_bar;
    let mut phrase = |goal: i32| {
        let mut at = goal;
        let mut rungs: Vec<i32> = (0..beats)
            .map(|_| {
                at = (at + dice.weighted(&[(-1, 3.0), (1, 3.0), (0, 1.0), (-2, 1.0), (2, 1.0)]))
                    .clamp(-1, 5);
                at
            })
            .collect();
        rungs[beats - 1] = goal;
        rungs
    };
    let (first, second) = (phrase(0), phrase(3));
    let mut rungs = Vec::new();
    for section in &sketch.form.sections {
        match section.label {
            'B' => rungs.extend(&second),
            'E' => rungs.extend([0, 0, 0, 0]),
            _ => rungs.extend(&first),
        }
    }
    rungs
}

/// The skeleton itself, in two octaves.
fn core(sketch: &mut Sketch, skeleton: &[i32]) {
    let total = sketch.total_beats() - sketch.bar_beats();
    for (octave, level_db, pan) in [(-12.0, -2.0, -0.3), (0.0, -3.0, 0.3)] {
        let events = skeleton
            .iter()
            .enumerate()
            .filter(|(beat, _)| *beat as f64 <= total)
            .map(|(beat, at)| Event::pitch(beat as f64, 1.0, rung(sketch, *at) + octave, 0.75))
            .collect();
        let voice = Modal::bronze(&mut sketch.dice);
        sketch.add("bronze", voice, events, Mix::new(level_db, pan, 0.25));
    }
}

/// Two players share a fast figure around the skeleton's next note, one on each side.
fn interlock(sketch: &mut Sketch, skeleton: &[i32]) {
    let mut dice = sketch.dice.fork();
    let figure: Vec<i32> = (0..8)
        .map(|i| {
            if i % 4 == 0 {
                0
            } else {
                dice.pick(&[-1, 0, 1, 2])
            }
        })
        .collect();
    let mut players = [Vec::new(), Vec::new()];
    let last = sketch.total_beats() - sketch.bar_beats();
    for beat in 0..last as usize {
        let section = sketch.form.section_at(beat as f64);
        if section.energy < 0.4 {
            continue;
        }
        let next = skeleton[(beat + 1).min(skeleton.len() - 1)];
        for step in 0..4 {
            let offset = figure[(beat * 4 + step) % figure.len()];
            let player = usize::from(offset > 0 || (offset == 0 && step % 2 == 1));
            let onset = beat as f64 + 0.25 * step as f64;
            let pitch = rung(sketch, next + offset + 5);
            players[player].push(Event::pitch(
                onset,
                0.25,
                pitch,
                if step == 0 { 0.7 } else { 0.58 },
            ));
        }
    }
    for (events, pan) in players.into_iter().zip([-0.7, 0.7]) {
        let voice = Modal::bronze(&mut sketch.dice);
        sketch.add("bronze", voice, events, Mix::new(-5.0, pan, 0.25));
    }
}

/// The great gong every four bars, smaller ones between.
fn gongs(sketch: &mut Sketch, skeleton: &[i32]) {
    let phrase = sketch.form.phrase_bars * sketch.beats_per_bar;
    let (mut great, mut small) = (Vec::new(), Vec::new());
    for (beat, at) in skeleton.iter().enumerate() {
        if beat % phrase == 0 {
            great.push(Event::pitch(beat as f64, 8.0, rung(sketch, 0) - 24.0, 0.9));
        } else if beat % 4 == 0 {
            small.push(Event::pitch(
                beat as f64,
                3.0,
                rung(sketch, *at) - 12.0,
                0.7,
            ));
        } else if beat % 4 == 2 {
            small.push(Event::pitch(beat as f64, 1.0, rung(sketch, 2), 0.4));
        }
    }
    let voice = Modal::gong(&mut sketch.dice);
    sketch.add("gong", voice, great, Mix::new(-2.0, 0.0, 0.3));
    let voice = Modal::gong(&mut sketch.dice);
    sketch.add("gong", voice, small, Mix::new(-7.0, 0.2, 0.3));
}
