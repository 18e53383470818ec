//! Filters: a one-pole, a biquad (Bristow-Johnson, "Audio EQ Cookbook") and a state-variable
//! low-pass that may be modulated (Zavalishin, "The Art of VA Filter Design").

use std::f32::consts::{PI, TAU};

/// A one-pole low-pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnePole {
    coefficient: f32,
    state: f32,
}

impl OnePole {
    pub(crate) fn new(cutoff_hz: f32, sample_rate_hz: f32) -> Self {
        Self {
            coefficient: 1.0 - (-TAU * cutoff_hz / sample_rate_hz).exp(),
            state: 0.0,
        }
    }

    #[inline]
    pub(crate) fn low(&mut self, input: f32) -> f32 {
        self.state += self.coefficient * (input - self.state);
        self.state
    }

    #[inline]
    pub(crate) fn high(&mut self, input: f32) -> f32 {
        input - self.low(input)
    }
}

/// A second-order section, transposed direct form II.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

impl Biquad {
    fn normalised(b: [f32; 3], a: [f32; 3]) -> Self {
        let scale = 1.0 / a[0];
        Self {
            b: b.map(|x| x * scale),
            a: [a[1] * scale, a[2] * scale],
            state: [0.0; 2],
        }
    }

    fn angles(hz: f32, q: f32, sample_rate_hz: f32) -> (f32, f32) {
        let omega = TAU * hz.min(sample_rate_hz * 0.45) / sample_rate_hz;
        (omega.cos(), omega.sin() / (2.0 * q))
    }

    pub(crate) fn low_pass(hz: f32, q: f32, sample_rate_hz: f32) -> Self {
        let (cos, alpha) = Self::angles(hz, q, sample_rate_hz);
        let b = (1.0 - cos) / 2.0;
        Self::normalised([b, 1.0 - cos, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    pub(crate) fn high_pass(hz: f32, q: f32, sample_rate_hz: f32) -> Self {
        let (cos, alpha) = Self::angles(hz, q, sample_rate_hz);
        let b = f32::midpoint(1.0, cos);
        Self::normalised([b, -1.0 - cos, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Unit gain at the centre.
    pub(crate) fn band_pass(hz: f32, q: f32, sample_rate_hz: f32) -> Self {
        let (cos, alpha) = Self::angles(hz, q, sample_rate_hz);
        Self::normalised([alpha, 0.0, -alpha], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    pub(crate) fn peak(hz: f32, q: f32, gain_db: f32, sample_rate_hz: f32) -> Self {
        let (cos, alpha) = Self::angles(hz, q, sample_rate_hz);
        let gain = 10.0_f32.powf(gain_db / 40.0);
        Self::normalised(
            [1.0 + alpha * gain, -2.0 * cos, 1.0 - alpha * gain],
            [1.0 + alpha / gain, -2.0 * cos, 1.0 - alpha / gain],
        )
    }

    #[inline]
    pub(crate) fn next(&mut self, input: f32) -> f32 {
        let output = self.b[0] * input + self.state[0];
        self.state[0] = self.b[1] * input - self.a[0] * output + self.state[1];
        self.state[1] = self.b[2] * input - self.a[1] * output;
        output
    }
}

/// A state-variable low-pass whose cutoff may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateVariable {
    a: [f32; 3],
    state: [f32; 2],
    damping: f32,
}

impl StateVariable {
    /// `resonance` in `0..1`.
    pub(crate) fn new(resonance: f32) -> Self {
        Self {
            a: [0.0; 3],
            state: [0.0; 2],
            damping: 2.0 - 1.9 * resonance.clamp(0.0, 1.0),
        }
    }

    pub(crate) fn set_cutoff(&mut self, hz: f32, sample_rate_hz: f32) {
        let g = (PI * hz.clamp(20.0, sample_rate_hz * 0.42) / sample_rate_hz).tan();
        let a1 = 1.0 / (1.0 + g * (g + self.damping));
        self.a = [a1, g * a1, g * g * a1];
    }

    #[inline]
    pub(crate) fn low(&mut self, input: f32) -> f32 {
        let v3 = input - self.state[1];
        let v1 = self.a[0] * self.state[0] + self.a[1] * v3;
        let v2 = self.state[1] + self.a[1] * self.state[0] + self.a[2] * v3;
        self.state = [2.0 * v1 - self.state[0], 2.0 * v2 - self.state[1]];
        v2
    }
}
