//! Changes of a piece that leave it the same music: more to learn from few recordings.
//!
//! Each is made on the samples and encoded like a piece of its own, since what an autoencoder makes of a change is no simple change of its
//! latents.

use serde::{Deserialize, Serialize};

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

/// One changed form of a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Variant {
    swaps: bool,
    gain: f32,
}

impl Variant {
    /// The forms beside the piece as it is.
    pub(super) fn of(augmentations: &[Augmentation]) -> Vec<Self> {
        let (swaps, inverts) = (
            augmentations.contains(&Augmentation::Swap),
            augmentations.contains(&Augmentation::Polarity),
        );
        let mut variants = Vec::new();
        if swaps {
            variants.push(Self {
                swaps: true,
                gain: 1.0,
            });
        }
        if inverts {
            variants.push(Self {
                swaps: false,
                gain: -1.0,
            });
        }
        if swaps && inverts {
            variants.push(Self {
                swaps: true,
                gain: -1.0,
            });
        }
        if augmentations.contains(&Augmentation::Gain) {
            variants.extend(GAINS_DB.map(|decibels| Self {
                swaps: false,
                gain: 10f32.powf(decibels / 20.0),
            }));
        }
        variants
    }

    /// What tells its latents in the cache from those of the piece.
    pub(super) fn key(self) -> String {
        format!("swap={} gain={:08x}", self.swaps, self.gain.to_bits())
    }

    /// Changes stereo sound, one vector a channel.
    pub(super) fn apply(self, channels: &mut [Vec<f32>]) {
        if self.swaps {
            channels.reverse();
        }
        if self.gain != 1.0 {
            let samples = channels.iter_mut().flatten();
            samples.for_each(|sample| *sample *= self.gain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_asked_for_and_no_two_are_one() {
        assert!(Variant::of(&[]).is_empty());
        let all = Variant::of(&[
            Augmentation::Swap,
            Augmentation::Polarity,
            Augmentation::Gain,
        ]);
        assert_eq!(all.len(), 5);
        let mut heard: Vec<Vec<Vec<f32>>> = vec![vec![vec![1.0, 2.0], vec![3.0, 4.0]]];
        for variant in all {
            let mut channels = heard[0].clone();
            variant.apply(&mut channels);
            assert!(!heard.contains(&channels), "{variant:?}");
            heard.push(channels);
        }
        assert_eq!(heard[1], [[3.0, 4.0], [1.0, 2.0]]);
        assert_eq!(heard[2], [[-1.0, -2.0], [-3.0, -4.0]]);
        assert_eq!(heard[3], [[-3.0, -4.0], [-1.0, -2.0]]);
    }
}
