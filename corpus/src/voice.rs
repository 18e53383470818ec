//! Instruments: each turns one note into a mono signal.

mod blown;
mod bowed;
mod drum;
mod frequency_modulation;
mod modal;
mod organ;
mod pluck;
mod subtractive;

pub(crate) use blown::Blown;
pub(crate) use bowed::Bowed;
pub(crate) use drum::Kit;
pub(crate) use frequency_modulation::FrequencyModulation;
pub(crate) use modal::Modal;
pub(crate) use organ::Organ;
pub(crate) use pluck::Pluck;
pub(crate) use subtractive::Subtractive;

use crate::score::Drum;

/// What a voice is told about one note.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tone {
    pub(crate) frequency_hz: f32,
    pub(crate) gate_secs: f32,
    /// `0..=1`; voices use it for loudness and for brightness.
    pub(crate) velocity: f32,
    /// Semitones below (negative) or above the pitch from which the note slides.
    pub(crate) slide_semitones: f32,
    pub(crate) sample_rate_hz: f32,
    pub(crate) seed: u64,
    /// A voice may stop here: the piece ends.
    pub(crate) max_frames: usize,
}

impl Tone {
    /// A frequency factor that starts at the slide's offset and reaches one within its time.
    pub(crate) fn slide_at(&self, frame: usize) -> f32 {
        if self.slide_semitones == 0.0 {
            return 1.0;
        }
        let frames = 0.07 * self.sample_rate_hz;
        let remaining = (1.0 - frame as f32 / frames).max(0.0);
        (self.slide_semitones * remaining * remaining / 12.0).exp2()
    }
}

/// One instrument with its patch.
#[derive(Clone, Debug)]
pub(crate) enum Instrument {
    Pluck(Pluck),
    Modal(Modal),
    FrequencyModulation(FrequencyModulation),
    Subtractive(Subtractive),
    Organ(Organ),
    Bowed(Bowed),
    Blown(Blown),
    Kit(Kit),
}

impl Instrument {
    /// Renders a pitched note into `out`, which is cleared first.
    pub(crate) fn tone(&self, tone: &Tone, out: &mut Vec<f32>) {
        out.clear();
        match self {
            Self::Pluck(voice) => voice.render(tone, out),
            Self::Modal(voice) => voice.render(tone, out),
            Self::FrequencyModulation(voice) => voice.render(tone, out),
            Self::Subtractive(voice) => voice.render(tone, out),
            Self::Organ(voice) => voice.render(tone, out),
            Self::Bowed(voice) => voice.render(tone, out),
            Self::Blown(voice) => voice.render(tone, out),
            Self::Kit(_) => {}
        }
    }

    /// Renders a drum stroke into `out`, which is cleared first; silent for pitched instruments.
    pub(crate) fn stroke(&self, drum: Drum, tone: &Tone, out: &mut Vec<f32>) {
        out.clear();
        if let Self::Kit(kit) = self {
            kit.render(drum, tone, out);
        }
    }
}

macro_rules! from_voice {
    ($($voice:ident),*) => { $(
        impl From<$voice> for Instrument {
            fn from(voice: $voice) -> Self {
                Self::$voice(voice)
            }
        }
    )* };
}

from_voice!(
    Pluck,
    Modal,
    FrequencyModulation,
    Subtractive,
    Organ,
    Bowed,
    Blown,
    Kit
);
