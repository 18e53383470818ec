//! Keeps the output below a ceiling. It does not look ahead, so that nothing is late: a sample that would pass the ceiling is turned down at
//! once, both channels alike, and the level comes back slowly. What stays below the ceiling passes unchanged, to the last bit.

/// Highest sample: -0.3 dB below full scale.
pub const CEILING: f32 = 0.966_05;
/// For so long it stays turned down, which is more than a period of a low note.
const HOLD_SECS: f64 = 0.02;
/// Time constant of coming back.
const RELEASE_SECS: f64 = 0.08;
/// Smallest step on the way back, a few of the smallest that a number just below 1 can make; without it the way would have no end.
const LEAST_STEP: f32 = 2.4e-7;

#[derive(Debug)]
pub(super) struct Limiter {
    gain: f32,
    hold_left: u32,
    hold: u32,
    share: f32,
}

impl Limiter {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            gain: 1.0,
            hold_left: 0,
            hold: (HOLD_SECS * sample_rate_hz) as u32,
            share: (1.0 - (-1.0 / (RELEASE_SECS * sample_rate_hz)).exp()) as f32,
        }
    }

    /// Also turns what is no number into silence.
    pub(super) fn apply(&mut self, channels: [&mut [f32]; 2]) {
        let [left, right] = channels;
        let is_low = |samples: &[f32]| samples.iter().all(|sample| sample.abs() <= CEILING);
        if self.gain == 1.0 && is_low(left) && is_low(right) {
            return;
        }
        for (left, right) in left.iter_mut().zip(right) {
            (*left, *right) = (finite(*left), finite(*right));
            let gain = self.next(left.abs().max(right.abs()));
            if gain != 1.0 {
                *left = (*left * gain).clamp(-CEILING, CEILING);
                *right = (*right * gain).clamp(-CEILING, CEILING);
            }
        }
    }

    fn next(&mut self, peak: f32) -> f32 {
        if peak * self.gain > CEILING {
            self.gain = CEILING / peak;
            self.hold_left = self.hold;
        } else if self.hold_left > 0 {
            self.hold_left -= 1;
        } else if self.gain < 1.0 {
            let step = (1.0 - self.gain) * self.share;
            self.gain = (self.gain + step.max(LEAST_STEP)).min(1.0);
            // Coming back must not lift this sample above the ceiling.
            self.gain = self.gain.min(if peak > 0.0 { CEILING / peak } else { 1.0 });
        }
        self.gain
    }
}

fn finite(sample: f32) -> f32 {
    if sample.is_finite() { sample } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_holds_for_anything_and_low_sound_passes_unchanged() {
        let mut limiter = Limiter::new(48_000.0);
        let mut seed = 1_u32;
        let mut noise = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        let quiet: Vec<f32> = (0..1000).map(|_| noise() * 0.96).collect();
        let (mut left, mut right) = (quiet.clone(), quiet.clone());
        limiter.apply([&mut left, &mut right]);
        assert_eq!(left, quiet);
        let mut loud: Vec<f32> = (0..100_000).map(|_| noise() * 40.0).collect();
        loud[7] = f32::NAN;
        loud[70] = f32::INFINITY;
        loud[71] = f32::MIN_POSITIVE / 4.0;
        loud[72] = f32::MAX;
        for block in loud.chunks_mut(61) {
            let mut other = block.to_vec();
            limiter.apply([block, &mut other]);
        }
        assert!(loud.iter().all(|sample| sample.abs() <= CEILING));
        // After a second of quiet it is as before.
        limiter.apply([&mut [0.1; 48_000 * 2], &mut [0.1; 48_000 * 2]]);
        let (mut left, mut right) = (quiet.clone(), quiet.clone());
        limiter.apply([&mut left, &mut right]);
        assert!(left == quiet && right == quiet);
    }

    #[test]
    fn both_channels_are_turned_down_alike() {
        let mut limiter = Limiter::new(48_000.0);
        let (mut left, mut right) = ([4.0], [1.0]);
        limiter.apply([&mut left, &mut right]);
        assert!((left[0] / right[0] - 4.0).abs() < 1e-6);
    }
}
