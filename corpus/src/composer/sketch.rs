//! A piece in the making: what a style chose, and the tracks written so far.

use super::form::{Form, Section};
use super::harmony::{Chord, Palette};
use super::key::{Key, Mode};
use crate::dice::Dice;
use crate::score::{Drum, Master, Mix, Note, Options, Score, Sound, Track};
use crate::style::Style;
use crate::vocabulary;
use crate::voice::Instrument;

/// Ranges from which a style draws the frame of a piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) tempo_bpm: (f64, f64),
    pub(crate) metres: &'static [(usize, f64)],
    pub(crate) modes: &'static [(Mode, f64)],
    pub(crate) phrase_bars: &'static [(usize, f64)],
    pub(crate) palette: &'static Palette,
}

/// A note in beats from the start of the piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) beat: f64,
    pub(crate) beats: f64,
    pub(crate) sound: Sound,
    pub(crate) velocity: f64,
    pub(crate) slide: f32,
}

impl Event {
    pub(crate) fn pitch(beat: f64, beats: f64, midi: f32, velocity: f64) -> Self {
        Self {
            beat,
            beats,
            sound: Sound::Pitch(midi),
            velocity,
            slide: 0.0,
        }
    }

    pub(crate) fn drum(beat: f64, drum: Drum, velocity: f64) -> Self {
        Self {
            beat,
            beats: 0.1,
            sound: Sound::Drum(drum),
            velocity,
            slide: 0.0,
        }
    }
}

pub(crate) struct Sketch {
    pub(crate) dice: Dice,
    pub(crate) tempo_bpm: f64,
    pub(crate) beats_per_bar: usize,
    pub(crate) key: Key,
    pub(crate) form: Form,
    /// How late the second half of a beat (or of half a beat) comes, in parts of its length.
    pub(crate) swing: f64,
    pub(crate) swing_unit_beats: f64,
    /// Standard deviation of onsets.
    pub(crate) looseness_secs: f64,
    pub(crate) tail_secs: f64,
    pub(crate) tracks: Vec<Track>,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) master: Master,
}

/// How strongly tempi keep away from the middle of a base style's range.
const OUTWARDS: f64 = 0.3;

/// A number in `0..1` that steps by the golden ratio from seed to seed: a few consecutive seeds, as
/// a corpus has them, already cover the range evenly, which draws by chance do not.
fn in_turn(style: Style, seed: u64) -> f64 {
    let turns = Dice::new(style.name(), 0)
        .bits()
        .wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (turns >> 11) as f64 / (1_u64 << 53) as f64
}

/// A place in `0..1` moved towards both ends of `0..1`.
///
/// The ranges of the base styles overlap most in the middle of 60 to 180; this makes all tempi of
/// the base about equally frequent, so that a model hears enough of each.
fn outwards(unit: f64) -> f64 {
    use std::f64::consts::TAU;
    unit - OUTWARDS * (TAU * unit).sin() / TAU
}

impl Sketch {
    /// Draws tempo, metre, key and form.
    pub(crate) fn new(style: Style, seed: u64, options: &Options, frame: &Frame) -> Self {
        let mut dice = Dice::new(style.name(), seed);
        let (low, high) = frame.tempo_bpm;
        let unit = dice.unit();
        let place = if Style::base().contains(&style) {
            outwards(in_turn(style, seed))
        } else {
            unit
        };
        let tempo_bpm = ((low + (high - low) * place) * 2.0).round() / 2.0;
        let beats_per_bar = dice.weighted(frame.metres);
        let key = Key {
            tonic: dice.below(12) as u8,
            mode: dice.weighted(frame.modes),
        };
        let mut phrase_bars = dice.weighted(frame.phrase_bars);
        let bar_secs = beats_per_bar as f64 * 60.0 / tempo_bpm;
        let tail_secs = dice.range(1.5, 2.8);
        let bars = ((options.duration_secs - tail_secs) / bar_secs)
            .round()
            .max(2.0) as usize;
        while phrase_bars > 2 && bars + 1 < 2 * phrase_bars {
            phrase_bars /= 2;
        }
        let form = Form::new(
            &mut dice,
            key,
            frame.palette,
            bars,
            phrase_bars,
            beats_per_bar,
            beats_per_bar,
        );
        let master = Master {
            reverb_secs: dice.range_f32(0.8, 2.2),
            reverb_size: dice.range_f32(0.5, 1.0),
            reverb_damping_hz: dice.log_range(2500.0, 9000.0),
            reverb_gain: 0.5,
            inserts: Vec::new(),
        };
        Self {
            dice,
            tempo_bpm,
            beats_per_bar,
            key,
            form,
            swing: 0.0,
            swing_unit_beats: 1.0,
            looseness_secs: 0.004,
            tail_secs,
            tracks: Vec::new(),
            tags: Vec::new(),
            master,
        }
    }

    /// Replaces the form by one whose chords last `chord_beats`.
    pub(crate) fn reharmonise(&mut self, palette: &Palette, chord_beats: usize) {
        let bars = self.form.bars();
        let (phrase, metre) = (self.form.phrase_bars, self.beats_per_bar);
        self.form = Form::new(
            &mut self.dice,
            self.key,
            palette,
            bars,
            phrase,
            metre,
            chord_beats,
        );
    }

    pub(crate) fn beat_secs(&self) -> f64 {
        60.0 / self.tempo_bpm
    }

    pub(crate) fn bar_beats(&self) -> f64 {
        self.beats_per_bar as f64
    }

    pub(crate) fn total_beats(&self) -> f64 {
        (self.form.bars() * self.beats_per_bar) as f64
    }

    pub(crate) fn chord_at(&self, beat: f64) -> &Chord {
        self.form.chord_at(beat)
    }

    /// A test for sections with at least so much energy; the ending always passes.
    pub(crate) fn from_energy(threshold: f64) -> impl Fn(&Section) -> bool + Copy {
        move |section| section.label == 'E' || section.energy >= threshold
    }

    fn secs(&self, beat: f64) -> f64 {
        let unit = self.swing_unit_beats;
        let whole = (beat / unit).floor();
        let fraction = beat / unit - whole;
        let middle = 0.5 + 0.5 * self.swing;
        let warped = if fraction < 0.5 {
            fraction * 2.0 * middle
        } else {
            middle + (fraction - 0.5) * 2.0 * (1.0 - middle)
        };
        (whole + warped) * unit * self.beat_secs()
    }

    /// Adds a track that plays `events`; nothing is added for no events.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        instrument: impl Into<Instrument>,
        events: Vec<Event>,
        mix: Mix,
    ) {
        if events.is_empty() {
            return;
        }
        let mut dice = self.dice.fork();
        let end_secs = self.total_beats() * self.beat_secs() + 0.4;
        let mut notes: Vec<Note> = events
            .iter()
            .map(|event| {
                // Drums carry the beat: they are held to it more closely than the others.
                let tight = if matches!(event.sound, Sound::Drum(_)) {
                    0.4
                } else {
                    1.0
                };
                let start_secs =
                    (self.secs(event.beat) + dice.normal() * self.looseness_secs * tight).max(0.0);
                let until = (self.secs(event.beat + event.beats)).min(end_secs + 0.6);
                Note {
                    start_secs,
                    duration_secs: (until - start_secs).max(0.03),
                    sound: event.sound,
                    velocity: (event.velocity * (1.0 + 0.07 * dice.normal())).clamp(0.05, 1.0)
                        as f32,
                    slide_semitones: event.slide,
                }
            })
            .collect();
        notes.sort_by(|a, b| a.start_secs.total_cmp(&b.start_secs));
        self.tag(name);
        self.tracks.push(Track {
            name,
            notes,
            instrument: instrument.into(),
            mix,
        });
    }

    pub(crate) fn tag(&mut self, tag: &'static str) {
        self.tags.push(tag);
    }

    /// The finished score.
    pub(crate) fn finish(mut self, style: Style, seed: u64) -> Score {
        let bars = self.form.bars();
        let duration_secs = self.total_beats() * self.beat_secs() + self.tail_secs;
        if Style::base().contains(&style) && style != Style::Zoo {
            self.tags.push(style.name());
        }
        self.tags.extend(vocabulary::tempo_tag(self.tempo_bpm));
        self.tags.extend(self.key.tag());
        self.tags
            .extend(vocabulary::bars_tag(self.form.phrase_bars));
        self.tags.extend(vocabulary::metre_tag(self.beats_per_bar));
        let tags = vocabulary::ordered(&self.tags);
        Score {
            style,
            seed,
            tempo_bpm: self.tempo_bpm,
            beats_per_bar: self.beats_per_bar,
            phrase_bars: self.form.phrase_bars,
            bars,
            key: self.key,
            form: self.form.labels(),
            tags,
            duration_secs,
            tracks: self.tracks,
            master: self.master,
        }
    }
}
