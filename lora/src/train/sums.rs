//! What is added up from step to step until it is written down as means.

use std::collections::BTreeMap;

use journal::{StepRecord, TIME_PARTS};
use serde::{Deserialize, Serialize};

/// Sums over some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sums {
    steps: usize,
    loss: f64,
    #[serde(default)]
    unweighted_loss: f64,
    gradient_norm: f64,
    update_norm: f64,
    secs: f64,
    /// Losses of the items whose flow time fell into each part of 0..1, and how many they are.
    by_time: [(f64, usize); TIME_PARTS],
}

/// What one step came to.
#[derive(Debug, Clone)]
pub(super) struct StepFigures {
    pub loss: f64,
    /// The same without weights by flow time.
    pub unweighted_loss: f64,
    /// Flow time and loss of each item.
    pub items: Vec<(f32, f64)>,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Of what was added to the weights.
    pub update_norm: f64,
    pub secs: f64,
}

impl Sums {
    pub(super) fn add(&mut self, step: &StepFigures) {
        self.steps += 1;
        self.loss += step.loss;
        self.unweighted_loss += step.unweighted_loss;
        self.gradient_norm += step.gradient_norm;
        self.update_norm += step.update_norm;
        self.secs += step.secs;
        for &(time, loss) in &step.items {
            let part = (f64::from(time) * TIME_PARTS as f64) as usize;
            let (sum, count) = &mut self.by_time[part.min(TIME_PARTS - 1)];
            (*sum, *count) = (*sum + loss, *count + 1);
        }
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.steps.max(1) as f64
    }

    pub(super) fn mean_loss(&self) -> f64 {
        self.mean(self.loss)
    }

    pub(super) fn mean_unweighted_loss(&self) -> f64 {
        self.mean(self.unweighted_loss)
    }

    pub(super) fn mean_gradient_norm(&self) -> f64 {
        self.mean(self.gradient_norm)
    }

    /// The record of these steps; what the sums do not know is left for the caller to fill in.
    pub(super) fn record(&self, adapter_norms: BTreeMap<String, f64>) -> StepRecord {
        let mean = |&(sum, count): &(f64, usize)| (count > 0).then(|| sum / count as f64);
        StepRecord {
            step: 0,
            epoch: 0,
            loss: self.mean_loss(),
            unweighted_loss: None,
            loss_by_time: std::array::from_fn(|part| mean(&self.by_time[part])),
            gradient_norm: self.mean_gradient_norm(),
            update_norm: self.mean(self.update_norm),
            learning_rate: 0.0,
            step_secs: self.mean(self.secs),
            elapsed_secs: 0.0,
            adapter_norms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_the_steps_and_times_fall_into_their_parts() {
        let mut sums = Sums::default();
        for loss in [1.0, 3.0] {
            sums.add(&StepFigures {
                loss,
                unweighted_loss: 3.0 * loss,
                items: vec![(0.0, loss), (0.124, 5.0), (1.0, 7.0)],
                gradient_norm: 2.0 * loss,
                update_norm: 0.5,
                secs: 0.1,
            });
        }
        let record = sums.record(BTreeMap::new());
        assert_eq!((record.loss, record.gradient_norm), (2.0, 4.0));
        assert_eq!(sums.mean_unweighted_loss(), 6.0);
        assert_eq!(record.loss_by_time[0], Some((1.0 + 5.0 + 3.0 + 5.0) / 4.0));
        assert_eq!(record.loss_by_time[7], Some(7.0));
        assert_eq!(record.loss_by_time[3], None);
    }
}
