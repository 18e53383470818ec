//! Tape and record: slow changes of speed, dust.

use crate::dsp::filter::OnePole;
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;

/// `depth` is the greatest change of speed (0.003 is five cents).
pub(super) fn apply(depth: f32, hz: f32, left: &mut [f32], right: &mut [f32], sample_rate_hz: f32) {
    // A delay that swings by d seconds at f hertz changes speed by 2 pi f d.
    let swing = depth / (std::f32::consts::TAU * hz) * sample_rate_hz;
    let centre = swing * 1.4 + 2.0;
    let sine = Sine::new();
    for channel in [left, right] {
        let source = channel.to_vec();
        for (i, sample) in channel.iter_mut().enumerate() {
            let secs = i as f32 / sample_rate_hz;
            let delay =
                centre + swing * (sine.at(secs * hz) + 0.35 * sine.at(secs * hz * 2.71 + 0.3));
            let position = i as f32 as f64 - f64::from(delay);
            if position < 0.0 {
                *sample = 0.0;
                continue;
            }
            let whole = position as usize;
            let fraction = (position - whole as f64) as f32;
            let next = source.get(whole + 1).copied().unwrap_or(0.0);
            *sample = source[whole] + fraction * (next - source[whole]);
        }
    }
}

pub(super) fn crackle(
    gain: f32,
    seed: u64,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    for (channel, salt) in [(left, 1), (right, 2)] {
        let mut noise = Noise::new(seed ^ salt);
        let mut hiss = OnePole::new(5000.0, sample_rate_hz);
        let mut tick = OnePole::new(3000.0, sample_rate_hz);
        for sample in channel {
            let impulse = if noise.next() > 0.9996 {
                noise.next() * 9.0
            } else {
                0.0
            };
            *sample += gain * (0.12 * hiss.low(noise.next()) + tick.low(impulse));
        }
    }
}
