//! The level of a track where it sounds, and a limiter of peaks.

/// Blocks over which loudness is measured.
const BLOCK_SECS: f32 = 0.4;
/// Blocks this far below the mean of the louder ones do not count, as in ITU-R BS.1770.
const GATE_DB: f32 = -10.0;
const LOOKAHEAD_SECS: f32 = 0.004;

/// Root mean square of the parts where something sounds, over both channels.
pub(crate) fn active_rms(left: &[f32], right: &[f32], sample_rate_hz: f32) -> f32 {
    let block = (BLOCK_SECS * sample_rate_hz) as usize;
    let powers: Vec<f32> = left
        .chunks(block)
        .zip(right.chunks(block))
        .map(|(l, r)| l.iter().chain(r).map(|x| x * x).sum::<f32>() / (2 * l.len()) as f32)
        .collect();
    let loudest = powers.iter().fold(0.0_f32, |a, b| a.max(*b));
    let mean = gated_mean(&powers, loudest * 1e-4);
    gated_mean(&powers, mean * 10.0_f32.powf(GATE_DB / 10.0)).sqrt()
}

fn gated_mean(powers: &[f32], gate: f32) -> f32 {
    let active: Vec<f32> = powers
        .iter()
        .copied()
        .filter(|power| *power > gate)
        .collect();
    active.iter().sum::<f32>() / active.len().max(1) as f32
}

/// A limiter that sees a few milliseconds ahead, with a soft knee of 3 dB below the ceiling.
pub(crate) fn limit(left: &mut [f32], right: &mut [f32], ceiling: f32, sample_rate_hz: f32) {
    let ahead = (LOOKAHEAD_SECS * sample_rate_hz) as usize;
    let mut wanted: Vec<f32> = left
        .iter()
        .zip(right.iter())
        .map(|(l, r)| knee(l.abs().max(r.abs()), ceiling))
        .collect();
    // The smallest gain of the next `ahead` samples, by a backward scan with linear recovery.
    let attack = 1.0 / ahead as f32;
    let mut current = 1.0_f32;
    for gain in wanted.iter_mut().rev() {
        current = gain.min(current + 0.5 * attack);
        *gain = current;
    }
    let release = (-1.0 / (0.08 * sample_rate_hz)).exp();
    let mut level = 1.0_f32;
    for ((l, r), gain) in left.iter_mut().zip(right.iter_mut()).zip(&wanted) {
        level = gain.min(1.0 - (1.0 - level) * release);
        *l = (*l * level).clamp(-ceiling, ceiling);
        *r = (*r * level).clamp(-ceiling, ceiling);
    }
}

/// The gain that maps a level through the knee.
fn knee(level: f32, ceiling: f32) -> f32 {
    let start = 0.7 * ceiling;
    if level <= start {
        return 1.0;
    }
    let room = ceiling - start;
    let over = level - start;
    (start + room * over / (over + room)) / level
}
