//! A piece before it sounds: notes in seconds, instruments, mix, and what is known of it.

use crate::composer::key::Key;
use crate::effect::Insert;
use crate::style::Style;
use crate::voice::Instrument;

/// What the caller may ask of a composer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The length to aim at; the piece ends at the bar that comes nearest, with a tail.
    pub duration_secs: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            duration_secs: 40.0,
        }
    }
}

/// A drum stroke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Drum {
    /// Bass drum.
    Kick,
    /// Snare drum.
    Snare,
    /// Rim or wood block.
    Rim,
    /// Hand clap.
    Clap,
    /// Closed hi-hat.
    ClosedHat,
    /// Open hi-hat.
    OpenHat,
    /// Ride cymbal.
    Ride,
    /// Crash cymbal.
    Crash,
    /// The higher of two toms.
    HighTom,
    /// The lower of two toms.
    LowTom,
    /// Shaker.
    Shaker,
    /// The low stroke of a frame drum.
    FrameLow,
    /// The rim stroke of a frame drum.
    FrameHigh,
    /// Jingles of a tambourine.
    Jingle,
}

/// What a note sounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sound {
    /// A pitch as a MIDI note number (69 is 440 Hz); fractions are microtones.
    Pitch(f32),
    /// A drum stroke.
    Drum(Drum),
}

/// One note of one track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// Onset from the start of the piece.
    pub start_secs: f64,
    /// Time the note is held.
    pub duration_secs: f64,
    /// Pitch or stroke.
    pub sound: Sound,
    /// Loudness, `0..=1`.
    pub velocity: f32,
    /// Semitones from the pitch at which the note begins, to slide into it.
    pub slide_semitones: f32,
}

/// The notes of one instrument and its place in the mix.
#[derive(Clone, Debug)]
pub struct Track {
    /// The instrument's tag.
    pub name: &'static str,
    /// Notes in order of their onsets.
    pub notes: Vec<Note>,
    pub(crate) instrument: Instrument,
    pub(crate) mix: Mix,
}

/// Loudness, place and effects of a track.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// Level of the track when it plays, relative to the other tracks.
    pub(crate) level_db: f32,
    /// `-1` left to `1` right.
    pub(crate) pan: f32,
    /// Detuning between two copies of each note, one to either side; a single copy when zero.
    pub(crate) double_cents: f32,
    /// How far pitch moves a note across the stereo field, as a keyboard's does.
    pub(crate) keyboard_spread: f32,
    pub(crate) reverb_send: f32,
    pub(crate) inserts: Vec<Insert>,
}

impl Mix {
    pub(crate) fn new(level_db: f32, pan: f32, reverb_send: f32) -> Self {
        Self {
            level_db,
            pan,
            double_cents: 0.0,
            keyboard_spread: 0.0,
            reverb_send,
            inserts: Vec::new(),
        }
    }

    pub(crate) fn doubled(mut self, cents: f32) -> Self {
        self.double_cents = cents;
        self
    }

    pub(crate) fn spread(mut self, amount: f32) -> Self {
        self.keyboard_spread = amount;
        self
    }

    pub(crate) fn with(mut self, insert: Insert) -> Self {
        self.inserts.push(insert);
        self
    }
}

/// What happens to the sum of all tracks.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    /// Time for the reverberation to fall by 60 dB.
    pub(crate) reverb_secs: f32,
    /// Scale of the room's delays; one is a hall.
    pub(crate) reverb_size: f32,
    /// Cutoff of the reverberation's damping.
    pub(crate) reverb_damping_hz: f32,
    pub(crate) reverb_gain: f32,
    pub(crate) inserts: Vec<Insert>,
}

/// A composed piece.
#[derive(Clone, Debug)]
pub struct Score {
    /// The style it was composed in.
    pub style: Style,
    /// The seed it was composed from.
    pub seed: u64,
    /// Beats (quarter notes; eighths in a bar of six) per minute.
    pub tempo_bpm: f64,
    /// Beats in every bar.
    pub beats_per_bar: usize,
    /// Bars in a phrase.
    pub phrase_bars: usize,
    /// Bars in the piece, the last chord's included.
    pub bars: usize,
    /// Tonic and mode.
    pub key: Key,
    /// One letter for each section: `I`ntro, `A`, `B`, `O`utro, `E`nding.
    pub form: String,
    /// Tags from [`crate::vocabulary::tags`], in that order.
    pub tags: Vec<&'static str>,
    /// The whole length with its tail.
    pub duration_secs: f64,
    /// One track for each instrument.
    pub tracks: Vec<Track>,
    pub(crate) master: Master,
}

impl Score {
    /// The steady grid of beats; the first beat of the first bar is at zero.
    pub fn beat_times_secs(&self) -> Vec<f64> {
        let beat_secs = 60.0 / self.tempo_bpm;
        (0..self.bars * self.beats_per_bar)
            .map(|beat| beat as f64 * beat_secs)
            .collect()
    }
}
