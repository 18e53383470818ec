//! Struck things as banks of decaying sinusoids: piano strings, bars, bells.

use std::f32::consts::TAU;

use super::Tone;
use super::pluck::release;
use crate::dice::Dice;
use crate::dsp::envelope::decay_factor;
use crate::dsp::filter::OnePole;
use crate::dsp::noise::Noise;

/// Modes that are advanced together: one vector register or two.
const LANES: usize = 8;
const BLOCK: usize = 64;

/// One mode relative to the note: frequency ratio, gain, and decay relative to the first.
pub(crate) type Mode = (f32, f32, f32);

#[derive(Clone, Debug)]
pub(crate) enum Spectrum {
    /// The same modes at every pitch.
    Fixed(Vec<Mode>),
    /// Harmonics of a stiff string.
    String {
        inharmonicity: f32,
        /// Amplitude slope at full velocity: `n^-slope`.
        slope: f32,
        hammer_position: f32,
        detune_cents: f32,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Modal {
    pub(crate) spectrum: Spectrum,
    /// Time to fall by 60 dB of the first mode at 261.6 Hz.
    pub(crate) decay_secs: f32,
    /// Exponent: how decay shortens with pitch.
    pub(crate) decay_pitch: f32,
    /// Whether the end of the note damps it, and how fast.
    pub(crate) release_secs: Option<f32>,
    /// Gain and cutoff of the noise of the stroke.
    pub(crate) knock: f32,
    pub(crate) knock_hz: f32,
    /// Extra loss of high modes at low velocity.
    pub(crate) softness: f32,
}

impl Modal {
    pub(crate) fn piano(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::String {
                inharmonicity: dice.log_range(1e-4, 6e-4),
                slope: dice.range_f32(0.9, 1.6),
                hammer_position: dice.range_f32(0.1, 0.14),
                detune_cents: dice.range_f32(0.6, 3.0),
            },
            decay_secs: dice.range_f32(5.0, 9.0),
            decay_pitch: 0.7,
            release_secs: Some(dice.range_f32(0.15, 0.5)),
            knock: dice.range_f32(0.05, 0.25),
            knock_hz: dice.log_range(300.0, 900.0),
            softness: dice.range_f32(0.15, 0.4),
        }
    }

    /// A detuned pub piano.
    pub(crate) fn upright(dice: &mut Dice) -> Self {
        let mut piano = Self::piano(dice);
        piano.spectrum = Spectrum::String {
            inharmonicity: dice.log_range(5e-4, 1.2e-3),
            slope: dice.range_f32(0.8, 1.2),
            hammer_position: 0.13,
            detune_cents: dice.range_f32(5.0, 12.0),
        };
        piano.decay_secs = dice.range_f32(3.0, 5.0);
        piano
    }

    pub(crate) fn marimba(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (dice.range_f32(3.92, 4.0), dice.range_f32(0.15, 0.4), 0.25),
                (dice.range_f32(9.2, 10.6), dice.range_f32(0.04, 0.15), 0.1),
            ]),
            decay_secs: dice.range_f32(0.7, 1.8),
            decay_pitch: 0.8,
            release_secs: None,
            knock: dice.range_f32(0.1, 0.35),
            knock_hz: dice.log_range(800.0, 2500.0),
            softness: 0.3,
        }
    }

    pub(crate) fn xylophone(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (3.0, dice.range_f32(0.3, 0.6), 0.5),
                (6.1, dice.range_f32(0.1, 0.3), 0.25),
                (9.9, 0.08, 0.15),
            ]),
            decay_secs: dice.range_f32(0.4, 0.9),
            decay_pitch: 0.6,
            release_secs: None,
            knock: dice.range_f32(0.2, 0.5),
            knock_hz: dice.log_range(2000.0, 5000.0),
            softness: 0.2,
        }
    }

    pub(crate) fn vibraphone(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (1.002, 0.3, 1.0),
                (4.0, dice.range_f32(0.1, 0.3), 0.4),
                (10.0, dice.range_f32(0.02, 0.1), 0.15),
            ]),
            decay_secs: dice.range_f32(4.0, 7.0),
            decay_pitch: 0.5,
            release_secs: Some(dice.range_f32(0.5, 2.0)),
            knock: 0.08,
            knock_hz: 1500.0,
            softness: 0.3,
        }
    }

    /// Glockenspiel or music box.
    pub(crate) fn glockenspiel(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (2.756, dice.range_f32(0.2, 0.5), 0.5),
                (5.404, dice.range_f32(0.08, 0.25), 0.25),
                (8.933, 0.06, 0.12),
            ]),
            decay_secs: dice.range_f32(2.0, 4.0),
            decay_pitch: 0.5,
            release_secs: None,
            knock: dice.range_f32(0.02, 0.15),
            knock_hz: 5000.0,
            softness: 0.2,
        }
    }

    /// A tubular or church bell: hum, prime, tierce, quint, nominal.
    pub(crate) fn bell(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (0.5, dice.range_f32(0.2, 0.6), 1.5),
                (1.0, 0.7, 1.0),
                (1.003, 0.4, 1.0),
                (1.183, dice.range_f32(0.3, 0.6), 0.8),
                (1.506, 0.3, 0.6),
                (2.0, 0.8, 0.6),
                (2.514, 0.3, 0.35),
                (3.011, 0.25, 0.25),
                (4.166, 0.15, 0.18),
            ]),
            decay_secs: dice.range_f32(5.0, 10.0),
            decay_pitch: 0.5,
            release_secs: None,
            knock: 0.05,
            knock_hz: 4000.0,
            softness: 0.2,
        }
    }

    /// A bronze bar over a resonator: a pair of bars out of tune, which shimmers.
    pub(crate) fn bronze(dice: &mut Dice) -> Self {
        let beating = 1.0 + dice.range_f32(0.004, 0.011);
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (beating, 0.85, 0.9),
                (dice.range_f32(2.6, 2.85), dice.range_f32(0.35, 0.7), 0.45),
                (dice.range_f32(4.4, 5.4), dice.range_f32(0.2, 0.5), 0.25),
                (dice.range_f32(7.2, 8.6), dice.range_f32(0.1, 0.3), 0.14),
                (dice.range_f32(10.5, 12.5), 0.12, 0.08),
            ]),
            decay_secs: dice.range_f32(2.0, 4.5),
            decay_pitch: 0.6,
            release_secs: Some(dice.range_f32(0.25, 0.6)),
            knock: dice.range_f32(0.15, 0.4),
            knock_hz: dice.log_range(2500.0, 6000.0),
            softness: 0.15,
        }
    }

    /// A large hanging gong.
    pub(crate) fn gong(dice: &mut Dice) -> Self {
        Self {
            spectrum: Spectrum::Fixed(vec![
                (1.0, 1.0, 1.0),
                (1.0 + dice.range_f32(0.012, 0.03), 0.7, 1.0),
                (1.52, 0.45, 0.7),
                (2.01, 0.6, 0.6),
                (2.67, 0.3, 0.35),
                (3.42, 0.25, 0.25),
                (4.31, 0.2, 0.15),
                (5.9, 0.12, 0.1),
            ]),
            decay_secs: dice.range_f32(5.0, 9.0),
            decay_pitch: 0.2,
            release_secs: None,
            knock: 0.1,
            knock_hz: 500.0,
            softness: 0.25,
        }
    }

    fn modes(&self, tone: &Tone) -> Vec<Mode> {
        let dull = self.softness * (1.0 - tone.velocity) * 4.0;
        match &self.spectrum {
            Spectrum::Fixed(modes) => modes
                .iter()
                .map(|&(ratio, gain, decay)| {
                    (
                        ratio,
                        gain * (-dull * 0.3 * (ratio - 1.0).max(0.0)).exp(),
                        decay,
                    )
                })
                .collect(),
            Spectrum::String {
                inharmonicity,
                slope,
                hammer_position,
                detune_cents,
            } => {
                let stiffness = inharmonicity * (tone.frequency_hz / 261.6).powf(0.8);
                // High strings have few partials below the limit of hearing; low ones many.
                let count = (9000.0 / tone.frequency_hz).clamp(3.0, 24.0) as usize;
                let split = (detune_cents / 2400.0).exp2();
                let mut modes = Vec::with_capacity(2 * count);
                for n in 1..=count {
                    let order = n as f32;
                    let ratio = order * (1.0 + stiffness * order * order).sqrt();
                    let shape = (std::f32::consts::PI * order * hammer_position).sin().abs() + 0.1;
                    let gain = shape * order.powf(-slope) * (-dull * order * 0.25).exp();
                    let decay = 1.0 / (1.0 + 0.12 * order + 0.008 * order * order);
                    if n <= 10 {
                        // Two strings: one dies sooner, which gives the double decay.
                        modes.push((ratio * split, gain * 0.6, decay * 1.3));
                        modes.push((ratio / split, gain * 0.6, decay * 0.6));
                    } else {
                        modes.push((ratio, gain, decay));
                    }
                }
                modes
            }
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let first_secs =
            self.decay_secs * (261.6 / tone.frequency_hz).powf(self.decay_pitch).min(2.5);
        let secs = match self.release_secs {
            Some(release) => (tone.gate_secs + release).min(first_secs * 1.2),
            None => first_secs * 1.2,
        };
        let frames = ((secs * tone.sample_rate_hz) as usize).min(tone.max_frames);
        out.resize(frames, 0.0);
        let mut modes = self.modes(tone);
        modes.retain(|mode| mode.0 * tone.frequency_hz < 0.45 * tone.sample_rate_hz);
        for group in modes.chunks(LANES) {
            ring(group, tone, first_secs, out);
        }
        self.strike(tone, out);
        release(out, tone, self.release_secs.unwrap_or(60.0));
    }

    fn strike(&self, tone: &Tone, out: &mut [f32]) {
        let mut noise = Noise::new(tone.seed);
        let mut low = OnePole::new(self.knock_hz, tone.sample_rate_hz);
        let mut level = self.knock * tone.velocity * 3.0;
        let factor = decay_factor(0.05, tone.sample_rate_hz);
        let attack = 0.0007 * tone.sample_rate_hz;
        for (i, sample) in out
            .iter_mut()
            .take((0.07 * tone.sample_rate_hz) as usize)
            .enumerate()
        {
            *sample += level * low.low(noise.next()) * (i as f32 / attack).min(1.0);
            level *= factor;
        }
    }
}

/// Adds up to [`LANES`] modes: complex rotations, which stay in tune at low frequencies.
fn ring(modes: &[Mode], tone: &Tone, first_secs: f32, out: &mut [f32]) {
    let mut re = [0.0_f32; LANES];
    let mut im = [0.0_f32; LANES];
    let mut cos = [0.0_f32; LANES];
    let mut sin = [0.0_f32; LANES];
    for (lane, &(ratio, gain, decay)) in modes.iter().enumerate() {
        let omega = TAU * tone.frequency_hz * ratio / tone.sample_rate_hz;
        let radius = decay_factor(first_secs * decay, tone.sample_rate_hz);
        (sin[lane], cos[lane]) = omega.sin_cos();
        sin[lane] *= radius;
        cos[lane] *= radius;
        re[lane] = gain * tone.velocity;
    }
    for block in out.chunks_mut(BLOCK) {
        for sample in block.iter_mut() {
            let mut sum = [0.0_f32; LANES];
            for lane in 0..LANES {
                let next_re = re[lane] * cos[lane] - im[lane] * sin[lane];
                im[lane] = re[lane] * sin[lane] + im[lane] * cos[lane];
                re[lane] = next_re;
                sum[lane] = im[lane];
            }
            *sample +=
                (sum[0] + sum[4]) + (sum[1] + sum[5]) + (sum[2] + sum[6]) + (sum[3] + sum[7]);
        }
        let loudest = (0..LANES).fold(0.0_f32, |a, lane| a.max(re[lane].abs() + im[lane].abs()));
        if loudest < 1e-5 {
            return;
        }
    }
}
