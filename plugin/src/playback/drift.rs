//! Tells a host's rounding from a real difference between its position and the samples that were counted.

/// Frames that the position of a host which does not round lies around the truth at most.
const EXACT_SPREAD: f64 = 0.5;
/// Difference that is mended where the host does not round: the clip cannot be nearer than half a frame.
const EXACT_TOLERANCE: f64 = 0.75;

/// Looks at about a second before it judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drift {
    window: usize,
    samples: usize,
    sum: f64,
    least: f64,
    most: f64,
}

impl Drift {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            window: (sample_rate_hz as usize).max(1),
            samples: 0,
            sum: 0.0,
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
        }
    }

    /// Forgets what it saw.
    pub(super) fn restart(&mut self) {
        (self.samples, self.sum) = (0, 0.0);
        (self.least, self.most) = (f64::INFINITY, f64::NEG_INFINITY);
    }

    /// Takes a block's difference in frames; now and then says by how many frames to move.
    pub(super) fn observe(&mut self, difference: f64, samples: usize) -> Option<f64> {
        self.samples += samples;
        self.sum += difference * samples as f64;
        self.least = self.least.min(difference);
        self.most = self.most.max(difference);
        if self.samples < self.window {
            return None;
        }
        let mean = self.sum / self.samples as f64;
        let spread = self.most - self.least;
        let tolerance = if spread < EXACT_SPREAD {
            EXACT_TOLERANCE
        } else {
            // Hosts round up or down as well as to the nearest: the truth may lie at either end of what they said.
            0.5 * spread + 2.0 * EXACT_TOLERANCE
        };
        self.restart();
        (mean.abs() > tolerance).then(|| mean.round())
    }
}
