//! Bootstrap confidence intervals: how would a value move with other clips of the same kind?
//!
//! Clips are drawn with replacement, as many as there are, and the value is computed anew, thousands of times
//! (Efron 1979). The interval is that of the percentiles, moved so that the mean of the redrawn values lies on the
//! value itself: a redrawn set is noisier than the set, which pushes a distance up in every redraw, and that push is
//! no uncertainty of the value.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::pooling::quantile;

/// How intervals are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Seed of the draws; the same seed gives the same interval.
    pub seed: u64,
    /// Number of redrawn sets.
    pub resamples: usize,
    /// Share of the redrawn values within the interval, between 0 and 1.
    pub level: f64,
}

impl Default for Bootstrap {
    /// 2000 redrawn sets, 95 %, seed 0.
    fn default() -> Self {
        Self {
            seed: 0,
            resamples: 2000,
            level: 0.95,
        }
    }
}

/// A value with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value of the set as it is.
    pub value: f64,
    /// Lower end; none where a set has fewer than two clips.
    pub low: Option<f64>,
    /// Upper end; none where a set has fewer than two clips.
    pub high: Option<f64>,
}

impl Estimate {
    /// Whether zero lies outside the interval; `false` without an interval.
    pub fn excludes_zero(&self) -> bool {
        matches!((self.low, self.high), (Some(low), Some(high)) if low > 0.0 || high < 0.0)
    }
}

impl Bootstrap {
    /// The interval of a value of one set of `clips` clips; `statistic` gets the indices drawn.
    pub fn one(&self, clips: usize, statistic: impl Fn(&[usize]) -> f64) -> Estimate {
        self.estimate(&[clips], |draws| statistic(&draws[0]))
    }

    /// The interval of a value of two sets that were drawn independently.
    pub fn two(
        &self,
        clips: (usize, usize),
        statistic: impl Fn(&[usize], &[usize]) -> f64,
    ) -> Estimate {
        self.estimate(&[clips.0, clips.1], |draws| statistic(&draws[0], &draws[1]))
    }

    fn estimate(&self, counts: &[usize], statistic: impl Fn(&[Vec<usize>]) -> f64) -> Estimate {
        let estimates = self.joint(counts, |draws| vec![statistic(draws)]);
        estimates.into_iter().next().unwrap_or(Estimate {
            value: f64::NAN,
            low: None,
            high: None,
        })
    }

    /// The intervals of several values of the same draws: of each count that many indices, with replacement.
    ///
    /// `statistic` gets one list of indices for each count and gives the same number of values each time. No value has an interval where a
    /// count is below two.
    pub fn joint(
        &self,
        counts: &[usize],
        statistic: impl Fn(&[Vec<usize>]) -> Vec<f64>,
    ) -> Vec<Estimate> {
        let whole: Vec<Vec<usize>> = counts.iter().map(|&count| (0..count).collect()).collect();
        let values = statistic(&whole);
        if counts.iter().any(|&count| count < 2) || self.resamples == 0 {
            let alone = |value| Estimate {
                value,
                low: None,
                high: None,
            };
            return values.into_iter().map(alone).collect();
        }
        let mut redrawn = vec![Vec::with_capacity(self.resamples); values.len()];
        for index in 0..self.resamples {
            let redraw = statistic(&self.draw(counts, index));
            for (column, value) in redrawn.iter_mut().zip(redraw) {
                column.push(value);
            }
        }
        let columns = values.into_iter().zip(redrawn);
        columns
            .map(|(value, column)| self.interval(value, column))
            .collect()
    }

    fn interval(&self, value: f64, mut redrawn: Vec<f64>) -> Estimate {
        redrawn.sort_unstable_by(f64::total_cmp);
        let shift = value - redrawn.iter().sum::<f64>() / redrawn.len() as f64;
        let tail = (1.0 - self.level) / 2.0;
        let end = |share| Some(quantile(&redrawn, share) + shift);
        Estimate {
            value,
            low: end(tail),
            high: end(1.0 - tail),
        }
    }

    /// Indices for redraw `index`: a stream of its own, so that the number of redraws does not change the first ones.
    fn draw(&self, counts: &[usize], index: usize) -> Vec<Vec<usize>> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(index as u64);
        let mut one = |count: usize| {
            (0..count)
                .map(|_| generator.random_range(0..count))
                .collect()
        };
        counts.iter().map(|&count| one(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum of twelve uniform numbers less six: mean 0, variance 1.
    fn normal(generator: &mut ChaCha8Rng) -> f64 {
        (0..12)
            .map(|_| generator.random_range(0.0..1.0))
            .sum::<f64>()
            - 6.0
    }

    #[test]
    fn intervals_of_a_mean_cover_the_truth_about_as_often_as_they_say() {
        let bootstrap = Bootstrap {
            seed: 3,
            resamples: 400,
            level: 0.9,
        };
        let mut generator = ChaCha8Rng::seed_from_u64(11);
        let covered = (0..300).filter(|_| {
            let values: Vec<f64> = (0..24).map(|_| 5.0 + normal(&mut generator)).collect();
            let mean = |drawn: &[usize]| {
                drawn.iter().map(|&i| values[i]).sum::<f64>() / drawn.len() as f64
            };
            let estimate = bootstrap.one(values.len(), mean);
            estimate.low.unwrap() < 5.0 && 5.0 < estimate.high.unwrap()
        });
        let share = covered.count() as f64 / 300.0;
        // The bootstrap of a mean of 24 is a little too narrow (about 0.88); two deviations of the count are 0.035.
        assert!((0.83..0.95).contains(&share), "{share}");
    }

    #[test]
    fn pairs_narrow_the_interval_of_a_difference() {
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let baseline: Vec<f64> = (0..16).map(|_| normal(&mut generator)).collect();
        let candidate: Vec<f64> = baseline
            .iter()
            .map(|value| value - 0.3 + 0.05 * normal(&mut generator))
            .collect();
        let mean = |values: &[f64], drawn: &[usize]| {
            drawn.iter().map(|&i| values[i]).sum::<f64>() / drawn.len() as f64
        };
        let bootstrap = Bootstrap::default();
        let paired = bootstrap.one(16, |drawn| mean(&candidate, drawn) - mean(&baseline, drawn));
        let apart = bootstrap.two((16, 16), |a, b| mean(&candidate, a) - mean(&baseline, b));
        assert!(
            paired.excludes_zero() && !apart.excludes_zero(),
            "{paired:?} {apart:?}"
        );
        assert_eq!(paired.value, apart.value);
    }

    #[test]
    fn several_values_share_their_draws() {
        let bootstrap = Bootstrap::default();
        let mean = |drawn: &[usize]| drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
        let joint = bootstrap.joint(&[9, 4], |draws| {
            let (one, other) = (mean(&draws[0]), mean(&draws[1]));
            vec![one, other, one - one, one + other]
        });
        assert_eq!(joint[0].value, 4.0);
        assert_eq!((joint[2].low, joint[2].high), (Some(0.0), Some(0.0)));
        let width = |estimate: &Estimate| estimate.high.unwrap() - estimate.low.unwrap();
        // Independent draws: variances add up.
        assert!(width(&joint[3]) > width(&joint[0]) && width(&joint[0]) > width(&joint[1]));
        assert_eq!(
            bootstrap.one(9, mean),
            bootstrap.joint(&[9], |draws| vec![mean(&draws[0])])[0]
        );
        assert!(bootstrap.joint(&[9, 1], |_| vec![1.0])[0].low.is_none());
    }

    #[test]
    fn seeds_repeat_and_single_clips_have_no_interval() {
        let statistic = |drawn: &[usize]| drawn.iter().sum::<usize>() as f64;
        let one = Bootstrap {
            seed: 1,
            ..Bootstrap::default()
        };
        let two = Bootstrap {
            seed: 2,
            ..Bootstrap::default()
        };
        assert_eq!(one.one(9, statistic), one.one(9, statistic));
        assert_ne!(one.one(9, statistic), two.one(9, statistic));
        let single = one.one(1, statistic);
        assert_eq!(
            (single.low, single.high, single.excludes_zero()),
            (None, None, false)
        );
    }
}
