//! Tonics, modes and scales.

use crate::vocabulary::{MAJOR_KEYS, MINOR_KEYS};

/// Seven-note modes of the base styles and the two tunings of the held-out ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Ionian.
    Major,
    /// Aeolian.
    Minor,
    /// Minor with a raised seventh.
    HarmonicMinor,
    /// Minor with a raised sixth.
    Dorian,
    /// Minor with a lowered second.
    Phrygian,
    /// Major with a raised fourth.
    Lydian,
    /// Major with a lowered seventh.
    Mixolydian,
    /// Lowered second under a major third: the fifth mode of harmonic minor.
    Hijaz,
    /// Five-of-seven gamelan tuning, away from the twelve equal steps.
    Pelog,
}

impl Mode {
    /// Semitones of the seven degrees above the tonic.
    pub fn steps(self) -> [f32; 7] {
        match self {
            Self::Major => [0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 11.0],
            Self::Minor => [0.0, 2.0, 3.0, 5.0, 7.0, 8.0, 10.0],
            Self::HarmonicMinor => [0.0, 2.0, 3.0, 5.0, 7.0, 8.0, 11.0],
            Self::Dorian => [0.0, 2.0, 3.0, 5.0, 7.0, 9.0, 10.0],
            Self::Phrygian => [0.0, 1.0, 3.0, 5.0, 7.0, 8.0, 10.0],
            Self::Lydian => [0.0, 2.0, 4.0, 6.0, 7.0, 9.0, 11.0],
            Self::Mixolydian => [0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 10.0],
            Self::Hijaz => [0.0, 1.0, 4.0, 5.0, 7.0, 8.0, 10.0],
            // Cents of a common pelog: 0, 120, 270, 540, 670, 790, 950.
            Self::Pelog => [0.0, 1.2, 2.7, 5.4, 6.7, 7.9, 9.5],
        }
    }

    /// Whether the third above the tonic is major.
    pub fn is_major(self) -> bool {
        matches!(self, Self::Major | Self::Lydian | Self::Mixolydian)
    }
}

/// A tonic (0 is C) and a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Pitch class of the tonic, `0..12`.
    pub tonic: u8,
    /// Scale on the tonic.
    pub mode: Mode,
}

impl Key {
    /// The tag of the major or minor key that shares the tonic and most notes; none for tunings
    /// without twelve equal steps.
    pub fn tag(self) -> Option<&'static str> {
        let keys = match self.mode {
            Mode::Pelog => return None,
            mode if mode.is_major() => &MAJOR_KEYS,
            _ => &MINOR_KEYS,
        };
        Some(keys[usize::from(self.tonic % 12)])
    }

    /// The MIDI pitch of a scale degree; degree 0 is the tonic at or above MIDI 60, 7 its octave.
    pub(crate) fn degree(self, degree: i32) -> f32 {
        let steps = self.mode.steps();
        let octave = degree.div_euclid(7);
        60.0 + f32::from(self.tonic) + 12.0 * octave as f32 + steps[degree.rem_euclid(7) as usize]
    }

    /// The degree nearest to a MIDI pitch.
    pub(crate) fn nearest_degree(self, midi: f32) -> i32 {
        let guess = ((midi - 60.0 - f32::from(self.tonic)) / 12.0 * 7.0).round() as i32;
        (guess - 2..=guess + 2)
            .min_by(|a, b| {
                (self.degree(*a) - midi)
                    .abs()
                    .total_cmp(&(self.degree(*b) - midi).abs())
            })
            .unwrap_or(guess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_and_tags() {
        let key = Key {
            tonic: 9,
            mode: Mode::Dorian,
        };
        assert_eq!(key.degree(0), 69.0);
        assert_eq!(key.degree(7), 81.0);
        assert_eq!(key.degree(-1), 67.0);
        assert_eq!(key.nearest_degree(81.2), 7);
        assert_eq!(key.tag(), Some("key:a-minor"));
        assert_eq!(
            Key {
                tonic: 0,
                mode: Mode::Pelog
            }
            .tag(),
            None
        );
    }
}
