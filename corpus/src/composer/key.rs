//! Tonics, modes and scales.

use crate::vocabulary::{MAJOR_KEYS, MINOR_KEYS};

/// Seven-note modes of the base styles and the scales of the held-out ones.
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
    /// Nine of the thirteen equal steps of a twelfth: chords of 3:5:7, no octave.
    BohlenPierce,
}

/// One of thirteen equal steps of the ratio three to one, in semitones.
const BOHLEN_PIERCE_STEP: f32 = 19.019_55 / 13.0;

impl Mode {
    /// Semitones of the degrees above the tonic: seven, or nine in [`Mode::BohlenPierce`].
    pub fn steps(self) -> &'static [f32] {
        match self {
            Self::Major => &[0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 11.0],
            Self::Minor => &[0.0, 2.0, 3.0, 5.0, 7.0, 8.0, 10.0],
            Self::HarmonicMinor => &[0.0, 2.0, 3.0, 5.0, 7.0, 8.0, 11.0],
            Self::Dorian => &[0.0, 2.0, 3.0, 5.0, 7.0, 9.0, 10.0],
            Self::Phrygian => &[0.0, 1.0, 3.0, 5.0, 7.0, 8.0, 10.0],
            Self::Lydian => &[0.0, 2.0, 4.0, 6.0, 7.0, 9.0, 11.0],
            Self::Mixolydian => &[0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 10.0],
            Self::Hijaz => &[0.0, 1.0, 4.0, 5.0, 7.0, 8.0, 10.0],
            // Cents of a common pelog: 0, 120, 270, 540, 670, 790, 950.
            Self::Pelog => &[0.0, 1.2, 2.7, 5.4, 6.7, 7.9, 9.5],
            // The lambda scale, after Bohlen (1978): 0, 2, 3, 4, 6, 7, 9, 10, 12 of 13 steps.
            Self::BohlenPierce => {
                &const {
                    [
                        0.0,
                        2.0 * BOHLEN_PIERCE_STEP,
                        3.0 * BOHLEN_PIERCE_STEP,
                        4.0 * BOHLEN_PIERCE_STEP,
                        6.0 * BOHLEN_PIERCE_STEP,
                        7.0 * BOHLEN_PIERCE_STEP,
                        9.0 * BOHLEN_PIERCE_STEP,
                        10.0 * BOHLEN_PIERCE_STEP,
                        12.0 * BOHLEN_PIERCE_STEP,
                    ]
                }
            }
        }
    }

    /// Semitones after which the scale begins again.
    pub fn period_semitones(self) -> f32 {
        if self == Self::BohlenPierce {
            13.0 * BOHLEN_PIERCE_STEP
        } else {
            12.0
        }
    }

    /// Whether its notes are among the twelve equal steps, so that it has a major or minor key.
    pub fn is_twelve_tone(self) -> bool {
        !matches!(self, Self::Pelog | Self::BohlenPierce)
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
            mode if !mode.is_twelve_tone() => return None,
            mode if mode.is_major() => &MAJOR_KEYS,
            _ => &MINOR_KEYS,
        };
        Some(keys[usize::from(self.tonic % 12)])
    }

    /// The MIDI pitch of a scale degree; degree 0 is the tonic at or above MIDI 60, 7 its octave (in a scale of seven).
    pub(crate) fn degree(self, degree: i32) -> f32 {
        let steps = self.mode.steps();
        let count = steps.len() as i32;
        let periods = self.mode.period_semitones() * degree.div_euclid(count) as f32;
        60.0 + f32::from(self.tonic) + periods + steps[degree.rem_euclid(count) as usize]
    }

    /// The degree nearest to a MIDI pitch.
    pub(crate) fn nearest_degree(self, midi: f32) -> i32 {
        let steps_per_semitone = self.mode.steps().len() as f32 / self.mode.period_semitones();
        let above_tonic = midi - 60.0 - f32::from(self.tonic);
        let guess = (above_tonic * steps_per_semitone).round() as i32;
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

    #[test]
    fn bohlen_pierce_repeats_at_the_twelfth_and_its_triad_is_three_to_five_to_seven() {
        let key = Key {
            tonic: 3,
            mode: Mode::BohlenPierce,
        };
        assert_eq!(key.tag(), None);
        let ratio = |degree: i32| ((key.degree(degree) - key.degree(0)) / 12.0).exp2();
        for (degree, expected) in [(4, 5.0 / 3.0), (7, 7.0 / 3.0), (9, 3.0), (-9, 1.0 / 3.0)] {
            assert!((ratio(degree) / expected - 1.0).abs() < 0.01, "{degree}");
        }
        assert_eq!(key.nearest_degree(key.degree(-5) + 0.2), -5);
    }
}
