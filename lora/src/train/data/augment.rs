//! Changes of a piece that leave it the same music: more to learn from few recordings.
//!
//! Each is made on the samples and encoded like a piece of its own, since what an autoencoder makes of a change is no simple change of its
//! latents.

use std::fmt;

use audio::{AudioBuffer, AudioError, Stretch};
use serde::{Deserialize, Serialize};

use crate::base::Change;

/// A kind of change that may be made to training pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Augmentation {
    /// Left and right change places.
    Swap,
    /// The wave upside down, which no ear hears.
    Polarity,
    /// 3 dB quieter and 3 dB louder.
    Gain,
}

/// What gains are, in dB.
const GAINS_DB: [f32; 2] = [-3.0, 3.0];

/// The forms in which training pieces are seen beside their own. None by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Augmentations {
    /// Changes of level and channels.
    pub kinds: Vec<Augmentation>,
    /// Multiples of a piece's tempo, at its pitch.
    pub tempos: Vec<f64>,
    /// Shifts of pitch in semitones, at its tempo.
    pub semitones: Vec<i32>,
}

/// One changed form of a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Variant {
    swaps: bool,
    gain: f32,
    change: Change,
}

/// Counts up when the same stretch gives other samples, so that latents of earlier ones are not taken for them.
const STRETCHER_VERSION: u32 = 1;

const SAME: Change = Change {
    tempo: 1.0,
    semitones: 0,
};

impl Variant {
    /// The forms beside the piece as it is.
    pub(super) fn of(augmentations: &Augmentations) -> Vec<Self> {
        let Augmentations {
            kinds,
            tempos,
            semitones,
        } = augmentations;
        let (swaps, inverts) = (
            kinds.contains(&Augmentation::Swap),
            kinds.contains(&Augmentation::Polarity),
        );
        let mut variants = Vec::new();
        if swaps {
            variants.push(Self::loud(true, 1.0));
        }
        if inverts {
            variants.push(Self::loud(false, -1.0));
        }
        if swaps && inverts {
            variants.push(Self::loud(true, -1.0));
        }
        if kinds.contains(&Augmentation::Gain) {
            let gains = GAINS_DB.map(|decibels| 10f32.powf(decibels / 20.0));
            variants.extend(gains.map(|gain| Self::loud(false, gain)));
        }
        let tempos = tempos.iter().map(|&tempo| Change { tempo, ..SAME });
        let shifts = semitones
            .iter()
            .map(|&semitones| Change { semitones, ..SAME });
        variants.extend(tempos.chain(shifts).map(Self::played));
        variants
    }

    fn loud(swaps: bool, gain: f32) -> Self {
        Self {
            swaps,
            gain,
            change: SAME,
        }
    }

    fn played(change: Change) -> Self {
        Self {
            change,
            ..Self::loud(false, 1.0)
        }
    }

    /// What becomes of tempo and pitch.
    pub(super) fn change(self) -> Change {
        self.change
    }

    /// Length after by length before.
    pub(super) fn length_ratio(self) -> f64 {
        1.0 / self.change.tempo
    }

    /// What tells its latents in the cache from those of the piece.
    pub(super) fn key(self) -> String {
        let mut key = format!("swap={} gain={:08x}", self.swaps, self.gain.to_bits());
        if self.change != SAME {
            let Change { tempo, semitones } = self.change;
            let tempo = tempo.to_bits();
            key += &format!(" stretch={STRETCHER_VERSION} tempo={tempo:016x} pitch={semitones}");
        }
        key
    }

    /// Changes stereo sound.
    ///
    /// # Errors
    /// When it cannot be stretched.
    pub(super) fn applied(self, mut sound: AudioBuffer) -> Result<AudioBuffer, AudioError> {
        if self.swaps {
            sound.channels.reverse();
        }
        if self.gain != 1.0 {
            let samples = sound.channels.iter_mut().flatten();
            samples.for_each(|sample| *sample *= self.gain);
        }
        if self.change == SAME {
            return Ok(sound);
        }
        let semitones = f64::from(self.change.semitones);
        sound.stretched(Stretch::new(self.length_ratio(), semitones)?)
    }
}

/// As people read it behind a piece's name.
impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { tempo, semitones } = self.change;
        match (tempo != SAME.tempo, semitones != SAME.semitones) {
            (true, _) => write!(formatter, "at {tempo} of its tempo"),
            (_, true) => write!(formatter, "shifted by {semitones} semitones"),
            _ => formatter.write_str("with other levels or channels"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_asked_for_and_no_two_are_one() {
        assert!(Variant::of(&Augmentations::default()).is_empty());
        let all = Variant::of(&Augmentations {
            kinds: vec![
                Augmentation::Swap,
                Augmentation::Polarity,
                Augmentation::Gain,
            ],
            ..Augmentations::default()
        });
        assert_eq!(all.len(), 5);
        let sound = AudioBuffer::new(44_100, vec![vec![1.0, 2.0], vec![3.0, 4.0]]).unwrap();
        let mut heard = vec![sound.channels.clone()];
        for variant in all {
            let changed = variant.applied(sound.clone()).unwrap().channels;
            assert!(!heard.contains(&changed), "{variant:?}");
            heard.push(changed);
        }
        assert_eq!(heard[1], [[3.0, 4.0], [1.0, 2.0]]);
        assert_eq!(heard[2], [[-1.0, -2.0], [-3.0, -4.0]]);
        assert_eq!(heard[3], [[-3.0, -4.0], [-1.0, -2.0]]);
    }

    #[test]
    fn tempo_changes_length_and_pitch_does_not() {
        let variants = Variant::of(&Augmentations {
            tempos: vec![0.8, 1.25],
            semitones: vec![-2, 3],
            ..Augmentations::default()
        });
        let sound = AudioBuffer::new(44_100, vec![vec![0.1; 8000]; 2]).unwrap();
        let frames = |variant: &Variant| variant.applied(sound.clone()).unwrap().frames();
        let lengths: Vec<usize> = variants.iter().map(frames).collect();
        assert_eq!(lengths, [10_000, 6_400, 8000, 8000]);
        let mut keys: Vec<String> = variants.iter().map(|variant| variant.key()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }
}
