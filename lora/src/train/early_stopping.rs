//! When to stop: the best validation loss, and how long it has stood.

use serde::{Deserialize, Serialize};

/// Follows the loss on the held-out songs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    patience_epochs: usize,
    minimum_improvement: f64,
    /// Lowest loss seen; the weights of that moment are the ones kept.
    pub best: Option<f64>,
    /// The loss that later ones are measured against: it moves only by improvements that count.
    reference: Option<f64>,
    reference_epoch: usize,
}

/// What one validation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The lowest loss so far: keep these weights.
    pub is_best: bool,
    /// Patience is at its end.
    pub stop: bool,
}

impl EarlyStopping {
    /// Stops after `patience_epochs` without an improvement of the share `minimum_improvement` (0.01: one per cent).
    pub fn new(patience_epochs: usize, minimum_improvement: f64) -> Self {
        Self {
            patience_epochs,
            minimum_improvement,
            best: None,
            reference: None,
            reference_epoch: 0,
        }
    }

    /// Takes the validation loss measured after `epoch`.
    pub fn observe(&mut self, epoch: usize, loss: f64) -> Verdict {
        let is_best = loss.is_finite() && self.best.is_none_or(|best| loss < best);
        if is_best {
            self.best = Some(loss);
        }
        let counts = self
            .reference
            .is_none_or(|reference| loss <= reference * (1.0 - self.minimum_improvement));
        if loss.is_finite() && counts {
            self.reference = Some(loss);
            self.reference_epoch = epoch;
        }
        Verdict {
            is_best,
            stop: epoch.saturating_sub(self.reference_epoch) >= self.patience_epochs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_gains_are_kept_but_do_not_buy_time() {
        let mut stopping = EarlyStopping::new(3, 0.01);
        assert_eq!(
            stopping.observe(1, 1.0),
            Verdict {
                is_best: true,
                stop: false
            }
        );
        assert_eq!(
            stopping.observe(2, 0.999),
            Verdict {
                is_best: true,
                stop: false
            }
        );
        assert_eq!(
            stopping.observe(3, 1.2),
            Verdict {
                is_best: false,
                stop: false
            }
        );
        assert_eq!(
            stopping.observe(4, 0.998),
            Verdict {
                is_best: true,
                stop: true
            }
        );
    }

    #[test]
    fn one_per_cent_starts_the_clock_again() {
        let mut stopping = EarlyStopping::new(3, 0.01);
        stopping.observe(1, 1.0);
        assert!(!stopping.observe(3, 0.99).stop);
        assert!(!stopping.observe(5, 1.0).stop);
        assert!(stopping.observe(6, 1.0).stop);
    }

    #[test]
    fn not_a_number_is_never_the_best() {
        let mut stopping = EarlyStopping::new(3, 0.01);
        assert!(!stopping.observe(1, f64::NAN).is_best);
        assert!(stopping.observe(2, 5.0).is_best);
    }
}
