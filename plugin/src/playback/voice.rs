//! A clip that sounds, and clips that fade out.

use super::clip::LoopClip;
use super::fade::{Fade, Residue};
use super::reader::Reader;
use super::shelf::{Place, Places, Shelf};

/// Samples that are rendered in one go.
pub(super) const CHUNK: usize = 128;
/// Fade of a voice that is pushed out.
pub(super) const PUSHED_OUT_SECS: f64 = 0.003;

/// Reads a clip at a level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    pub(super) place: Place,
    pub(super) reader: Reader,
    pub(super) fade: Fade,
}

impl Voice {
    /// Adds the next samples.
    pub(super) fn add_to(&mut self, shelf: &Shelf, output: [&mut [f32]; 2]) {
        let Some(clip) = shelf.clip(self.place) else {
            return;
        };
        let [left, right] = output;
        let (mut own_left, mut own_right) = ([0.0; CHUNK], [0.0; CHUNK]);
        for (left, right) in left.chunks_mut(CHUNK).zip(right.chunks_mut(CHUNK)) {
            let own = [&mut own_left[..left.len()], &mut own_right[..right.len()]];
            self.write_to(clip, own);
            add(left, &own_left);
            add(right, &own_right);
        }
    }

    /// Writes the next samples; at full level they are the clip's own, bit for bit.
    pub(super) fn write_to(&mut self, clip: &LoopClip, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        self.reader.read(clip, [&mut *left, &mut *right]);
        self.fade.apply([left, right]);
    }

    /// The last sample it gave.
    pub(super) fn previous(&self, clip: &LoopClip) -> [f32; 2] {
        let level = self.fade.level();
        self.reader.previous(clip).map(|sample| sample * level)
    }
}

fn add(sum: &mut [f32], samples: &[f32]) {
    for (sum, sample) in sum.iter_mut().zip(samples) {
        *sum += sample;
    }
}

/// Voices that fade out. When there are too many, the softest is cut off, and what it would jump by is evened out.
#[derive(Debug)]
pub(super) struct Leaving<const COUNT: usize> {
    voices: [Option<Voice>; COUNT],
}

impl<const COUNT: usize> Default for Leaving<COUNT> {
    fn default() -> Self {
        Self {
            voices: [None; COUNT],
        }
    }
}

impl<const COUNT: usize> Leaving<COUNT> {
    /// One more, to be silent after so many samples.
    pub(super) fn push(
        &mut self,
        mut voice: Voice,
        samples: usize,
        shelf: &Shelf,
        residue: &mut Residue,
    ) {
        voice.fade.move_to(0.0, samples);
        let place = match self.voices.iter().position(Option::is_none) {
            Some(free) => free,
            None => self.softest(),
        };
        if let Some(cut) = self.voices[place].replace(voice)
            && let Some(clip) = shelf.clip(cut.place)
        {
            residue.add(cut.previous(clip), samples);
        }
    }

    fn softest(&self) -> usize {
        let level = |voice: &Option<Voice>| voice.map_or(0.0, |voice| voice.fade.level());
        let levels = self.voices.iter().map(level).enumerate();
        levels
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |(place, _)| place)
    }

    /// Adds the next samples of all.
    pub(super) fn add_to(&mut self, shelf: &Shelf, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        for place in &mut self.voices {
            if let Some(voice) = place {
                voice.add_to(shelf, [&mut *left, &mut *right]);
                if voice.fade.is_silent() {
                    *place = None;
                }
            }
        }
    }

    /// Adds the places they read from.
    pub(super) fn insert_places(&self, places: &mut Places) {
        let used = self.voices.iter().flatten();
        used.for_each(|voice| places.insert(voice.place));
    }
}
