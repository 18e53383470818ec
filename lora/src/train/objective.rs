//! What is asked of the model in training: at which flow times, and how much each counts.

use nn::Stream;

use super::config::{LossWeighting, TimeSampling, TrainConfig};

/// The distribution of flow times: 0 is noise, 1 is data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FlowTimes {
    /// Evenly from 0 to 1.
    Uniform,
    /// The sigmoid of a normal number: more often in the middle, where the direction is hardest to tell (Esser et al. 2024,
    /// arXiv:2403.03206, section 3.1).
    LogitNormal {
        /// Above 0 nearer to data.
        mean: f64,
        /// Above 1 more often near the ends.
        deviation: f64,
    },
}

impl FlowTimes {
    /// What all bases so far were trained with.
    pub const STANDARD: Self = Self::LogitNormal {
        mean: 0.0,
        deviation: 1.0,
    };

    /// As a run asks for them.
    pub(super) fn of(config: &TrainConfig) -> Self {
        match config.time_sampling {
            TimeSampling::Base => Self::STANDARD,
            TimeSampling::Uniform => Self::Uniform,
            TimeSampling::LogitNormal => Self::LogitNormal {
                mean: config.time_mean.unwrap_or(0.0),
                deviation: config.time_deviation.unwrap_or(1.0),
            },
        }
    }

    /// So many times.
    pub(crate) fn draw(self, random: &Stream, count: usize) -> Vec<f32> {
        match self {
            Self::Uniform => random.uniform_vec(count),
            Self::STANDARD => random.normal_vec(count).into_iter().map(sigmoid).collect(),
            Self::LogitNormal { mean, deviation } => {
                let shifted = |value: f32| sigmoid(value * deviation as f32 + mean as f32);
                random.normal_vec(count).into_iter().map(shifted).collect()
            }
        }
    }
}

/// What a squared error of the velocity weighs at a flow time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TimeWeights {
    /// 1 at all times.
    Even,
    /// Min-SNR (Hang et al. 2023, arXiv:2303.09556, section 3.4): the squared error of the predicted data weighs `min(SNR, gamma)`. On
    /// the way `x_t = (1 - t) noise + t data` the SNR is `t^2 / (1 - t)^2`, and the data's error is `1 - t` times the velocity's, so
    /// that the velocity's squared error weighs `min(t^2, gamma (1 - t)^2)`.
    MinSnr {
        /// 5 in the paper.
        gamma: f64,
    },
}

impl TimeWeights {
    /// The paper's choice.
    const GAMMA: f64 = 5.0;

    /// As a run asks for them.
    pub(super) fn of(config: &TrainConfig) -> Self {
        match config.loss_weighting {
            LossWeighting::None => Self::Even,
            LossWeighting::MinSnr => Self::MinSnr {
                gamma: config.min_snr_gamma.unwrap_or(Self::GAMMA),
            },
        }
    }

    /// The weights' roots, by which errors are multiplied before they are squared; none if all are 1.
    pub(super) fn roots(self, times: &[f32]) -> Option<Vec<f32>> {
        let Self::MinSnr { gamma } = self else {
            return None;
        };
        let gamma = gamma.sqrt() as f32;
        Some(
            times
                .iter()
                .map(|time| time.min(gamma * (1.0 - time)))
                .collect(),
        )
    }
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_snr_is_the_papers_weight_of_the_datas_error() {
        let times = [0.0_f32, 0.1, 0.5, 0.69, 0.7, 0.99, 1.0];
        assert_eq!(TimeWeights::Even.roots(&times), None);
        let roots = TimeWeights::MinSnr { gamma: 5.0 }.roots(&times).unwrap();
        for (&time, root) in times.iter().zip(roots) {
            let (time, root) = (f64::from(time), f64::from(root));
            // At t = 1 the ratio is infinite, and the data's error nothing.
            let ratio = (time / (1.0 - time)).powi(2).min(5.0);
            let expected = ratio * (1.0 - time).powi(2);
            assert!((root * root - expected).abs() < 1e-6, "{time}: {root}");
        }
    }

    /// Mean and share below a quarter of many draws.
    fn summary(times: FlowTimes) -> (f64, f64) {
        const COUNT: usize = 20_000;
        let drawn = times.draw(&Stream::new(1), COUNT);
        assert!(drawn.iter().all(|time| (0.0..=1.0).contains(time)));
        let sum: f64 = drawn.iter().map(|&time| f64::from(time)).sum();
        let low = drawn.iter().filter(|&&time| time < 0.25).count();
        (sum / COUNT as f64, low as f64 / COUNT as f64)
    }

    #[test]
    fn distributions_are_those_they_are_called() {
        // Below a quarter lies what is below ln(1/3) = -1.0986 before the sigmoid: 13.6 % of a standard normal.
        for (times, mean, low) in [
            (FlowTimes::Uniform, 0.5, 0.25),
            (FlowTimes::STANDARD, 0.5, 0.136),
            (
                FlowTimes::LogitNormal {
                    mean: -1.0986,
                    deviation: 0.5,
                },
                0.266,
                0.5,
            ),
        ] {
            let (found_mean, found_low) = summary(times);
            assert!((found_mean - mean).abs() < 0.01, "{times:?}: {found_mean}");
            assert!((found_low - low).abs() < 0.01, "{times:?}: {found_low}");
        }
    }
}
