//! Two sine oscillators that modulate each other, a wave folder, and a low-pass gate behind them:
//! loudness and brightness fall together, as a vactrol's lamp fades.

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::decay_factor;
use crate::dsp::filter::StateVariable;
use crate::dsp::sine::Sine;
use crate::dsp::wavetable::advance;

#[derive(Clone, Debug)]
pub(crate) struct LowPassGate {
    /// Frequency of the second oscillator over that of the first.
    ratio: f32,
    /// Phase deviation in turns of the first by the second, and back.
    cross: f32,
    back: f32,
    /// How often a full wave is folded; one leaves it a sine.
    folds: f32,
    /// Cutoff of the open gate over the note's frequency.
    open: f32,
    /// Time in which the lamp fades by 60 dB at 261.6 Hz.
    fade_secs: f32,
}

impl LowPassGate {
    /// Short woody strokes with odd harmonics.
    pub(crate) fn strike(dice: &mut Dice) -> Self {
        Self {
            ratio: dice.pick(&[2.0, 2.0, 4.0, 0.5]),
            cross: dice.range_f32(0.05, 0.3),
            back: dice.range_f32(0.0, 0.15),
            folds: dice.range_f32(1.2, 2.6),
            open: dice.range_f32(8.0, 18.0),
            fade_secs: dice.range_f32(0.5, 1.1),
        }
    }

    /// Clangour: oscillators at a distance that is no harmonic.
    pub(crate) fn clang(dice: &mut Dice) -> Self {
        Self {
            ratio: dice.pick(&[1.4, 1.618, 2.333, 3.57]),
            cross: dice.range_f32(0.25, 0.6),
            back: dice.range_f32(0.1, 0.35),
            fade_secs: dice.range_f32(0.8, 1.8),
            ..Self::strike(dice)
        }
    }

    pub(crate) fn bass(dice: &mut Dice) -> Self {
        Self {
            ratio: dice.pick(&[2.0, 1.0]),
            cross: dice.range_f32(0.05, 0.2),
            back: 0.0,
            folds: dice.range_f32(1.5, 3.0),
            open: dice.range_f32(10.0, 16.0),
            fade_secs: dice.range_f32(0.7, 1.2),
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let rate = tone.sample_rate_hz;
        let fade_secs = self.fade_secs * (261.6 / tone.frequency_hz).powf(0.3);
        let frames = ((1.1 * fade_secs * rate) as usize).min(tone.max_frames);
        let sine = Sine::new();
        let base = tone.frequency_hz / rate;
        // High notes are modulated and folded less: what they add must stay below the limit.
        let room = (0.03 / (base * self.ratio.max(1.0))).min(1.0);
        let drive = 1.0 + (self.folds - 1.0) * room * tone.velocity;
        let (cross, back) = (self.cross * room * tone.velocity, self.back * room);
        let mut gate = StateVariable::new(0.2);
        let attack = 0.0015 * rate;
        let fade = decay_factor(fade_secs, rate);
        let (mut lamp, mut first, mut second) = (1.0_f32, 0.0_f32, 0.0_f32);
        let (mut first_phase, mut second_phase) = (0.0, 0.0);
        let mut step = base;
        out.extend((0..frames).map(|i| {
            if i % 16 == 0 {
                step = base * tone.slide_at(i);
                let open = (self.open - 0.8) * lamp.sqrt() * (0.4 + 0.6 * tone.velocity);
                gate.set_cutoff(tone.frequency_hz * (0.8 + open), rate);
            }
            first = sine.at(first_phase + cross * lamp * second);
            second = sine.at(second_phase + back * first);
            advance(&mut first_phase, step);
            advance(&mut second_phase, step * self.ratio);
            let folded = sine.at(0.25 * drive * first);
            let level = lamp * (i as f32 / attack).min(1.0);
            lamp *= fade;
            gate.low(folded) * level * tone.velocity
        }));
    }
}
