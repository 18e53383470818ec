//! Notes: each plays the clip from its beginning, at its own pitch, for as long as its key is held.

use super::fade::{Fade, Residue};
use super::player::Settings;
use super::reader::Reader;
use super::shelf::{Place, Places, Shelf};
use super::voice::{Leaving, PUSHED_OUT_SECS, Voice};

/// Notes that sound together.
const VOICES: usize = 16;
/// Shortest fade of a note, against clicks; an attack that is shorter is none, and begins evenly all the same.
const LEAST_FADE_SECS: f32 = 0.001;
/// Longest fade of a note.
const MOST_FADE_SECS: f32 = 60.0;

#[derive(Debug, Clone, Copy)]
struct Note {
    voice: Voice,
    key: u8,
    is_held: bool,
    /// Counts the notes.
    number: u64,
}

/// All notes.
#[derive(Debug)]
pub(super) struct Notes {
    notes: [Option<Note>; VOICES],
    leaving: Leaving<8>,
    residue: Residue,
    count: u64,
    sample_rate_hz: f64,
}

impl Notes {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            notes: [None; VOICES],
            leaving: Leaving::default(),
            residue: Residue::default(),
            count: 0,
            sample_rate_hz,
        }
    }

    /// Starts a note on the clip at `place`.
    pub(super) fn start(
        &mut self,
        shelf: &Shelf,
        place: Option<Place>,
        key: u8,
        velocity: f32,
        settings: &Settings,
    ) {
        let Some((place, clip)) = place.and_then(|place| Some((place, shelf.clip(place)?))) else {
            return;
        };
        let semitones = f64::from(key) - f64::from(settings.root_key);
        let step = (semitones / 12.0).exp2() * clip.step(self.sample_rate_hz);
        let reader = Reader::around(0.0, step);
        let fade = self.attack(reader.previous(clip), level(velocity), settings.attack_secs);
        self.make_room(shelf);
        self.count += 1;
        let note = Note {
            voice: Voice {
                place,
                reader,
                fade,
            },
            key,
            is_held: true,
            number: self.count,
        };
        if let Some(free) = self.notes.iter_mut().find(|note| note.is_none()) {
            *free = Some(note);
        }
    }

    /// Lets the notes of a key fade out.
    pub(super) fn release(&mut self, key: u8, settings: &Settings) {
        let samples = self.samples(fade_secs(settings.release_secs).max(LEAST_FADE_SECS));
        for note in self.notes.iter_mut().flatten() {
            if note.is_held && note.key == key {
                note.is_held = false;
                note.voice.fade.move_to(0.0, samples);
            }
        }
    }

    /// Stops the notes of a key at once.
    pub(super) fn choke(&mut self, shelf: &Shelf, key: u8) {
        self.push_out(shelf, |note| note.key == key, PUSHED_OUT_SECS);
    }

    /// Stops all notes.
    pub(super) fn stop(&mut self, shelf: &Shelf, secs: f64) {
        self.push_out(shelf, |_| true, secs);
    }

    /// Adds the next samples.
    pub(super) fn add_to(&mut self, shelf: &Shelf, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        for place in &mut self.notes {
            if let Some(note) = place {
                note.voice.add_to(shelf, [&mut *left, &mut *right]);
                if note.voice.fade.is_silent() {
                    *place = None;
                }
            }
        }
        self.leaving.add_to(shelf, [&mut *left, &mut *right]);
        self.residue.apply([left, right]);
    }

    /// Adds the places that are read from.
    pub(super) fn insert_places(&self, places: &mut Places) {
        let notes = self.notes.iter().flatten();
        notes.for_each(|note| places.insert(note.voice.place));
        self.leaving.insert_places(places);
    }

    fn samples(&self, secs: f32) -> usize {
        (f64::from(secs) * self.sample_rate_hz).round() as usize
    }

    fn attack(&mut self, previous: [f32; 2], level: f32, secs: f32) -> Fade {
        let secs = fade_secs(secs);
        let mut fade = Fade::steady(0.0);
        if secs < LEAST_FADE_SECS {
            let length = (PUSHED_OUT_SECS * self.sample_rate_hz) as usize;
            self.residue
                .add(previous.map(|sample| -sample * level), length);
            fade = Fade::steady(level);
        } else {
            fade.move_to(level, self.samples(secs));
        }
        fade
    }

    /// Pushes the oldest note out where there are as many as can be.
    fn make_room(&mut self, shelf: &Shelf) {
        if self.notes.iter().any(Option::is_none) {
            return;
        }
        let oldest = self.notes.iter().flatten().map(|note| note.number).min();
        self.push_out(shelf, |note| Some(note.number) == oldest, PUSHED_OUT_SECS);
    }

    fn push_out(&mut self, shelf: &Shelf, is_meant: impl Fn(&Note) -> bool, secs: f64) {
        let samples = (secs * self.sample_rate_hz).round() as usize;
        for place in &mut self.notes {
            if place.as_ref().is_some_and(&is_meant)
                && let Some(note) = place.take()
            {
                self.leaving
                    .push(note.voice, samples, shelf, &mut self.residue);
            }
        }
    }
}

/// Half the velocity is a quarter of the level, which is how loudness is felt.
fn level(velocity: f32) -> f32 {
    let velocity = if velocity.is_finite() {
        velocity.clamp(0.0, 1.0)
    } else {
        1.0
    };
    velocity * velocity
}

fn fade_secs(secs: f32) -> f32 {
    if secs.is_finite() {
        secs.clamp(0.0, MOST_FADE_SECS)
    } else {
        0.0
    }
}
