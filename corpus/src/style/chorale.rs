//! Chorale: four voices on an organ, a chord to each beat or two, in a church.

use crate::composer::harmony::Palette;
use crate::composer::key::Mode;
use crate::composer::sketch::{Event, Frame, Sketch};
use crate::score::{Mix, Sound};
use crate::voice::{Blown, Instrument, Organ};

static PALETTE: Palette = Palette {
    major: &[&[1, 4, 5, 1, 6, 2, 5, 1], &[1, 5, 6, 4, 1, 4, 5, 1]],
    minor: &[&[1, 4, 5, 1, 6, 4, 5, 1], &[1, 5, 1, 4, 7, 3, 5, 1]],
    sevenths: 0.1,
    ninths: 0.0,
    suspended: 0.04,
    functional: 0.8,
};

pub(super) static FRAME: Frame = Frame {
    tempo_bpm: (60.0, 140.0),
    metres: &[(4, 4.0), (3, 1.0)],
    modes: &[
        (Mode::Major, 3.0),
        (Mode::HarmonicMinor, 1.0),
        (Mode::Minor, 2.0),
        (Mode::Dorian, 1.0),
    ],
    phrase_bars: &[(4, 1.0)],
    palette: &PALETTE,
};

pub(super) fn write(sketch: &mut Sketch) {
    let chord_beats = if sketch.beats_per_bar == 4 {
        sketch.dice.pick(&[1, 2, 2])
    } else {
        sketch.beats_per_bar
    };
    sketch.reharmonise(&PALETTE, chord_beats);
    sketch.looseness_secs = 0.006;
    sketch.tail_secs += 1.5;
    let dice = &mut sketch.dice;
    sketch.master.reverb_secs = dice.range_f32(2.5, 6.0);
    sketch.master.reverb_size = dice.range_f32(1.0, 1.6);
    sketch.master.reverb_gain = dice.range_f32(0.5, 1.0);
    let (name, instrument): (_, Instrument) = if dice.chance(0.2) {
        ("choir", Blown::choir(dice).into())
    } else {
        ("organ", Organ::positive(dice).into())
    };
    let send = dice.range_f32(0.3, 0.8);
    let events = voices(sketch);
    let mix = Mix::new(0.0, 0.0, send).spread(0.5);
    let (bass, upper): (Vec<Event>, Vec<Event>) = events
        .into_iter()
        .partition(|event| matches!(event.sound, Sound::Pitch(p) if p < 48.0));
    sketch.add(name, instrument, upper, mix);
    let bass = if sketch.dice.chance(0.65) {
        walked(sketch, &bass)
    } else {
        bass
    };
    let pedal = Organ::positive(&mut sketch.dice);
    sketch.add("organ", pedal, bass, Mix::new(-3.0, 0.0, send));
    sketch.tag("reverberant");
    if sketch.tempo_bpm < 110.0 {
        sketch.tag("calm");
    }
    sketch.tag(if sketch.key.mode.is_major() {
        "bright"
    } else {
        "dark"
    });
}

/// The bass as a walk: a note to each beat, by step of the scale towards the next root.
fn walked(sketch: &Sketch, bass: &[Event]) -> Vec<Event> {
    let key = sketch.key;
    let degree = |event: &Event| match event.sound {
        Sound::Pitch(midi) => key.nearest_degree(midi),
        Sound::Drum(_) => 0,
    };
    let mut events = Vec::new();
    for (index, event) in bass.iter().enumerate() {
        let beats = event.beats.round();
        let Some(next) = bass.get(index + 1).filter(|_| beats >= 2.0) else {
            events.push(*event);
            continue;
        };
        let from = degree(event);
        // Away and back where the root stays.
        let direction = match degree(next) - from {
            0 => 1,
            way => way.signum(),
        };
        events.extend((0..beats as i32).map(|beat| Event {
            beat: event.beat + f64::from(beat),
            beats: 0.85,
            sound: Sound::Pitch(key.degree(from + direction * beat)),
            ..*event
        }));
    }
    events
}

/// Bass on roots, a soprano that moves by step, two voices between.
fn voices(sketch: &mut Sketch) -> Vec<Event> {
    let mut dice = sketch.dice.fork();
    let key = sketch.key;
    let mut events = Vec::new();
    let mut soprano = 72.0_f32;
    for slot in sketch.form.slots(|_| true) {
        let hold = if slot.section.label == 'E' { 1.0 } else { 0.9 };
        let bass = slot.chord.root_from(key, 36.0);
        let tones: Vec<f32> = (0..3)
            .flat_map(|octave| slot.chord.voicing(key, 54.0 + 12.0 * octave as f32, 4))
            .collect();
        let wish = soprano + dice.pick(&[-2.0, -1.0, 1.0, 2.0, 3.0]);
        let wish = wish.clamp(66.0, 79.0);
        soprano = nearest(&tones, wish).unwrap_or(wish);
        let alto = tones
            .iter()
            .copied()
            .rfind(|p| *p < soprano - 1.0)
            .unwrap_or(soprano - 5.0);
        let tenor = tones
            .iter()
            .copied()
            .rfind(|p| *p < alto - 2.0)
            .unwrap_or(alto - 7.0);
        for (pitch, velocity) in [(bass, 0.8), (tenor, 0.65), (alto, 0.65)] {
            events.push(Event::pitch(slot.start, slot.beats * hold, pitch, velocity));
        }
        if slot.beats >= 2.0 && slot.section.label != 'E' && dice.chance(0.5) {
            // A passing note in the tune.
            let passing =
                key.degree(key.nearest_degree(soprano) + if dice.chance(0.5) { 1 } else { -1 });
            events.push(Event::pitch(slot.start, slot.beats * 0.5, soprano, 0.8));
            events.push(Event::pitch(
                slot.start + slot.beats * 0.5,
                slot.beats * 0.48,
                passing,
                0.75,
            ));
        } else {
            events.push(Event::pitch(slot.start, slot.beats * hold, soprano, 0.8));
        }
    }
    events
}

fn nearest(pitches: &[f32], wish: f32) -> Option<f32> {
    pitches
        .iter()
        .copied()
        .min_by(|a, b| (a - wish).abs().total_cmp(&(b - wish).abs()))
}
