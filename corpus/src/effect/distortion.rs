//! A driven amplifier: saturation at twice the rate, then a loudspeaker's low-pass.

use crate::dsp::filter::{Biquad, OnePole};

pub(super) fn apply(
    drive: f32,
    tone_hz: f32,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    // The drive is relative to the level that comes in: patches differ too much for a fixed one.
    let power = left.iter().chain(right.iter()).map(|x| x * x).sum::<f32>()
        / (2 * left.len()).max(1) as f32;
    let gain = drive / power.sqrt().max(1e-6);
    for channel in [left, right] {
        let mut rumble = OnePole::new(90.0, sample_rate_hz);
        let mut anti_alias =
            Biquad::low_pass(0.2 * 2.0 * sample_rate_hz, 0.707, 2.0 * sample_rate_hz);
        let mut cabinet = [
            Biquad::low_pass(tone_hz, 0.8, sample_rate_hz),
            Biquad::low_pass(tone_hz * 1.3, 0.6, sample_rate_hz),
        ];
        let mut presence = Biquad::peak(tone_hz * 0.6, 1.0, 4.0, sample_rate_hz);
        let mut last = 0.0;
        for sample in channel {
            let input = gain * rumble.high(*sample);
            let between = f32::midpoint(input, last);
            last = input;
            anti_alias.next(saturate(between));
            let shaped = anti_alias.next(saturate(input));
            let mut value = presence.next(shaped);
            for stage in &mut cabinet {
                value = stage.next(value);
            }
            *sample = value;
        }
    }
}

/// Slightly uneven, so that even harmonics appear.
fn saturate(x: f32) -> f32 {
    let biased = x + 0.15;
    biased / (1.0 + biased * biased).sqrt() - 0.148
}
