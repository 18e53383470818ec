//! Drums: swept sines, tuned noise and a few modes.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::decay_factor;
use crate::dsp::filter::{Biquad, OnePole};
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::score::Drum;

/// The tuning of one drum kit.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    kick_hz: f32,
    kick_sweep: f32,
    kick_secs: f32,
    kick_click: f32,
    snare_hz: f32,
    snare_secs: f32,
    snare_noise: f32,
    hat_hz: f32,
    hat_secs: f32,
    open_hat_secs: f32,
    tom_hz: f32,
    frame_hz: f32,
    frame_secs: f32,
    /// Noise only changes every so many samples: an old console's noise channel.
    crushed: bool,
}

/// A sine that falls in pitch and loudness.
struct Thump {
    from_hz: f32,
    to_hz: f32,
    sweep_secs: f32,
    decay_secs: f32,
    gain: f32,
}

/// Band-limited noise that decays.
struct Burst {
    hz: f32,
    q: f32,
    high: bool,
    decay_secs: f32,
    gain: f32,
}

impl Kit {
    fn base(dice: &mut Dice) -> Self {
        Self {
            kick_hz: dice.range_f32(44.0, 62.0),
            kick_sweep: dice.range_f32(2.5, 6.0),
            kick_secs: dice.range_f32(0.3, 0.6),
            kick_click: dice.range_f32(0.1, 0.6),
            snare_hz: dice.range_f32(160.0, 230.0),
            snare_secs: dice.range_f32(0.18, 0.35),
            snare_noise: dice.range_f32(0.6, 1.2),
            hat_hz: dice.log_range(6000.0, 10_000.0),
            hat_secs: dice.range_f32(0.05, 0.12),
            open_hat_secs: dice.range_f32(0.3, 0.6),
            tom_hz: dice.range_f32(80.0, 120.0),
            frame_hz: dice.range_f32(80.0, 120.0),
            frame_secs: dice.range_f32(0.35, 0.7),
            crushed: false,
        }
    }

    pub(crate) fn electronic(dice: &mut Dice) -> Self {
        let kick_sweep = dice.range_f32(4.0, 9.0);
        let kick_secs = dice.range_f32(0.35, 0.8);
        Self {
            kick_sweep,
            kick_secs,
            ..Self::base(dice)
        }
    }

    pub(crate) fn acoustic(dice: &mut Dice) -> Self {
        let kick_sweep = dice.range_f32(1.5, 3.0);
        let kick_secs = dice.range_f32(0.2, 0.35);
        Self {
            kick_sweep,
            kick_secs,
            kick_click: dice.range_f32(0.4, 1.0),
            ..Self::base(dice)
        }
    }

    /// Dull and close, as from a worn record.
    pub(crate) fn soft(dice: &mut Dice) -> Self {
        Self {
            kick_click: 0.05,
            snare_noise: 0.5,
            hat_hz: dice.log_range(4000.0, 6500.0),
            hat_secs: 0.06,
            ..Self::acoustic(dice)
        }
    }

    pub(crate) fn chip(dice: &mut Dice) -> Self {
        Self {
            crushed: true,
            kick_click: 0.0,
            kick_secs: 0.18,
            kick_sweep: 5.0,
            ..Self::base(dice)
        }
    }

    /// Drums that are carried: a wide bass drum, a snare with a tight skin.
    pub(crate) fn street(dice: &mut Dice) -> Self {
        Self {
            kick_hz: dice.range_f32(58.0, 74.0),
            kick_sweep: dice.range_f32(1.3, 1.8),
            kick_secs: dice.range_f32(0.4, 0.6),
            kick_click: dice.range_f32(0.3, 0.7),
            snare_hz: dice.range_f32(230.0, 300.0),
            snare_secs: dice.range_f32(0.13, 0.22),
            snare_noise: dice.range_f32(0.9, 1.3),
            hat_hz: dice.log_range(4500.0, 7000.0),
            ..Self::base(dice)
        }
    }

    pub(crate) fn hand(dice: &mut Dice) -> Self {
        Self::base(dice)
    }

    pub(crate) fn render(&self, drum: Drum, tone: &Tone, out: &mut Vec<f32>) {
        match drum {
            Drum::Kick => {
                let sweep = Thump {
                    from_hz: self.kick_hz * self.kick_sweep,
                    to_hz: self.kick_hz,
                    sweep_secs: 0.12,
                    decay_secs: self.kick_secs,
                    gain: 1.05,
                };
                sweep.add(tone, out);
                self.burst(3000.0, 0.5, false, 0.02, self.kick_click, tone, out);
            }
            Drum::Snare => {
                thump(self.snare_hz * 1.4, self.snare_hz, 0.18, 0.6, tone, out);
                thump(
                    self.snare_hz * 1.9,
                    self.snare_hz * 1.6,
                    0.1,
                    0.3,
                    tone,
                    out,
                );
                self.burst(
                    1200.0,
                    0.6,
                    true,
                    self.snare_secs,
                    self.snare_noise * 0.6,
                    tone,
                    out,
                );
            }
            Drum::Rim => {
                thump(
                    self.snare_hz * 4.2,
                    self.snare_hz * 4.0,
                    0.05,
                    0.5,
                    tone,
                    out,
                );
                self.burst(2500.0, 1.5, false, 0.03, 0.8, tone, out);
            }
            Drum::Clap => self.clap(tone, out),
            Drum::ClosedHat => self.burst(self.hat_hz, 0.9, true, self.hat_secs, 0.5, tone, out),
            Drum::OpenHat => self.burst(self.hat_hz, 0.9, true, self.open_hat_secs, 0.5, tone, out),
            Drum::Ride => {
                self.burst(self.hat_hz * 0.8, 1.2, true, 0.8, 0.22, tone, out);
                thump(self.hat_hz * 0.52, self.hat_hz * 0.52, 0.5, 0.12, tone, out);
                thump(self.hat_hz * 0.71, self.hat_hz * 0.71, 0.4, 0.1, tone, out);
            }
            Drum::Crash => self.burst(4000.0, 0.6, true, 1.8, 0.6, tone, out),
            Drum::HighTom => self.tom(1.7, tone, out),
            Drum::LowTom => self.tom(1.0, tone, out),
            Drum::Shaker => self.shaker(tone, out),
            Drum::FrameLow => {
                // Modes of a membrane: Bessel zeros relative to the first.
                thump(
                    self.frame_hz * 1.12,
                    self.frame_hz,
                    self.frame_secs,
                    0.9,
                    tone,
                    out,
                );
                thump(
                    self.frame_hz * 1.593,
                    self.frame_hz * 1.593,
                    self.frame_secs * 0.45,
                    0.35,
                    tone,
                    out,
                );
                thump(
                    self.frame_hz * 2.136,
                    self.frame_hz * 2.136,
                    self.frame_secs * 0.3,
                    0.2,
                    tone,
                    out,
                );
                self.burst(700.0, 0.7, false, 0.04, 0.5, tone, out);
            }
            Drum::FrameHigh => {
                thump(
                    self.frame_hz * 3.6,
                    self.frame_hz * 3.5,
                    0.1,
                    0.3,
                    tone,
                    out,
                );
                thump(
                    self.frame_hz * 5.1,
                    self.frame_hz * 5.0,
                    0.07,
                    0.25,
                    tone,
                    out,
                );
                self.burst(3200.0, 0.9, false, 0.09, 1.1, tone, out);
            }
            Drum::Jingle => {
                thump(7300.0, 7300.0, 0.25, 0.12, tone, out);
                thump(9100.0, 9100.0, 0.2, 0.1, tone, out);
                self.burst(8000.0, 1.5, true, 0.16, 0.35, tone, out);
            }
        }
        out.truncate(tone.max_frames);
    }

    fn tom(&self, ratio: f32, tone: &Tone, out: &mut Vec<f32>) {
        let hz = self.tom_hz * ratio;
        thump(hz * 1.5, hz, 0.45, 1.0, tone, out);
        self.burst(1500.0, 0.6, false, 0.05, 0.3, tone, out);
    }

    fn clap(&self, tone: &Tone, out: &mut Vec<f32>) {
        let mut hand = Vec::new();
        for (late_secs, decay_secs, gain) in [
            (0.0, 0.02, 0.8),
            (0.011, 0.02, 0.7),
            (0.021, 0.02, 0.7),
            (0.030, 0.25, 0.9),
        ] {
            hand.clear();
            self.burst(1300.0, 1.1, false, decay_secs, gain * 1.4, tone, &mut hand);
            let start = (late_secs * tone.sample_rate_hz) as usize;
            grow(out, start + hand.len());
            for (to, from) in out[start..].iter_mut().zip(&hand) {
                *to += from;
            }
        }
    }

    fn shaker(&self, tone: &Tone, out: &mut Vec<f32>) {
        self.burst(self.hat_hz * 0.9, 1.2, true, 0.12, 0.5, tone, out);
        let attack = 0.018 * tone.sample_rate_hz;
        for (i, sample) in out.iter_mut().enumerate().take(attack as usize) {
            *sample *= i as f32 / attack;
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a table of strokes reads best with its numbers in a row"
    )]
    fn burst(
        &self,
        hz: f32,
        q: f32,
        high: bool,
        decay_secs: f32,
        gain: f32,
        tone: &Tone,
        out: &mut Vec<f32>,
    ) {
        Burst {
            hz,
            q,
            high,
            decay_secs,
            gain,
        }
        .add(self.crushed, tone, out);
    }
}

fn grow(out: &mut Vec<f32>, frames: usize) {
    if out.len() < frames {
        out.resize(frames, 0.0);
    }
}

fn thump(from_hz: f32, to_hz: f32, decay_secs: f32, gain: f32, tone: &Tone, out: &mut Vec<f32>) {
    Thump {
        from_hz,
        to_hz,
        sweep_secs: 0.05,
        decay_secs,
        gain,
    }
    .add(tone, out);
}

impl Thump {
    fn add(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let frames = ((self.decay_secs * rate) as usize).min(tone.max_frames);
        grow(out, frames);
        let sine = Sine::new();
        let factor = decay_factor(self.decay_secs, rate);
        let sweep = decay_factor(self.sweep_secs, rate);
        let attack = 0.0006 * rate;
        let mut level = self.gain * tone.velocity;
        let (mut phase, mut extra_hz) = (0.0_f32, self.from_hz - self.to_hz);
        for (i, sample) in out.iter_mut().take(frames).enumerate() {
            *sample += level * sine.at(phase) * (i as f32 / attack).min(1.0);
            phase += (self.to_hz + extra_hz) / rate;
            extra_hz *= sweep;
            level *= factor;
        }
    }
}

impl Burst {
    fn add(&self, crushed: bool, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let frames = ((self.decay_secs * rate) as usize).min(tone.max_frames);
        grow(out, frames);
        let mut noise = Noise::new(tone.seed ^ u64::from(self.hz.to_bits()));
        let mut filter = if self.high {
            Biquad::high_pass(self.hz, self.q, rate)
        } else {
            Biquad::band_pass(self.hz, self.q, rate)
        };
        let mut air = OnePole::new(15_000.0, rate);
        let factor = decay_factor(self.decay_secs, rate);
        let hold = if crushed {
            if self.high && self.hz > 4000.0 { 3 } else { 8 }
        } else {
            1
        };
        let mut level = self.gain * tone.velocity;
        let mut held = 0.0;
        for (i, sample) in out.iter_mut().take(frames).enumerate() {
            if i % hold == 0 {
                held = noise.next();
            }
            let value = if crushed {
                held * 0.6
            } else {
                air.low(filter.next(held))
            };
            *sample += level * value;
            level *= factor;
        }
    }
}
