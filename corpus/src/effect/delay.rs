//! Echo that goes from side to side.

use crate::dsp::filter::OnePole;

pub(super) fn apply(
    secs: f32,
    feedback: f32,
    mix: f32,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    let size = ((secs * sample_rate_hz) as usize).max(1);
    let (mut first, mut second) = (vec![0.0; size], vec![0.0; size]);
    let mut low = OnePole::new(4500.0, sample_rate_hz);
    let mut position = 0;
    for (l, r) in left.iter_mut().zip(right) {
        let (from_first, from_second) = (first[position], second[position]);
        first[position] = f32::midpoint(*l, *r) + low.low(from_second) * feedback;
        second[position] = from_first * feedback;
        *l += mix * from_first;
        *r += mix * from_second;
        position += 1;
        if position == size {
            position = 0;
        }
    }
}
