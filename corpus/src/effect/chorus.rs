//! Chorus: a modulated delay, the two channels in quadrature.

use crate::dsp::sine::Sine;

const CENTRE_SECS: f32 = 0.012;

pub(super) fn apply(
    depth_secs: f32,
    hz: f32,
    mix: f32,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    for (channel, phase) in [(left, 0.0), (right, 0.25)] {
        one(depth_secs, hz, mix, phase, channel, sample_rate_hz);
    }
}

fn one(depth_secs: f32, hz: f32, mix: f32, phase: f32, channel: &mut [f32], sample_rate_hz: f32) {
    let size = ((CENTRE_SECS + depth_secs) * sample_rate_hz) as usize + 4;
    let mut line = vec![0.0; size];
    let sine = Sine::new();
    let mut write = 0;
    let (mut delay, mut slope) = (CENTRE_SECS * sample_rate_hz, 0.0);
    for (i, sample) in channel.iter_mut().enumerate() {
        if i % 64 == 0 {
            let turns = (f64::from(hz) * (i + 64) as f64 / f64::from(sample_rate_hz)).fract()
                as f32
                + phase;
            let target = (CENTRE_SECS + depth_secs * sine.at(turns)) * sample_rate_hz;
            slope = (target - delay) / 64.0;
        }
        delay += slope;
        line[write] = *sample;
        let whole = delay as usize;
        let fraction = delay - whole as f32;
        let near = line[(write + size - whole) % size];
        let far = line[(write + size - whole - 1) % size];
        *sample = (1.0 - 0.5 * mix) * *sample + mix * (near + fraction * (far - near));
        write = (write + 1) % size;
    }
}
