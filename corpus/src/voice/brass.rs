//! Brass sections: the louder a player blows, the more harmonics (Risset and Mathews, 1969).

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope, decay_factor};
use crate::dsp::filter::{Biquad, StateVariable};
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::{Wavetable, advance, read};

/// A section that plays in unison.
#[derive(Clone, Debug)]
pub(crate) struct Brass {
    table: Wavetable,
    players: usize,
    /// Spread of the players' tuning and of their onsets.
    detune_cents: f32,
    apart_secs: f32,
    /// Harmonics that pass at full loudness, beyond the two that always do.
    brightness: f32,
    /// Centre in hertz, quality and gain in decibels of the bell.
    bell: (f32, f32, f32),
    /// How far below the pitch the lips begin.
    scoop_semitones: f32,
    /// Noise of the lips at the onset.
    lips: f32,
    vibrato_cents: f32,
    envelope: Adsr,
}

impl Brass {
    pub(crate) fn trumpets(dice: &mut Dice) -> Self {
        Self {
            table: Wavetable::saw_like(48, dice.range_f32(0.01, 0.03)),
            players: 2,
            detune_cents: dice.range_f32(6.0, 14.0),
            apart_secs: 0.008,
            brightness: dice.range_f32(9.0, 15.0),
            bell: (dice.range_f32(1150.0, 1500.0), 1.2, 7.0),
            scoop_semitones: dice.range_f32(0.2, 0.5),
            lips: dice.range_f32(0.1, 0.25),
            vibrato_cents: dice.range_f32(8.0, 20.0),
            envelope: Adsr::new(0.012, dice.range_f32(0.5, 0.9), 0.72, 0.07),
        }
    }

    pub(crate) fn trombones(dice: &mut Dice) -> Self {
        Self {
            players: 2,
            brightness: dice.range_f32(11.0, 18.0),
            bell: (dice.range_f32(550.0, 750.0), 1.1, 6.0),
            scoop_semitones: dice.range_f32(0.4, 0.9),
            vibrato_cents: dice.range_f32(0.0, 8.0),
            envelope: Adsr::new(0.016, dice.range_f32(0.4, 0.8), 0.7, 0.09),
            ..Self::trumpets(dice)
        }
    }

    /// The bass of a band that walks.
    pub(crate) fn sousaphone(dice: &mut Dice) -> Self {
        Self {
            players: 1,
            detune_cents: 0.0,
            apart_secs: 0.0,
            brightness: dice.range_f32(5.0, 9.0),
            bell: (dice.range_f32(220.0, 320.0), 1.0, 5.0),
            scoop_semitones: dice.range_f32(0.2, 0.6),
            lips: dice.range_f32(0.15, 0.35),
            vibrato_cents: 0.0,
            envelope: Adsr::new(0.014, dice.range_f32(0.35, 0.6), 0.6, 0.08),
            ..Self::trumpets(dice)
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let late = (self.apart_secs * rate) as usize;
        let frames = (self.envelope.frames(tone.gate_secs, rate) + late).min(tone.max_frames);
        out.resize(frames, 0.0);
        for player in 0..self.players {
            // The first player is on time and in tune; the others are near.
            let chance = (tone.seed.rotate_left(player as u32 * 13) & 0xffff) as f32 / 65_536.0;
            let away = if player == 0 { 0.0 } else { chance };
            let start = (away * late as f32) as usize;
            if start < frames {
                self.player(tone, chance, away, &mut out[start..]);
            }
        }
        let (hz, q, gain_db) = self.bell;
        let mut bell = Biquad::peak(hz, q, gain_db, rate);
        let mut low = Biquad::high_pass(0.6 * tone.frequency_hz, 0.7, rate);
        for sample in out {
            *sample = low.next(bell.next(*sample));
        }
    }

    fn player(&self, tone: &Tone, chance: f32, away: f32, out: &mut [f32]) {
        let rate = tone.sample_rate_hz;
        let sine = Sine::new();
        let detune = (self.detune_cents * (away - 0.3 * away.signum()) / 1200.0).exp2();
        let base = tone.frequency_hz * detune / rate;
        let table = self.table.level(tone.frequency_hz, rate);
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, rate);
        let mut filter = StateVariable::new(0.25);
        let mut noise = Noise::new(tone.seed ^ chance.to_bits() as u64);
        let mut lips = self.lips;
        let lips_factor = decay_factor(0.05, rate);
        let (mut phase, mut step, mut level) = (chance, base, 0.0_f32);
        for (i, sample) in out.iter_mut().enumerate() {
            if i % 16 == 0 {
                let secs = i as f32 / rate;
                let scoop = (-self.scoop_semitones * (-secs / 0.025).exp() / 12.0).exp2();
                let depth = self.vibrato_cents * (secs * 2.5 - 0.6).clamp(0.0, 1.0);
                let vibrato = 1.0 + depth * 0.000_578 * sine.at(secs * 5.3 + chance);
                step = base * tone.slide_at(i) * scoop * vibrato;
                let blown = (level * tone.velocity).powf(1.6);
                filter.set_cutoff(tone.frequency_hz * (2.0 + self.brightness * blown), rate);
            }
            level = envelope.next();
            let value = filter.low(read(table, phase) + lips * noise.next());
            *sample += value * level * tone.velocity;
            lips *= lips_factor;
            advance(&mut phase, step);
        }
    }
}
