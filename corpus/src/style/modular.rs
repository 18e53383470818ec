//! Modular rig, held out: short loops of unlike lengths that drift, struck low-pass gates, filter plucks, echoes.
//!
//! The scale repeats at the twelfth (Bohlen and Pierce), so that neither its fifths nor its octaves
//! are in the base; the oscillators modulate each other, which no base voice does.

use crate::composer::drums::{Groove, play};
use crate::composer::form::Section;
use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::dice::Dice;
use crate::effect::Insert;
use crate::score::{Drum, Mix};
use crate::voice::{Instrument, Kit, LowPassGate, Subtractive};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (96.0, 140.0),
    metres: &[(4, 1.0)],
    modes: &[(Mode::BohlenPierce, 1.0)],
    phrase_bars: &[(4, 1.0)],
    palette: &Palette::WITHOUT_CHORDS,
};

/// Degrees of the scale's own triad, 3:5:7.
const TRIAD: [i32; 3] = [0, 4, 7];
const STEP_BEATS: f64 = 0.25;

pub(super) fn write(sketch: &mut Sketch) {
    sketch.looseness_secs = 0.0008;
    let dice = &mut sketch.dice;
    sketch.master.reverb_secs = dice.range_f32(1.0, 2.4);
    sketch.master.reverb_gain = dice.range_f32(0.3, 0.6);
    let roots = roots(sketch);
    bass(sketch, &roots);
    sequences(sketch, &roots);
    chord(sketch, &roots);
    drums(sketch);
    for tag in ["synth", "arpeggio", "bright"] {
        sketch.tag(tag);
    }
}

/// The degree on which each phrase's loops stand: home in the first half, away in `B`.
fn roots(sketch: &mut Sketch) -> Vec<i32> {
    let away = sketch.dice.pick(&[-2, 2, 3]);
    let of = |section: &Section| if section.label == 'B' { away } else { 0 };
    sketch.form.sections.iter().map(of).collect()
}

/// A shift register of notes: each time round, chance may write one of them anew.
struct Register {
    steps: Vec<Option<(i32, f64)>>,
    low: i32,
    high: i32,
    fullness: f64,
}

impl Register {
    fn new(dice: &mut Dice, length: usize, low: i32, high: i32, fullness: f64) -> Self {
        let mut register = Self {
            steps: vec![None; length],
            low,
            high,
            fullness,
        };
        for step in 0..length {
            register.write(dice, step);
        }
        // A loop begins with a note: its return is heard.
        let home = (low..=high).find(|degree| degree.rem_euclid(9) == 0);
        register.steps[0] = Some((home.unwrap_or(low), 0.9));
        register
    }

    fn write(&mut self, dice: &mut Dice, step: usize) {
        let degree = self.low + dice.below((self.high - self.low + 1) as usize) as i32;
        // Notes of the triad are kept, others often fall to one.
        let class = degree.rem_euclid(9);
        let degree = if TRIAD.contains(&class) || dice.chance(0.35) {
            degree
        } else {
            degree - class + TRIAD.iter().rfind(|tone| **tone <= class).unwrap_or(&0)
        };
        let velocity = dice.pick(&[0.45, 0.6, 0.6, 0.85]);
        self.steps[step] = dice.chance(self.fullness).then_some((degree, velocity));
    }

    /// The loop over all wanted sections; sections of one label begin alike.
    fn play(
        &self,
        sketch: &Sketch,
        dice: &mut Dice,
        roots: &[i32],
        drift: f64,
        wanted: impl Fn(&Section) -> bool,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for (section, root) in sketch.form.sections.iter().zip(roots) {
            if !wanted(section) {
                continue;
            }
            let start = sketch.form.start_beat(section);
            if section.label == 'E' {
                if let Some((degree, velocity)) = self.steps[0] {
                    let pitch = sketch.key.degree(degree);
                    events.push(Event::pitch(start, 1.0, pitch, velocity));
                }
                continue;
            }
            let mut register = Self {
                steps: self.steps.clone(),
                ..*self
            };
            let count = (section.bars as f64 * sketch.bar_beats() / STEP_BEATS) as usize;
            for index in 0..count {
                let step = index % register.steps.len();
                if step > 0 && dice.chance(drift) {
                    register.write(dice, step);
                }
                if let Some((degree, velocity)) = register.steps[step] {
                    let swell = 0.85 + 0.15 * section.energy;
                    // The beat shows through every loop, however long.
                    let accent = if index % 4 == 0 { 1.2 } else { 0.8 };
                    events.push(Event::pitch(
                        start + index as f64 * STEP_BEATS,
                        STEP_BEATS,
                        sketch.key.degree(degree + root),
                        (velocity * swell * accent).min(1.0),
                    ));
                }
            }
        }
        events
    }
}

/// Two or three loops of different lengths, left and right, with echoes on dotted eighths.
fn sequences(sketch: &mut Sketch, roots: &[i32]) {
    let beat_secs = sketch.beat_secs() as f32;
    let mut lengths = [5, 7, 8, 11, 12, 13, 16];
    for (player, pan) in [-0.5_f32, 0.5, 0.1].into_iter().enumerate() {
        let dice = &mut sketch.dice;
        let chosen = player + dice.below(lengths.len() - player);
        lengths.swap(player, chosen);
        let (instrument, low, high, fullness): (Instrument, _, _, _) = match player {
            0 => (LowPassGate::strike(dice).into(), 0, 9, 0.75),
            1 => (Subtractive::pluck(dice).into(), -5, 5, 0.6),
            _ => (LowPassGate::clang(dice).into(), 7, 14, 0.3),
        };
        let register = Register::new(dice, lengths[player], low, high, fullness);
        let echo = Insert::Delay {
            secs: beat_secs * dice.pick(&[0.75, 0.75, 1.25]),
            feedback: dice.range_f32(0.35, 0.6),
            mix: dice.range_f32(0.2, 0.4),
        };
        let mut own = dice.fork();
        let from = Sketch::from_energy([0.0, 0.45, 0.6][player]);
        let events = register.play(sketch, &mut own, roots, 0.012, from);
        let level_db = [-1.0, -3.5, -6.0][player];
        let mix = Mix::new(level_db, pan, 0.2).with(echo);
        sketch.add("synth", instrument, events, mix);
    }
}

/// As many strokes as asked for, as even as sixteen steps allow.
fn even(strokes: usize) -> impl Iterator<Item = usize> {
    (0..16).filter(move |step| (step * strokes) % 16 < strokes)
}

fn bass(sketch: &mut Sketch, roots: &[i32]) {
    let dice = &mut sketch.dice;
    let strokes = dice.pick(&[3, 5, 6, 7]);
    let turns: Vec<i32> = (0..strokes)
        .map(|_| dice.weighted(&[(0, 5.0), (4, 1.0), (-2, 1.0)]))
        .collect();
    let voice = LowPassGate::bass(dice);
    let mut events = Vec::new();
    for (section, root) in sketch.form.sections.iter().zip(roots) {
        let start = sketch.form.start_beat(section);
        for bar in 0..section.bars {
            let at = start + bar as f64 * sketch.bar_beats();
            for (stroke, step) in even(strokes).enumerate() {
                if section.label == 'E' && step > 0 {
                    break;
                }
                let turn = if step == 0 { 0 } else { turns[stroke] };
                let pitch = sketch.key.degree(root + turn - 9);
                let velocity = if step % 4 == 0 { 0.9 } else { 0.7 };
                events.push(Event::pitch(at + step as f64 * 0.25, 0.5, pitch, velocity));
            }
        }
    }
    sketch.add("bass", voice, events, Mix::new(-3.0, 0.0, 0.05));
}

/// The triad behind everything, opened and closed by hand over a phrase.
fn chord(sketch: &mut Sketch, roots: &[i32]) {
    let dice = &mut sketch.dice;
    let voice = Subtractive::pad(dice);
    let hz = dice.range_f32(0.05, 0.15);
    let mut events = Vec::new();
    for (section, root) in sketch.form.sections.iter().zip(roots) {
        let start = sketch.form.start_beat(section);
        let beats = section.bars as f64 * sketch.bar_beats();
        for tone in TRIAD {
            let pitch = sketch
                .key
                .degree(root + tone - if tone == 7 { 9 } else { 0 });
            events.push(Event::pitch(start, beats * 0.98, pitch, 0.5));
        }
    }
    let mix = Mix::new(-9.0, 0.0, 0.5)
        .doubled(9.0)
        .with(Insert::LowPass { hz: 1800.0 })
        .with(Insert::Tremolo {
            hz,
            depth: 0.5,
            stereo: true,
        });
    sketch.add("pad", voice, events, mix);
}

fn drums(sketch: &mut Sketch) {
    let kit = Kit::electronic(&mut sketch.dice);
    let mut groove = Groove::choose(
        &mut sketch.dice,
        &[
            (
                0.3,
                &[
                    (Drum::Kick, "X...X...X...X..."),
                    (Drum::Kick, "X...x..oX...x..."),
                    (Drum::Kick, "X...x...X..ox..o"),
                ],
            ),
            (
                0.4,
                &[
                    (Drum::ClosedHat, "x.o.x.o.x.oox.o."),
                    (Drum::ClosedHat, "x..x..x..x..x..x"),
                    (Drum::ClosedHat, "x.ox.ox.ox.ox.ox"),
                ],
            ),
            (
                0.6,
                &[
                    (Drum::Rim, "....x.......x..."),
                    (Drum::Rim, "..x..x..x..x..x."),
                    (Drum::HighTom, "......x..x....x."),
                ],
            ),
        ],
    );
    groove.fills = 0.0;
    let events = play(sketch, &groove, &[], |_| true);
    let mix = Mix::new(-2.5, 0.0, 0.06).spread(0.5);
    sketch.add("drums", kit, events, mix);
}
