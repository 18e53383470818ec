//! Two-operator frequency modulation (Chowning, 1973) with a second, quickly fading pair.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::{Adsr, Envelope, decay_factor};
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::advance;

#[derive(Clone, Debug)]
pub(crate) struct FrequencyModulation {
    pub(crate) carrier_ratio: f32,
    pub(crate) modulator_ratio: f32,
    /// Peak phase deviation in turns at full velocity.
    pub(crate) index: f32,
    pub(crate) index_decay_secs: f32,
    /// Share of the index that stays.
    pub(crate) index_floor: f32,
    /// Gain and modulator ratio of the bright attack pair.
    pub(crate) tine: f32,
    pub(crate) tine_ratio: f32,
    pub(crate) envelope: Adsr,
}

impl FrequencyModulation {
    pub(crate) fn electric_piano(dice: &mut Dice) -> Self {
        Self {
            carrier_ratio: 1.0,
            modulator_ratio: 1.0,
            index: dice.range_f32(0.12, 0.35),
            index_decay_secs: dice.range_f32(1.5, 4.0),
            index_floor: 0.15,
            tine: dice.range_f32(0.05, 0.25),
            tine_ratio: dice.pick(&[7.0, 13.0, 14.0]),
            envelope: Adsr::new(
                0.003,
                dice.range_f32(3.0, 7.0),
                0.0,
                dice.range_f32(0.2, 0.5),
            ),
        }
    }

    pub(crate) fn bass(dice: &mut Dice) -> Self {
        Self {
            carrier_ratio: 1.0,
            modulator_ratio: dice.pick(&[0.5, 1.0, 2.0]),
            index: dice.range_f32(0.2, 0.7),
            index_decay_secs: dice.range_f32(0.2, 0.8),
            index_floor: dice.range_f32(0.05, 0.3),
            tine: 0.0,
            tine_ratio: 1.0,
            envelope: Adsr::new(
                0.004,
                dice.range_f32(1.0, 4.0),
                dice.range_f32(0.2, 0.7),
                0.1,
            ),
        }
    }

    pub(crate) fn bell(dice: &mut Dice) -> Self {
        Self {
            carrier_ratio: 1.0,
            modulator_ratio: dice.pick(&[1.4, 3.5, 2.76, 5.19]),
            index: dice.range_f32(0.15, 0.5),
            index_decay_secs: dice.range_f32(1.0, 4.0),
            index_floor: 0.05,
            tine: dice.range_f32(0.0, 0.1),
            tine_ratio: 9.0,
            envelope: Adsr::new(
                0.002,
                dice.range_f32(2.5, 6.0),
                0.0,
                dice.range_f32(1.0, 3.0),
            ),
        }
    }

    pub(crate) fn brass(dice: &mut Dice) -> Self {
        Self {
            carrier_ratio: 1.0,
            modulator_ratio: 1.0,
            index: dice.range_f32(0.4, 0.8),
            index_decay_secs: dice.range_f32(0.5, 1.5),
            index_floor: 0.5,
            tine: 0.0,
            tine_ratio: 1.0,
            envelope: Adsr::new(dice.range_f32(0.02, 0.06), 1.0, 0.75, 0.12),
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
        let sine = Sine::new();
        let mut envelope = Envelope::new(&self.envelope, tone.gate_secs, tone.sample_rate_hz);
        let step = tone.frequency_hz / tone.sample_rate_hz;
        // Sidebands must stay below the limit: less index for high notes.
        let room = (0.4 / (step * (1.0 + self.modulator_ratio * 3.0))).min(1.0);
        let mut index = self.index * (0.3 + 0.7 * tone.velocity) * (1.0 - self.index_floor) * room;
        let floor = self.index * self.index_floor * room;
        let index_factor = decay_factor(self.index_decay_secs, tone.sample_rate_hz);
        let mut tine = if self.tine_ratio * step < 0.4 {
            self.tine * tone.velocity
        } else {
            0.0
        };
        let tine_factor = decay_factor(0.35, tone.sample_rate_hz);
        let (mut carrier, mut modulator, mut tine_phase) = (0.0, 0.0, 0.0);
        out.extend((0..frames).map(|_| {
            let deviation = (index + floor) * sine.at(modulator);
            let value = sine.at(carrier + deviation) + tine * sine.at(tine_phase);
            advance(&mut carrier, step * self.carrier_ratio);
            advance(&mut modulator, step * self.modulator_ratio);
            advance(&mut tine_phase, step * self.tine_ratio);
            index *= index_factor;
            tine *= tine_factor;
            value * envelope.next() * tone.velocity
        }));
    }
}
