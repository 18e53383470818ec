//! Blown pipes and reeds: a waveform, breath, vibrato and fixed formants.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope};
use crate::dsp::filter::Biquad;
use crate::dsp::noise::Noise;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::{Wavetable, advance, read};

#[derive(Clone, Debug)]
pub(crate) struct Blown {
    table: Wavetable,
    breath: f32,
    vibrato_cents: f32,
    vibrato_hz: f32,
    /// Centre in hertz, quality and gain in decibels.
    formants: Vec<(f32, f32, f32)>,
    envelope: Adsr,
}

impl Blown {
    pub(crate) fn flute(dice: &mut Dice) -> Self {
        let second = dice.range_f32(0.1, 0.5);
        Self {
            table: Wavetable::new(&[1.0, second, second * 0.4, 0.06, 0.03]),
            breath: dice.range_f32(0.08, 0.35),
            vibrato_cents: dice.range_f32(4.0, 18.0),
            vibrato_hz: dice.range_f32(4.5, 6.0),
            formants: Vec::new(),
            envelope: Adsr::new(
                dice.range_f32(0.03, 0.09),
                0.6,
                0.85,
                dice.range_f32(0.08, 0.2),
            ),
        }
    }

    pub(crate) fn clarinet(dice: &mut Dice) -> Self {
        let dark = dice.range_f32(0.1, 0.25);
        let amplitudes: Vec<f32> = (1..=24)
            .map(|n| {
                (-dark * n as f32).exp()
                    * if n % 2 == 0 {
                        0.06 + 0.02 * n as f32
                    } else {
                        1.0
                    }
            })
            .collect();
        Self {
            table: Wavetable::new(&amplitudes),
            breath: dice.range_f32(0.01, 0.05),
            vibrato_cents: dice.range_f32(0.0, 8.0),
            vibrato_hz: 5.0,
            formants: vec![(1500.0, 1.0, 4.0)],
            envelope: Adsr::new(dice.range_f32(0.02, 0.05), 0.5, 0.9, 0.08),
        }
    }

    /// A soft oboe.
    pub(crate) fn oboe(dice: &mut Dice) -> Self {
        Self {
            table: Wavetable::saw_like(40, dice.range_f32(0.05, 0.1)),
            breath: 0.02,
            vibrato_cents: dice.range_f32(6.0, 16.0),
            vibrato_hz: dice.range_f32(4.8, 6.0),
            formants: vec![
                (dice.range_f32(950.0, 1200.0), 2.5, 10.0),
                (2900.0, 3.0, 7.0),
            ],
            envelope: Adsr::new(0.03, 0.5, 0.9, 0.08),
        }
    }

    /// A nasal outdoor double reed: a narrow pulse, hard formants, no low end.
    pub(crate) fn double_reed(dice: &mut Dice) -> Self {
        let width = dice.range_f32(0.08, 0.14);
        let amplitudes: Vec<f32> = (1..=48)
            .map(|n| (std::f32::consts::PI * n as f32 * width).sin() / (n as f32).powf(0.75))
            .collect();
        Self {
            table: Wavetable::new(&amplitudes),
            breath: 0.05,
            vibrato_cents: dice.range_f32(14.0, 30.0),
            vibrato_hz: dice.range_f32(5.4, 6.8),
            formants: vec![
                (dice.range_f32(1150.0, 1450.0), 3.0, 13.0),
                (dice.range_f32(2900.0, 3500.0), 4.0, 11.0),
                (300.0, 0.8, -9.0),
            ],
            envelope: Adsr::new(0.025, 0.5, 0.95, 0.05),
        }
    }

    /// Voices on "ah" or "oh".
    pub(crate) fn choir(dice: &mut Dice) -> Self {
        let vowel = dice.pick(&[(700.0, 1150.0), (450.0, 800.0), (550.0, 1700.0)]);
        Self {
            table: Wavetable::saw_like(48, dice.range_f32(0.08, 0.16)),
            breath: dice.range_f32(0.03, 0.1),
            vibrato_cents: dice.range_f32(10.0, 22.0),
            vibrato_hz: dice.range_f32(4.6, 5.6),
            formants: vec![
                (vowel.0, 3.0, 12.0),
                (vowel.1, 4.0, 9.0),
                (2700.0, 3.0, 5.0),
            ],
            envelope: Adsr::new(
                dice.range_f32(0.15, 0.45),
                1.0,
                0.9,
                dice.range_f32(0.3, 0.8),
            ),
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let frames = self
            .envelope
            .frames(tone.gate_secs, rate)
            .min(tone.max_frames);
        let sine = Sine::new();
        let table = self.table.level(tone.frequency_hz, rate);
        let mut noise = Noise::new(tone.seed);
        let mut air = Biquad::band_pass((tone.frequency_hz * 1.5).min(8000.0), 0.8, rate);
        let mut formants: Vec<Biquad> = self
            .formants
            .iter()
            .map(|&(hz, q, db)| Biquad::peak(hz, q, db, rate))
            .collect();
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, rate);
        let base = tone.frequency_hz / rate;
        let (mut phase, mut step, mut loudness) = (0.0, base, tone.velocity);
        let chance = (tone.seed & 0xffff) as f32 / 65_536.0;
        for i in 0..frames {
            if i % 32 == 0 {
                let secs = i as f32 / rate;
                let depth = (secs * 2.5 - 0.4).clamp(0.0, 1.0);
                let wave = sine.at(secs * self.vibrato_hz + chance);
                step =
                    base * tone.slide_at(i) * (1.0 + self.vibrato_cents * depth * 0.000_578 * wave);
                loudness = tone.velocity * (1.0 + 0.08 * depth * wave);
            }
            let mut value = read(table, phase) + self.breath * air.next(noise.next()) * 2.0;
            for formant in &mut formants {
                value = formant.next(value);
            }
            out.push(value * envelope.next() * loudness);
            advance(&mut phase, step);
        }
    }
}
