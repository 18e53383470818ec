//! The tempi and metres of a tag's music, as the base heard it: what a clip's beat grid is drawn from where the prompt names no tempo. Drums fall
//! apart without a grid, because nothing but noise says where a beat is.

use std::collections::BTreeMap;

use nn::Stream;
use serde::{Deserialize, Serialize};

use super::PulseGrid;
use super::tags::{MOST_BEATS_PER_BAR, TEMPO_RANGE_BPM};

/// Tempi and metres of the pieces that have a tag, or of a prompt of several tags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rhythm {
    /// In beats a minute; a few pieces are slower.
    pub slowest_bpm: f64,
    /// In beats a minute; a few pieces are faster.
    pub fastest_bpm: f64,
    /// Share of the pieces by beats in a bar.
    pub metres: BTreeMap<usize, f64>,
}

impl Rhythm {
    /// Of pieces with these tempi and beats in a bar; none if there are no pieces. A tenth of them at either end is left out.
    pub fn of_pieces(pieces: &[(f64, usize)]) -> Option<Self> {
        let mut tempi: Vec<f64> = pieces.iter().map(|(tempo_bpm, _)| *tempo_bpm).collect();
        tempi.sort_by(f64::total_cmp);
        let last = tempi.len().checked_sub(1)?;
        let mut metres = BTreeMap::new();
        for (_, beats_per_bar) in pieces {
            *metres.entry(*beats_per_bar).or_insert(0.0) += 1.0;
        }
        metres
            .values_mut()
            .for_each(|count| *count /= pieces.len() as f64);
        let (slowest_bpm, fastest_bpm) = (tempi[last / 10], tempi[last - last / 10]);
        // Whole numbers between them, or the one that is nearest.
        let whole = (slowest_bpm.ceil(), fastest_bpm.floor());
        let (slowest_bpm, fastest_bpm) = match whole.0 <= whole.1 {
            true => whole,
            false => (slowest_bpm.round(), slowest_bpm.round()),
        };
        Some(Self {
            slowest_bpm,
            fastest_bpm,
            metres,
        })
    }

    /// Whether a grid can be made of it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let are_tempi = TEMPO_RANGE_BPM.contains(&self.slowest_bpm)
            && TEMPO_RANGE_BPM.contains(&self.fastest_bpm);
        if !are_tempi || self.slowest_bpm > self.fastest_bpm {
            return Err(format!(
                "tempi of {} to {} BPM are not possible",
                self.slowest_bpm, self.fastest_bpm
            ));
        }
        // Shares of many pieces add up to one but for rounding.
        let is_wrong = |(beats, share): &(&usize, &f64)| {
            !(1..=MOST_BEATS_PER_BAR).contains(*beats) || !(0.0..=1.0 + 1e-6).contains(*share)
        };
        match self.metres.iter().find(is_wrong) {
            Some((beats, share)) => Err(format!(
                "a metre of {beats} beats with a share of {share} is not possible"
            )),
            None if self.metres.is_empty() => Err("there is no metre".to_owned()),
            None => Ok(()),
        }
    }

    /// The tempi and metres that all of several tags have; where no tempo is common to all, those of the first. None without tags.
    pub(super) fn common<'a>(rhythms: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        let first = rhythms.clone().next()?;
        let mut common = rhythms.fold(
            Self {
                slowest_bpm: 0.0,
                fastest_bpm: f64::INFINITY,
                metres: BTreeMap::new(),
            },
            |mut common, rhythm| {
                common.slowest_bpm = common.slowest_bpm.max(rhythm.slowest_bpm);
                common.fastest_bpm = common.fastest_bpm.min(rhythm.fastest_bpm);
                for beats in 1..=MOST_BEATS_PER_BAR {
                    // What one tag's pieces happen not to have is unlikely, not impossible.
                    let share = rhythm.metres.get(&beats).copied().unwrap_or(0.0).max(0.01);
                    *common.metres.entry(beats).or_insert(1.0) *= share;
                }
                common
            },
        );
        if common.slowest_bpm > common.fastest_bpm {
            (common.slowest_bpm, common.fastest_bpm) = (first.slowest_bpm, first.fastest_bpm);
        }
        Some(common)
    }

    /// The most frequent metre.
    pub fn beats_per_bar(&self) -> Option<usize> {
        let most = self
            .metres
            .iter()
            .max_by(|one, other| one.1.total_cmp(other.1));
        most.map(|(beats, _)| *beats)
    }

    /// A whole number of beats a minute within the tempi, drawn by the seed of the clip.
    pub fn tempo_bpm(&self, seed: u64) -> f64 {
        let (slowest, fastest) = (self.slowest_bpm, self.fastest_bpm.max(self.slowest_bpm));
        let drawn = f64::from(Stream::new(seed).named("tempo").uniform_vec(1)[0]);
        (slowest + drawn * (fastest - slowest)).round()
    }

    /// The grid of the clip with that seed.
    pub fn grid(&self, seed: u64) -> PulseGrid {
        PulseGrid {
            tempo_bpm: self.tempo_bpm(seed),
            beats_per_bar: self.beats_per_bar().unwrap_or(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rhythm(slowest_bpm: f64, fastest_bpm: f64, metres: &[(usize, f64)]) -> Rhythm {
        Rhythm {
            slowest_bpm,
            fastest_bpm,
            metres: metres.iter().copied().collect(),
        }
    }

    #[test]
    fn the_outermost_tenths_of_the_pieces_are_left_out() {
        let pieces: Vec<(f64, usize)> = (0..21)
            .map(|n| (60.5 + f64::from(n) * 5.0, if n < 7 { 3 } else { 4 }))
            .collect();
        let found = Rhythm::of_pieces(&pieces).unwrap();
        assert_eq!((found.slowest_bpm, found.fastest_bpm), (71.0, 150.0));
        assert_eq!(found.beats_per_bar(), Some(4));
        assert!((found.metres[&3] - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(Rhythm::of_pieces(&[]), None);
    }

    #[test]
    fn several_tags_have_what_is_common_to_them() {
        let waltz = rhythm(84.0, 180.0, &[(3, 1.0)]);
        let piano = rhythm(60.0, 150.0, &[(3, 0.2), (4, 0.8)]);
        for tags in [[&waltz, &piano], [&piano, &waltz]] {
            let common = Rhythm::common(tags.into_iter()).unwrap();
            assert_eq!((common.slowest_bpm, common.fastest_bpm), (84.0, 150.0));
            assert_eq!(common.beats_per_bar(), Some(3), "whatever their order");
        }
        let slow = rhythm(60.0, 70.0, &[(4, 1.0)]);
        let common = Rhythm::common([&slow, &waltz].into_iter()).unwrap();
        assert_eq!((common.slowest_bpm, common.fastest_bpm), (60.0, 70.0));
        assert_eq!(Rhythm::common([].into_iter()), None);
    }

    #[test]
    fn every_seed_has_a_tempo_of_its_own_within_the_range() {
        let lofi = rhythm(62.0, 104.0, &[(4, 1.0)]);
        let mut tempi: Vec<f64> = (0..200).map(|seed| lofi.tempo_bpm(seed)).collect();
        assert_eq!(tempi[7], lofi.grid(7).tempo_bpm);
        assert!(tempi.iter().all(|tempo| (62.0..=104.0).contains(tempo)));
        tempi.sort_by(f64::total_cmp);
        tempi.dedup();
        assert!(tempi.len() > 30, "{tempi:?}");
        assert!(tempi.iter().all(|tempo| tempo.fract() == 0.0));
    }

    #[test]
    fn impossible_tempi_and_metres_are_told() {
        assert_eq!(rhythm(60.0, 100.0, &[(4, 1.0)]).check(), Ok(()));
        assert!(
            rhythm(0.0, 100.0, &[(4, 1.0)])
                .check()
                .unwrap_err()
                .contains("0 to 100")
        );
        for wrong in [
            rhythm(60.0, f64::NAN, &[(4, 1.0)]),
            rhythm(100.0, 60.0, &[(4, 1.0)]),
            rhythm(60.0, 100.0, &[]),
            rhythm(60.0, 100.0, &[(4, f64::NAN)]),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let alike = Rhythm::of_pieces(&[(100.5, 4); 3]).unwrap();
        assert_eq!(
            (alike.slowest_bpm, alike.check()),
            (alike.fastest_bpm, Ok(()))
        );
        assert!(
            rhythm(60.0, 100.0, &[(7, 1.0)])
                .check()
                .unwrap_err()
                .contains("7 beats")
        );
    }
}
