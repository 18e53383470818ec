//! Reverberation: diffusers into a feedback delay network of eight lines (Jot and Chaigne, 1991).

use crate::dsp::filter::OnePole;

/// Mutually prime delays of the lines, in milliseconds, for a size of one.
const LINE_MS: [f32; 8] = [31.7, 37.3, 41.9, 47.1, 53.3, 59.9, 67.3, 73.9];
const DIFFUSER_MS: [[f32; 3]; 2] = [[4.77, 8.31, 12.73], [5.03, 7.89, 13.37]];
const DIFFUSION: f32 = 0.62;

struct Ring {
    samples: Vec<f32>,
    position: usize,
}

impl Ring {
    fn new(secs: f32, sample_rate_hz: f32) -> Self {
        Self {
            samples: vec![0.0; ((secs * sample_rate_hz) as usize).max(1)],
            position: 0,
        }
    }

    #[inline]
    fn oldest(&self) -> f32 {
        self.samples[self.position]
    }

    #[inline]
    fn push(&mut self, value: f32) {
        self.samples[self.position] = value;
        self.position += 1;
        if self.position == self.samples.len() {
            self.position = 0;
        }
    }

    /// An all-pass around this delay.
    #[inline]
    fn diffuse(&mut self, input: f32) -> f32 {
        let delayed = self.oldest();
        let fed = input + DIFFUSION * delayed;
        self.push(fed);
        delayed - DIFFUSION * fed
    }
}

/// The room's answer to `left` and `right`, written over them.
pub(crate) fn apply(
    decay_secs: f32,
    size: f32,
    damping_hz: f32,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    let mut diffusers = DIFFUSER_MS
        .map(|side| side.map(|ms| Ring::new(ms * 0.001 * size.min(1.2), sample_rate_hz)));
    let mut lines = LINE_MS.map(|ms| Ring::new(ms * 0.001 * size, sample_rate_hz));
    let mut damping = LINE_MS.map(|_| OnePole::new(damping_hz, sample_rate_hz));
    let gains = LINE_MS.map(|ms| 10.0_f32.powf(-3.0 * ms * 0.001 * size / decay_secs));
    let mut rumble = [OnePole::new(120.0, sample_rate_hz); 2];
    for (l, r) in left.iter_mut().zip(right) {
        // The offset keeps the decaying network out of denormal numbers.
        let mut inputs = [rumble[0].high(*l) + 1e-15, rumble[1].high(*r) + 1e-15];
        for (input, side) in inputs.iter_mut().zip(&mut diffusers) {
            for diffuser in side {
                *input = diffuser.diffuse(*input);
            }
        }
        let mut taps = [0.0_f32; 8];
        for line in 0..8 {
            taps[line] = damping[line].low(lines[line].oldest()) * gains[line];
        }
        *l = taps[0] - taps[2] + taps[4] - taps[6] + 0.5 * (taps[1] + taps[5]);
        *r = taps[1] - taps[3] + taps[5] - taps[7] + 0.5 * (taps[0] + taps[4]);
        let mixed = hadamard(taps);
        for line in 0..8 {
            lines[line].push(mixed[line] + inputs[line % 2]);
        }
    }
}

/// The orthogonal Hadamard matrix of order eight.
#[inline]
fn hadamard(mut x: [f32; 8]) -> [f32; 8] {
    for half in [1, 2, 4] {
        let mut i = 0;
        while i < 8 {
            for j in i..i + half {
                (x[j], x[j + half]) = (x[j] + x[j + half], x[j] - x[j + half]);
            }
            i += 2 * half;
        }
    }
    x.map(|value| value * 0.353_553_4)
}
