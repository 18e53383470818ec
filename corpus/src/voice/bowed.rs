//! Bowed strings: a dark saw with vibrato and bow noise (the body is an equaliser on the track).

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope};
use crate::dsp::filter::{Biquad, OnePole};
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::{Wavetable, advance, read};

#[derive(Clone, Debug)]
pub(crate) struct Bowed {
    table: Wavetable,
    /// Players in unison.
    players: usize,
    spread_cents: f32,
    vibrato_cents: f32,
    vibrato_hz: f32,
    /// Low-pass at full velocity.
    brightness_hz: f32,
    bow_noise: f32,
    envelope: Adsr,
}

impl Bowed {
    pub(crate) fn fiddle(dice: &mut Dice) -> Self {
        Self {
            table: Wavetable::saw_like(64, dice.range_f32(0.0, 0.04)),
            players: 1,
            spread_cents: 0.0,
            vibrato_cents: dice.range_f32(5.0, 22.0),
            vibrato_hz: dice.range_f32(5.0, 6.6),
            brightness_hz: dice.log_range(3500.0, 8000.0),
            bow_noise: dice.range_f32(0.03, 0.12),
            envelope: Adsr::new(
                dice.range_f32(0.02, 0.06),
                0.4,
                0.8,
                dice.range_f32(0.06, 0.15),
            ),
        }
    }

    pub(crate) fn ensemble(dice: &mut Dice) -> Self {
        Self {
            table: Wavetable::saw_like(64, dice.range_f32(0.02, 0.1)),
            players: 4,
            spread_cents: dice.range_f32(8.0, 20.0),
            vibrato_cents: dice.range_f32(6.0, 16.0),
            vibrato_hz: dice.range_f32(4.6, 6.0),
            brightness_hz: dice.log_range(1800.0, 5000.0),
            bow_noise: dice.range_f32(0.01, 0.05),
            envelope: Adsr::new(
                dice.log_range(0.12, 0.5),
                2.0,
                0.9,
                dice.log_range(0.3, 0.9),
            ),
        }
    }

    /// The ensemble with short strokes, a new one for each note.
    pub(crate) fn detached(dice: &mut Dice) -> Self {
        Self {
            bow_noise: dice.range_f32(0.06, 0.14),
            envelope: Adsr::new(
                dice.range_f32(0.008, 0.018),
                dice.range_f32(0.2, 0.4),
                0.25,
                dice.range_f32(0.05, 0.09),
            ),
            ..Self::ensemble(dice)
        }
    }

    /// The same players in a quicker piece: no note takes longer to speak than this.
    pub(crate) fn speaking_within(mut self, secs: f32) -> Self {
        self.envelope.attack_secs = self.envelope.attack_secs.min(secs);
        self
    }

    /// A single cello or viola.
    pub(crate) fn cello(dice: &mut Dice) -> Self {
        Self {
            players: 1,
            brightness_hz: dice.log_range(1500.0, 3500.0),
            envelope: Adsr::new(
                dice.range_f32(0.06, 0.18),
                1.0,
                0.9,
                dice.range_f32(0.15, 0.4),
            ),
            ..Self::ensemble(dice)
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let frames = self
            .envelope
            .frames(tone.gate_secs, rate)
            .min(tone.max_frames);
        out.resize(frames, 0.0);
        for player in 0..self.players {
            self.player(tone, player, out);
        }
        let mut noise = Noise::new(tone.seed);
        let mut scrape =
            Biquad::band_pass((tone.frequency_hz * 4.0).clamp(1200.0, 6000.0), 0.7, rate);
        let cutoff_hz = self.brightness_hz * (0.4 + 0.6 * tone.velocity) + tone.frequency_hz;
        let mut first = OnePole::new(cutoff_hz, rate);
        let mut second = first;
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, rate);
        for sample in out.iter_mut() {
            let raw = *sample + self.bow_noise * scrape.next(noise.next());
            *sample = second.low(first.low(raw)) * envelope.next() * tone.velocity;
        }
    }

    fn player(&self, tone: &Tone, player: usize, out: &mut [f32]) {
        let rate = tone.sample_rate_hz;
        let sine = Sine::new();
        let chance = (tone.seed.rotate_left(player as u32 * 11) & 0xffff) as f32 / 65_536.0;
        let spread = if self.players > 1 {
            player as f32 / (self.players - 1) as f32 - 0.5
        } else {
            0.0
        };
        let base = tone.frequency_hz * (spread * self.spread_cents / 1200.0).exp2() / rate;
        let table = self.table.level(tone.frequency_hz, rate);
        let gain = 1.0 / (self.players as f32).sqrt();
        let vibrato_hz = self.vibrato_hz * (0.93 + 0.14 * chance);
        let (mut phase, mut step) = (chance, base);
        for (i, sample) in out.iter_mut().enumerate() {
            if i % 32 == 0 {
                let secs = i as f32 / rate;
                let depth = self.vibrato_cents * (secs * 3.0 - 0.3).clamp(0.0, 1.0);
                step = base
                    * tone.slide_at(i)
                    * (1.0 + depth * 0.000_578 * sine.at(secs * vibrato_hz + chance));
            }
            *sample += gain * read(table, phase);
            advance(&mut phase, step);
        }
    }
}
