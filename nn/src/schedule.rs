//! How the learning rate moves over a run.

use serde::{Deserialize, Serialize};

/// A linear rise, then half a cosine down to a share of the peak (Loshchilov and Hutter 2016), reached at the last
/// step and kept after it: the rate never climbs again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmupCosine {
    /// Rate at the end of the rise.
    pub peak: f64,
    /// Share of the peak that is left at the end.
    pub floor_ratio: f64,
    /// Steps of the rise; the first of them already has a rate above zero.
    pub warmup_steps: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
}

impl WarmupCosine {
    /// The rate of a step, counted from zero.
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let falling = self
            .total_steps
            .saturating_sub(self.warmup_steps + 1)
            .max(1);
        let progress = ((step - self.warmup_steps) as f64 / falling as f64).min(1.0);
        let share = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
        self.peak * (self.floor_ratio + (1.0 - self.floor_ratio) * share)
    }
}

/// A cosine whose half period is half of the run, so that the second half climbs back to the peak: torch's
/// `CosineAnnealingLR` with `T_max` at half of the steps, as the LoRA project zachyu-1231/lora-music-generation uses it
/// (`Lora.py`). For comparison with it alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReturningCosine {
    /// Rate of the first step.
    pub peak: f64,
    /// Share of the peak in the middle of the run.
    pub floor_ratio: f64,
    /// Steps of the whole run.
    pub total_steps: usize,
}

impl ReturningCosine {
    /// The rate of a step, counted from zero.
    pub fn at(&self, step: usize) -> f64 {
        let half = (self.total_steps / 2).max(1);
        let share = (1.0 + (std::f64::consts::PI * step as f64 / half as f64).cos()) / 2.0;
        self.peak * (self.floor_ratio + (1.0 - self.floor_ratio) * share)
    }
}

/// Either of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Up once, down once.
    WarmupCosine(WarmupCosine),
    /// Down and up again.
    ReturningCosine(ReturningCosine),
}

impl Schedule {
    /// The rate of a step, counted from zero.
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Self::WarmupCosine(schedule) => schedule.at(step),
            Self::ReturningCosine(schedule) => schedule.at(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rises_to_the_peak_and_falls_to_the_floor() {
        let schedule = WarmupCosine {
            peak: 2e-3,
            floor_ratio: 0.1,
            warmup_steps: 4,
            total_steps: 100,
        };
        assert_eq!(schedule.at(0), 5e-4);
        assert_eq!(schedule.at(3), 2e-3);
        assert_eq!(schedule.at(4), 2e-3);
        assert!((schedule.at(99) - 2e-4).abs() < 1e-12);
        assert_eq!(schedule.at(99), schedule.at(1000));
    }

    #[test]
    fn the_references_rate_climbs_back() {
        let schedule = ReturningCosine {
            peak: 2e-4,
            floor_ratio: 0.1,
            total_steps: 100,
        };
        assert_eq!((schedule.at(0), schedule.at(100)), (2e-4, 2e-4));
        assert!((schedule.at(50) - 2e-5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn one_rise_and_one_fall(warmup_steps in 0usize..50, total_steps in 0usize..200, floor_ratio in 0.0..1.0) {
            let schedule = WarmupCosine { peak: 1.0, floor_ratio, warmup_steps, total_steps };
            for step in 0..250 {
                let (now, next) = (schedule.at(step), schedule.at(step + 1));
                prop_assert!(now > 0.0 || floor_ratio == 0.0);
                prop_assert!(now <= 1.0 + 1e-12);
                if step + 1 < warmup_steps {
                    prop_assert!(next > now);
                } else {
                    prop_assert!(next <= now + 1e-12);
                }
            }
        }
    }
}
