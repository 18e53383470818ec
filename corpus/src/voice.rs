//! Instruments: each turns one note into a mono signal.

mod blown;
mod bowed;
mod brass;
mod drum;
mod frequency_modulation;
mod low_pass_gate;
mod modal;
mod organ;
mod pluck;
mod subtractive;

pub(crate) use blown::Blown;
pub(crate) use bowed::Bowed;
pub(crate) use brass::Brass;
pub(crate) use drum::Kit;
pub(crate) use frequency_modulation::FrequencyModulation;
pub(crate) use low_pass_gate::LowPassGate;
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
    Brass(Brass),
    LowPassGate(LowPassGate),
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
            Self::Brass(voice) => voice.render(tone, out),
            Self::LowPassGate(voice) => voice.render(tone, out),
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
    Brass,
    LowPassGate,
    Kit
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// The frequency near `expected_hz` with the greatest correlation at many periods' lag.
    pub(super) fn measured_hz(signal: &[f32], expected_hz: f32, sample_rate_hz: f32) -> f32 {
        let power = |hz: f32| -> f32 {
            let (mut re, mut im) = (0.0_f64, 0.0_f64);
            for (i, x) in signal.iter().enumerate() {
                let angle =
                    std::f64::consts::TAU * f64::from(hz) * i as f64 / f64::from(sample_rate_hz);
                let window = (std::f64::consts::PI * i as f64 / signal.len() as f64).sin();
                re += f64::from(*x) * window * angle.cos();
                im += f64::from(*x) * window * angle.sin();
            }
            (re * re + im * im) as f32
        };
        let best = |centre_hz: f32, step_cents: f32| -> f32 {
            (-15..=15)
                .map(|step| centre_hz * (step as f32 * step_cents / 1200.0).exp2())
                .max_by(|a, b| power(*a).total_cmp(&power(*b)))
                .unwrap_or(0.0)
        };
        best(best(expected_hz, 2.0), 0.2)
    }

    fn note(voice: &Instrument, midi: f32, velocity: f32) -> Vec<f32> {
        let tone = Tone {
            frequency_hz: 440.0 * ((midi - 69.0) / 12.0).exp2(),
            gate_secs: 0.6,
            velocity,
            slide_semitones: 0.0,
            sample_rate_hz: 44_100.0,
            seed: 7,
            max_frames: 44_100,
        };
        let mut out = Vec::new();
        voice.tone(&tone, &mut out);
        out
    }

    /// Power of the differences of a signal over its own: grows with the share of high partials.
    fn brightness(signal: &[f32]) -> f32 {
        let power: f32 = signal.iter().map(|x| x * x).sum();
        let differences = signal.windows(2).map(|pair| (pair[1] - pair[0]).powi(2));
        differences.sum::<f32>() / power
    }

    #[test]
    fn brass_and_low_pass_gates_are_in_tune_and_brighter_when_louder() {
        let mut dice = Dice::new("brightness", 1);
        let voices: [(Instrument, [f32; 3]); 5] = [
            (Brass::trumpets(&mut dice).into(), [60.0, 71.0, 80.0]),
            (Brass::trombones(&mut dice).into(), [48.0, 57.0, 66.0]),
            (Brass::sousaphone(&mut dice).into(), [32.0, 38.0, 48.0]),
            (LowPassGate::strike(&mut dice).into(), [60.0, 72.0, 80.0]),
            (LowPassGate::bass(&mut dice).into(), [36.0, 43.0, 50.0]),
        ];
        for (index, (voice, pitches)) in voices.iter().enumerate() {
            for &midi in pitches {
                let loud = note(voice, midi, 0.9);
                let hz = 440.0 * ((midi - 69.0) / 12.0).exp2();
                let until = loud.len().min(22_000);
                let cents = 1200.0 * (measured_hz(&loud[2000..until], hz, 44_100.0) / hz).log2();
                // Sections are a little out of tune with each other.
                assert!(
                    cents.abs() < 14.0,
                    "voice {index}, midi {midi}: {cents} cents"
                );
                let soft = note(voice, midi, 0.4);
                assert!(
                    brightness(&loud) > 1.05 * brightness(&soft),
                    "voice {index}, midi {midi}"
                );
            }
        }
    }
}
