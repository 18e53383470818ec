//! The output level, without steps.

/// Time constant: a new level is reached within four of these, to 2 %.
const SMOOTHING_SECS: f64 = 0.005;
/// Nearer than this it is there.
const NEAR: f32 = 1e-5;
/// Highest factor (+24 dB).
const MOST: f32 = 16.0;

/// Follows the level that is set.
#[derive(Debug)]
pub(super) struct Gain {
    /// Not known before the first block, which begins at its own level.
    level: Option<f32>,
    share: f32,
}

impl Gain {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            level: None,
            share: (1.0 - (-1.0 / (SMOOTHING_SECS * sample_rate_hz)).exp()) as f32,
        }
    }

    /// Multiplies both channels.
    pub(super) fn apply(&mut self, target: f32, channels: [&mut [f32]; 2]) {
        let before = self.level;
        let target = if target.is_finite() {
            target.clamp(0.0, MOST)
        } else {
            before.unwrap_or(1.0)
        };
        let mut level = before.unwrap_or(target);
        let [left, right] = channels;
        if level == target && level == 1.0 {
            self.level = Some(level);
            return;
        }
        for (left, right) in left.iter_mut().zip(right) {
            let distance = target - level;
            level = if distance.abs() < NEAR {
                target
            } else {
                level + distance * self.share
            };
            *left *= level;
            *right *= level;
        }
        self.level = Some(level);
    }
}
