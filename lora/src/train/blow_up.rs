//! Losses that are numbers still, and tell of weights that are none any more.
//!
//! A step's loss varies with the flow times and pieces it drew: by a factor of two or three at the usual batch, more at a batch of one. So
//! it is held against two measures that no ordinary step comes near ten times of: the largest loss of the run's first steps, and the mean
//! square of what the step is to predict, which is the loss of predicting nothing at all. The weights of `--loss-weighting` are left out.

use serde::{Deserialize, Serialize};

/// A loss beyond so many times the larger of both measures is a broken one.
const MOST_TIMES: f64 = 10.0;
/// Steps from the beginning whose losses are the first ones.
const FIRST_STEPS: usize = 10;

/// The losses of a run's first steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstLosses {
    steps: usize,
    largest: f64,
}

impl FirstLosses {
    /// Takes a step's loss; those behind the first ones change nothing.
    pub(super) fn take_in(&mut self, loss: f64) {
        if self.steps < FIRST_STEPS {
            self.steps += 1;
            self.largest = self.largest.max(loss);
        }
    }

    /// Whether the weights behind a loss are broken; `of_nothing` gives the loss of predicting nothing. The first step of all is never
    /// judged: its loss is the base's own.
    ///
    /// # Errors
    /// What `of_nothing` returns.
    pub(super) fn is_left_behind<E>(
        &self,
        loss: f64,
        of_nothing: impl FnOnce() -> Result<f64, E>,
    ) -> Result<bool, E> {
        if self.steps == 0 || loss <= MOST_TIMES * self.largest {
            return Ok(false);
        }
        Ok(loss > MOST_TIMES * of_nothing()?)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use nn::Stream;

    use super::*;

    fn is_broken(first: &FirstLosses, loss: f64, of_nothing: f64) -> bool {
        let nothing = || Ok::<_, Infallible>(of_nothing);
        first.is_left_behind(loss, nothing).unwrap()
    }

    /// Batches of one crop: squares of normal numbers over few frames, of pieces a hundred times apart in level.
    #[test]
    fn ordinary_noise_never_trips_it() {
        let random = Stream::new(1);
        let mut first = FirstLosses::default();
        for step in 0..20_000 {
            let values = random.at(step).normal_vec(8);
            let energy = if step.is_multiple_of(3) { 0.01 } else { 1.0 };
            let square = values.iter().map(|value| f64::from(value * value));
            let loss = energy * square.sum::<f64>() / 8.0;
            assert!(!is_broken(&first, loss, energy), "{step}: {loss}");
            first.take_in(loss);
        }
    }

    #[test]
    fn a_loss_far_above_the_first_ones_is_broken() {
        let mut first = FirstLosses::default();
        // A base that knows nothing of such music.
        assert!(!is_broken(&first, 500.0, 1.0));
        first.take_in(1.5);
        assert!(is_broken(&first, 20.5, 2.0));
        // A loud piece.
        assert!(!is_broken(&first, 20.5, 2.1));
        for _ in 1..FIRST_STEPS {
            first.take_in(2.0);
        }
        first.take_in(100.0);
        assert!(is_broken(&first, 20.5, 1.0) && !is_broken(&first, 19.5, 1.0));
    }
}
