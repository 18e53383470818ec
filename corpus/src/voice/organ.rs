//! Sustained ranks of one waveform: pipe and drawbar organs, accordions.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope};
use crate::dsp::filter::OnePole;
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::{Wavetable, advance, read};

/// Frequency ratio, gain and detuning in cents.
pub(crate) type Rank = (f32, f32, f32);

#[derive(Clone, Debug)]
pub(crate) struct Organ {
    ranks: Vec<Rank>,
    table: Wavetable,
    envelope: Adsr,
    /// Breathy noise of the attack.
    chiff: f32,
    tremulant: f32,
    tremulant_hz: f32,
    /// How much the bellows swell over the first half second.
    swell: f32,
}

impl Organ {
    pub(crate) fn pipe(dice: &mut Dice) -> Self {
        let mut ranks = vec![(1.0, 1.0, 0.0), (2.0, dice.range_f32(0.3, 0.8), 1.5)];
        if dice.chance(0.6) {
            ranks.push((4.0, dice.range_f32(0.1, 0.5), -2.0));
        }
        if dice.chance(0.4) {
            ranks.push((3.0, dice.range_f32(0.1, 0.35), 1.0));
        }
        if dice.chance(0.5) {
            ranks.push((0.5, dice.range_f32(0.2, 0.6), -1.0));
        }
        if dice.chance(0.4) {
            ranks.push((1.0, 0.6, dice.range_f32(4.0, 9.0)));
        }
        let dark = dice.range_f32(0.1, 0.9);
        // Stopped pipes sound odd harmonics above all.
        let even = dice.range_f32(0.05, 0.9);
        let amplitudes: Vec<f32> = (1..=20)
            .map(|n| (-dark * n as f32).exp() * if n % 2 == 0 { even } else { 1.0 })
            .collect();
        Self {
            ranks,
            table: Wavetable::new(&amplitudes),
            envelope: Adsr::new(
                dice.range_f32(0.02, 0.09),
                1.0,
                1.0,
                dice.range_f32(0.1, 0.3),
            ),
            chiff: dice.range_f32(0.0, 0.25),
            tremulant: if dice.chance(0.25) {
                dice.range_f32(0.05, 0.2)
            } else {
                0.0
            },
            tremulant_hz: dice.range_f32(4.0, 6.5),
            swell: 0.0,
        }
    }

    /// Small pipes that speak at once: each note is heard to begin.
    pub(crate) fn positive(dice: &mut Dice) -> Self {
        Self {
            envelope: Adsr::new(
                dice.range_f32(0.006, 0.02),
                1.0,
                1.0,
                dice.range_f32(0.06, 0.15),
            ),
            chiff: dice.range_f32(0.2, 0.45),
            ..Self::pipe(dice)
        }
    }

    pub(crate) fn drawbar(dice: &mut Dice) -> Self {
        let bars = [0.5, 1.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
        let mut ranks: Vec<Rank> = bars
            .iter()
            .map(|&ratio| (ratio, dice.range_f32(0.0, 1.0).powi(2), 0.0))
            .collect();
        ranks[2].1 = 0.8;
        ranks.retain(|rank| rank.1 > 0.08);
        Self {
            ranks,
            table: Wavetable::new(&[1.0, 0.03, 0.02]),
            envelope: Adsr::new(0.006, 1.0, 1.0, 0.06),
            chiff: dice.range_f32(0.0, 0.4),
            tremulant: dice.range_f32(0.05, 0.3),
            tremulant_hz: dice.pick(&[0.8, 6.2, 6.8]),
            swell: 0.0,
        }
    }

    pub(crate) fn accordion(dice: &mut Dice) -> Self {
        let musette = dice.range_f32(4.0, 18.0);
        let mut ranks = vec![(1.0, 1.0, 0.0), (1.0, 0.9, musette)];
        if dice.chance(0.5) {
            ranks.push((1.0, 0.7, -musette * 0.8));
        }
        if dice.chance(0.5) {
            ranks.push((0.5, dice.range_f32(0.3, 0.8), 1.0));
        }
        let dark = dice.range_f32(0.06, 0.18);
        let amplitudes: Vec<f32> = (1..=40)
            .map(|n| {
                let order = n as f32;
                (-dark * order).exp() / order.powf(0.7) * if n % 2 == 0 { 0.6 } else { 1.0 }
            })
            .collect();
        Self {
            ranks,
            table: Wavetable::new(&amplitudes),
            envelope: Adsr::new(dice.range_f32(0.02, 0.06), 1.0, 1.0, 0.07),
            chiff: 0.03,
            tremulant: 0.0,
            tremulant_hz: 5.0,
            swell: dice.range_f32(0.1, 0.5),
        }
    }

    /// A free reed that holds one note for a long time.
    pub(crate) fn drone(dice: &mut Dice) -> Self {
        let mut reed = Self::accordion(dice);
        reed.ranks = vec![(1.0, 1.0, 0.0), (1.0, 0.5, 3.0), (2.0, 0.35, -2.0)];
        reed.envelope = Adsr::new(0.4, 1.0, 1.0, 0.6);
        reed.swell = 0.0;
        reed.tremulant = 0.06;
        reed.tremulant_hz = 0.4;
        reed
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let frames = self
            .envelope
            .frames(tone.gate_secs, rate)
            .min(tone.max_frames);
        out.resize(frames, 0.0);
        for (index, &(ratio, gain, cents)) in self.ranks.iter().enumerate() {
            let frequency_hz = tone.frequency_hz * ratio * (cents / 1200.0).exp2();
            if frequency_hz > 0.4 * rate {
                continue;
            }
            let table = self.table.level(frequency_hz, rate);
            let step = frequency_hz / rate;
            let mut phase = (tone.seed.rotate_left(index as u32 * 7) & 0xffff) as f32 / 65_536.0;
            for sample in out.iter_mut() {
                *sample += gain * read(table, phase);
                advance(&mut phase, step);
            }
        }
        let sine = Sine::new();
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, rate);
        let mut noise = Noise::new(tone.seed);
        let mut breath = OnePole::new((tone.frequency_hz * 3.0).min(9000.0), rate);
        let mut loudness = 0.0;
        for (i, sample) in out.iter_mut().enumerate() {
            let secs = i as f32 / rate;
            if i % 32 == 0 {
                let swell = 1.0 - self.swell * (1.0 - (secs / 0.35).min(1.0));
                loudness = tone.velocity
                    * swell
                    * (1.0 + self.tremulant * sine.at(secs * self.tremulant_hz));
            }
            let chiff = if secs < 0.12 {
                self.chiff * (1.0 - secs / 0.12) * breath.low(noise.next()) * 4.0
            } else {
                0.0
            };
            *sample = (*sample + chiff) * loudness * envelope.next();
        }
    }
}
