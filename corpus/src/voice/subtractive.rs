//! Synthesisers: band-limited saws and pulses (polyBLEP, Valimaki and Huovilainen 2007) through
//! a resonant low-pass.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope, decay_factor};
use crate::dsp::filter::StateVariable;
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::advance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waveform {
    Saw,
    Pulse,
    Triangle,
    Sine,
    /// The four-bit triangle of old game consoles.
    SteppedTriangle,
}

#[derive(Clone, Debug)]
pub(crate) struct Subtractive {
    pub(crate) waveform: Waveform,
    pub(crate) pulse_width: f32,
    /// Oscillators per note, spread over `detune_cents`.
    pub(crate) unison: usize,
    pub(crate) detune_cents: f32,
    /// Gain of a sine one octave below.
    pub(crate) sub: f32,
    pub(crate) noise: f32,
    /// Cutoff without envelope; none leaves the oscillator raw.
    pub(crate) cutoff_hz: Option<f32>,
    pub(crate) resonance: f32,
    /// How far the filter's envelope opens it at full velocity.
    pub(crate) sweep_octaves: f32,
    pub(crate) sweep_secs: f32,
    pub(crate) vibrato_cents: f32,
    pub(crate) envelope: Adsr,
}

impl Subtractive {
    fn plain(waveform: Waveform, envelope: Adsr) -> Self {
        Self {
            waveform,
            pulse_width: 0.5,
            unison: 1,
            detune_cents: 0.0,
            sub: 0.0,
            noise: 0.0,
            cutoff_hz: None,
            resonance: 0.1,
            sweep_octaves: 0.0,
            sweep_secs: 0.5,
            vibrato_cents: 0.0,
            envelope,
        }
    }

    pub(crate) fn bass(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            0.004,
            dice.range_f32(0.5, 2.0),
            dice.range_f32(0.3, 0.8),
            0.08,
        );
        Self {
            pulse_width: dice.range_f32(0.25, 0.5),
            sub: dice.range_f32(0.2, 0.8),
            cutoff_hz: Some(dice.log_range(120.0, 500.0)),
            resonance: dice.range_f32(0.1, 0.7),
            sweep_octaves: dice.range_f32(1.0, 4.0),
            sweep_secs: dice.log_range(0.15, 0.8),
            ..Self::plain(
                dice.pick(&[Waveform::Saw, Waveform::Pulse, Waveform::Saw]),
                envelope,
            )
        }
    }

    /// A resonant squelch, one oscillator.
    pub(crate) fn acid(dice: &mut Dice) -> Self {
        Self {
            cutoff_hz: Some(dice.log_range(150.0, 600.0)),
            resonance: dice.range_f32(0.8, 0.93),
            sweep_octaves: dice.range_f32(2.0, 4.0),
            sweep_secs: dice.log_range(0.15, 0.4),
            ..Self::plain(
                dice.pick(&[Waveform::Saw, Waveform::Pulse]),
                Adsr::new(0.003, 0.6, 0.3, 0.05),
            )
        }
    }

    pub(crate) fn stab(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            0.003,
            dice.range_f32(0.4, 1.2),
            dice.range_f32(0.0, 0.3),
            dice.range_f32(0.1, 0.4),
        );
        Self {
            unison: 1 + 2 * dice.below(2),
            detune_cents: dice.range_f32(8.0, 24.0),
            cutoff_hz: Some(dice.log_range(400.0, 1500.0)),
            resonance: dice.range_f32(0.1, 0.5),
            sweep_octaves: dice.range_f32(1.0, 3.0),
            sweep_secs: dice.log_range(0.2, 0.7),
            ..Self::plain(dice.pick(&[Waveform::Saw, Waveform::Pulse]), envelope)
        }
    }

    pub(crate) fn pad(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(dice.log_range(0.3, 1.6), 3.0, 0.8, dice.log_range(1.0, 3.5));
        Self {
            pulse_width: dice.range_f32(0.2, 0.5),
            unison: 3,
            detune_cents: dice.range_f32(8.0, 28.0),
            noise: if dice.chance(0.4) {
                dice.range_f32(0.01, 0.06)
            } else {
                0.0
            },
            cutoff_hz: Some(dice.log_range(300.0, 2000.0)),
            resonance: dice.range_f32(0.05, 0.35),
            sweep_octaves: dice.range_f32(0.0, 1.5),
            sweep_secs: dice.log_range(2.0, 8.0),
            ..Self::plain(
                dice.pick(&[
                    Waveform::Saw,
                    Waveform::Pulse,
                    Waveform::Triangle,
                    Waveform::Saw,
                ]),
                envelope,
            )
        }
    }

    pub(crate) fn lead(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            dice.log_range(0.004, 0.05),
            1.0,
            dice.range_f32(0.5, 0.9),
            dice.range_f32(0.08, 0.3),
        );
        Self {
            pulse_width: dice.range_f32(0.12, 0.5),
            unison: 1 + dice.below(3),
            detune_cents: dice.range_f32(5.0, 16.0),
            cutoff_hz: Some(dice.log_range(700.0, 4000.0)),
            resonance: dice.range_f32(0.1, 0.5),
            sweep_octaves: dice.range_f32(0.5, 2.0),
            sweep_secs: dice.log_range(0.3, 1.0),
            vibrato_cents: dice.range_f32(0.0, 20.0),
            ..Self::plain(
                dice.pick(&[Waveform::Saw, Waveform::Pulse, Waveform::Triangle]),
                envelope,
            )
        }
    }

    /// A soft sine or triangle pluck.
    pub(crate) fn pluck(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            0.002,
            dice.range_f32(0.5, 1.6),
            0.0,
            dice.range_f32(0.2, 0.8),
        );
        Self {
            cutoff_hz: Some(dice.log_range(500.0, 1500.0)),
            sweep_octaves: dice.range_f32(1.0, 3.0),
            sweep_secs: dice.log_range(0.15, 0.5),
            ..Self::plain(
                dice.pick(&[
                    Waveform::Triangle,
                    Waveform::Saw,
                    Waveform::Pulse,
                    Waveform::Sine,
                ]),
                envelope,
            )
        }
    }

    pub(crate) fn chip_pulse(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            0.001,
            dice.range_f32(0.3, 1.5),
            dice.range_f32(0.2, 0.7),
            0.03,
        );
        Self {
            pulse_width: dice.pick(&[0.125, 0.25, 0.5]),
            vibrato_cents: if dice.chance(0.5) {
                dice.range_f32(10.0, 30.0)
            } else {
                0.0
            },
            ..Self::plain(Waveform::Pulse, envelope)
        }
    }

    pub(crate) fn chip_triangle() -> Self {
        Self::plain(Waveform::SteppedTriangle, Adsr::new(0.001, 1.0, 1.0, 0.02))
    }

    /// A round sine bass.
    pub(crate) fn sine_bass(dice: &mut Dice) -> Self {
        let envelope = Adsr::new(
            0.006,
            dice.range_f32(1.0, 3.0),
            dice.range_f32(0.4, 0.8),
            0.1,
        );
        Self {
            cutoff_hz: Some(dice.log_range(300.0, 900.0)),
            ..Self::plain(dice.pick(&[Waveform::Sine, Waveform::Triangle]), envelope)
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let natural_secs = if self.envelope.sustain > 0.0 {
            f32::MAX
        } else {
            self.envelope.decay_secs * 1.2
        };
        let frames = self.envelope.frames(tone.gate_secs, tone.sample_rate_hz);
        let frames = frames
            .min((natural_secs * tone.sample_rate_hz) as usize)
            .min(tone.max_frames);
        out.resize(frames, 0.0);
        for unison in 0..self.unison {
            self.oscillator(tone, unison, out);
        }
        self.shape(tone, out);
    }

    /// Adds one raw oscillator.
    fn oscillator(&self, tone: &Tone, unison: usize, out: &mut [f32]) {
        let spread = if self.unison > 1 {
            unison as f32 / (self.unison - 1) as f32 - 0.5
        } else {
            0.0
        };
        let base =
            tone.frequency_hz * (spread * self.detune_cents / 1200.0).exp2() / tone.sample_rate_hz;
        let gain = 1.0 / (self.unison as f32).sqrt();
        let mut phase = if self.unison > 1 {
            (tone.seed.rotate_left(unison as u32 * 9) & 0xffff) as f32 / 65_536.0
        } else {
            0.0
        };
        let sine = Sine::new();
        let moving = self.vibrato_cents > 0.0 || tone.slide_semitones != 0.0;
        let mut step = base;
        for (i, sample) in out.iter_mut().enumerate() {
            if moving && i % 32 == 0 {
                let secs = i as f32 / tone.sample_rate_hz;
                let depth = self.vibrato_cents * (secs * 3.0 - 0.4).clamp(0.0, 1.0);
                step = base * tone.slide_at(i) * (1.0 + depth * 0.000_578 * sine.at(secs * 5.6));
            }
            *sample += gain * self.wave(phase, step, sine);
            advance(&mut phase, step);
        }
    }

    #[inline]
    fn wave(&self, phase: f32, step: f32, sine: Sine) -> f32 {
        match self.waveform {
            Waveform::Saw => 2.0 * phase - 1.0 - step_residual(phase, step),
            Waveform::Pulse => {
                let shifted = if phase >= self.pulse_width {
                    phase - self.pulse_width
                } else {
                    phase - self.pulse_width + 1.0
                };
                let raw = if phase < self.pulse_width { 1.0 } else { -1.0 };
                raw + step_residual(phase, step)
                    - step_residual(shifted, step)
                    - (2.0 * self.pulse_width - 1.0)
            }
            Waveform::Triangle => 4.0 * (phase - 0.5).abs() - 1.0,
            Waveform::Sine => sine.at(phase),
            Waveform::SteppedTriangle => ((4.0 * (phase - 0.5).abs() - 1.0) * 7.5).round() / 7.5,
        }
    }

    /// Sub oscillator, noise, filter and loudness.
    fn shape(&self, tone: &Tone, out: &mut [f32]) {
        let rate = tone.sample_rate_hz;
        let sine = Sine::new();
        let mut noise = Noise::new(tone.seed);
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, rate);
        let mut first = StateVariable::new(self.resonance);
        let mut sweep = self.sweep_octaves * (0.3 + 0.7 * tone.velocity);
        let sweep_factor = decay_factor(self.sweep_secs, rate / 16.0);
        // The filter follows the keyboard by half: high notes must stay audible.
        let follow = (tone.frequency_hz / 261.6).sqrt();
        let (mut sub_phase, sub_step) = (0.0, 0.5 * tone.frequency_hz / rate);
        for (i, sample) in out.iter_mut().enumerate() {
            let mut value = *sample;
            if self.sub > 0.0 {
                value += self.sub * sine.at(sub_phase);
                advance(&mut sub_phase, sub_step);
            }
            if self.noise > 0.0 {
                value += self.noise * noise.next();
            }
            if let Some(cutoff_hz) = self.cutoff_hz {
                if i % 16 == 0 {
                    first.set_cutoff(
                        (cutoff_hz * follow * sweep.exp2()).max(tone.frequency_hz * 0.8),
                        rate,
                    );
                    sweep *= sweep_factor;
                }
                value = first.low(value);
            }
            *sample = value * envelope.next() * tone.velocity;
        }
    }
}

/// The polynomial that rounds a unit step's corner over one sample to either side.
#[inline]
fn step_residual(phase: f32, step: f32) -> f32 {
    if phase < step {
        let t = phase / step;
        t + t - t * t - 1.0
    } else if phase > 1.0 - step {
        let t = (phase - 1.0) / step;
        t * t + t + t + 1.0
    } else {
        0.0
    }
}
