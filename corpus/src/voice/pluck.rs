//! Plucked strings: Karplus and Strong (1983) with the fractional delay of Jaffe and Smith (1983).

use std::f32::consts::TAU;

use super::Tone;
use crate::dice::Dice;
use crate::dsp::envelope::decay_factor;
use crate::dsp::filter::OnePole;
use crate::dsp::noise::Noise;

#[derive(Clone, Debug)]
pub(crate) struct Pluck {
    /// Cutoff of the excitation at full velocity.
    pub(crate) brightness_hz: f32,
    /// Time to fall by 60 dB at 220 Hz.
    pub(crate) decay_secs: f32,
    /// Weight of the loop's averaging, `0..=0.5`: how much faster high partials die.
    pub(crate) damping: f32,
    /// Where the string is plucked, as a fraction of its length.
    pub(crate) pick_position: f32,
    /// Detuning of a second string of the course; none when zero.
    pub(crate) course_cents: f32,
    /// Share of the buzzing bridge.
    pub(crate) buzz: f32,
    /// Time to fall by 60 dB after the finger stops the string.
    pub(crate) release_secs: f32,
}

impl Pluck {
    pub(crate) fn nylon(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(1500.0, 4000.0),
            decay_secs: dice.range_f32(2.0, 4.5),
            damping: dice.range_f32(0.25, 0.45),
            pick_position: dice.range_f32(0.15, 0.4),
            course_cents: 0.0,
            buzz: 0.0,
            release_secs: dice.range_f32(0.1, 0.4),
        }
    }

    pub(crate) fn steel(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(4000.0, 10_000.0),
            decay_secs: dice.range_f32(4.0, 8.0),
            damping: dice.range_f32(0.06, 0.2),
            pick_position: dice.range_f32(0.08, 0.25),
            course_cents: if dice.chance(0.3) {
                dice.range_f32(2.0, 6.0)
            } else {
                0.0
            },
            buzz: 0.0,
            release_secs: dice.range_f32(0.1, 0.5),
        }
    }

    pub(crate) fn harp(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(1500.0, 3500.0),
            decay_secs: dice.range_f32(5.0, 9.0),
            damping: dice.range_f32(0.3, 0.5),
            pick_position: dice.range_f32(0.3, 0.5),
            course_cents: 0.0,
            buzz: 0.0,
            release_secs: dice.range_f32(1.0, 3.0),
        }
    }

    pub(crate) fn banjo(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(4000.0, 9000.0),
            decay_secs: dice.range_f32(0.7, 1.4),
            damping: dice.range_f32(0.1, 0.2),
            pick_position: dice.range_f32(0.06, 0.15),
            course_cents: 0.0,
            buzz: dice.range_f32(0.0, 0.1),
            release_secs: 0.1,
        }
    }

    /// A lute or mandolin with paired strings.
    pub(crate) fn lute(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(3000.0, 7000.0),
            decay_secs: dice.range_f32(1.5, 3.5),
            damping: dice.range_f32(0.15, 0.3),
            pick_position: dice.range_f32(0.1, 0.25),
            course_cents: dice.range_f32(3.0, 9.0),
            buzz: 0.0,
            release_secs: 0.2,
        }
    }

    /// A long-necked lute with thin double strings and a buzzing bridge.
    pub(crate) fn long_necked(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(5000.0, 9000.0),
            decay_secs: dice.range_f32(1.0, 1.8),
            damping: dice.range_f32(0.06, 0.14),
            pick_position: dice.range_f32(0.05, 0.1),
            course_cents: dice.range_f32(5.0, 11.0),
            buzz: dice.range_f32(0.6, 1.0),
            release_secs: 0.25,
        }
    }

    /// An electric string, to be distorted.
    pub(crate) fn electric(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(2500.0, 6000.0),
            decay_secs: dice.range_f32(6.0, 10.0),
            damping: dice.range_f32(0.08, 0.2),
            pick_position: dice.range_f32(0.1, 0.3),
            course_cents: 0.0,
            buzz: 0.0,
            release_secs: 0.06,
        }
    }

    pub(crate) fn bass(dice: &mut Dice) -> Self {
        Self {
            brightness_hz: dice.log_range(700.0, 2500.0),
            decay_secs: dice.range_f32(3.0, 6.0),
            damping: dice.range_f32(0.2, 0.45),
            pick_position: dice.range_f32(0.1, 0.4),
            course_cents: 0.0,
            buzz: 0.0,
            release_secs: 0.08,
        }
    }

    pub(crate) fn render(&self, tone: &Tone, out: &mut Vec<f32>) {
        let ring_secs = self.decay_secs * (220.0 / tone.frequency_hz).powf(0.4).min(2.0);
        let secs = (tone.gate_secs + self.release_secs).min(ring_secs * 1.3);
        let frames = ((secs * tone.sample_rate_hz) as usize).min(tone.max_frames);
        out.resize(frames, 0.0);
        self.string(tone, tone.frequency_hz, ring_secs, tone.seed, out);
        if self.course_cents > 0.0 {
            let detuned = tone.frequency_hz * (self.course_cents / 1200.0).exp2();
            self.string(tone, detuned, ring_secs, tone.seed ^ 0x5bd1_e995, out);
        }
        if self.buzz > 0.0 {
            self.rattle(out);
        }
        release(out, tone, self.release_secs);
    }

    /// Adds one string's vibration.
    fn string(&self, tone: &Tone, frequency_hz: f32, ring_secs: f32, seed: u64, out: &mut [f32]) {
        let period = tone.sample_rate_hz / frequency_hz;
        let omega = TAU / period;
        let damping = self.damping;
        let (sin, cos) = omega.sin_cos();
        let (real, imaginary) = (1.0 - damping + damping * cos, damping * sin);
        let filter_delay = imaginary.atan2(real) / omega;
        let delay = period - filter_delay;
        let whole = ((delay - 0.5) as usize).max(2);
        let fraction = delay - whole as f32;
        // The all-pass whose phase delay at the fundamental is exactly `fraction`.
        let allpass =
            ((1.0 - fraction) * omega / 2.0).sin() / ((1.0 + fraction) * omega / 2.0).sin();
        let loss = 10.0_f32.powf(-3.0 * period / (tone.sample_rate_hz * ring_secs));
        let gain = (loss / real.hypot(imaginary)).min(0.9998);
        let mut line = self.excitation(tone, whole, period, seed);
        let (mut position, mut last, mut allpass_in, mut allpass_out) =
            (0, 0.0_f32, 0.0_f32, 0.0_f32);
        for sample in out.iter_mut() {
            let read = line[position];
            let filtered = (1.0 - damping) * read + damping * last;
            last = read;
            allpass_out = allpass * (filtered - allpass_out) + allpass_in;
            allpass_in = filtered;
            line[position] = gain * allpass_out;
            position += 1;
            if position == whole {
                position = 0;
            }
            *sample += read;
        }
    }

    /// One period of plucked noise with zero mean and unit power times the velocity.
    fn excitation(&self, tone: &Tone, whole: usize, period: f32, seed: u64) -> Vec<f32> {
        let mut noise = Noise::new(seed);
        let cutoff_hz = self.brightness_hz * (0.35 + 0.65 * tone.velocity);
        let mut low = OnePole::new(
            cutoff_hz.min(0.4 * tone.sample_rate_hz),
            tone.sample_rate_hz,
        );
        let mut second = low;
        for _ in 0..whole {
            second.low(low.low(noise.next()));
        }
        let raw: Vec<f32> = (0..whole)
            .map(|_| second.low(low.low(noise.next())))
            .collect();
        let comb = ((self.pick_position * period) as usize).clamp(1, whole - 1);
        let mut line: Vec<f32> = (0..whole)
            .map(|i| raw[i] - raw[(i + whole - comb) % whole])
            .collect();
        let mean = line.iter().sum::<f32>() / whole as f32;
        let power = line.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / whole as f32;
        let scale = tone.velocity / power.sqrt().max(1e-6);
        for sample in &mut line {
            *sample = (*sample - mean) * scale;
        }
        line
    }

    /// A string that touches the bridge: clipped and differentiated, mixed back.
    fn rattle(&self, out: &mut [f32]) {
        let mut last = 0.0;
        for sample in out {
            let driven = 3.0 * *sample;
            let clipped = driven / (1.0 + driven.abs());
            let rattle = clipped - last;
            last = clipped;
            *sample = (1.0 - 0.4 * self.buzz) * *sample + 4.0 * self.buzz * rattle;
        }
    }
}

/// Damps `out` after the gate, and fades its last two milliseconds.
pub(super) fn release(out: &mut [f32], tone: &Tone, release_secs: f32) {
    let gate = (tone.gate_secs * tone.sample_rate_hz) as usize;
    let factor = decay_factor(release_secs, tone.sample_rate_hz);
    let mut level = 1.0;
    for sample in out.iter_mut().skip(gate) {
        level *= factor;
        *sample *= level;
    }
    let fade = ((0.004 * tone.sample_rate_hz) as usize).min(out.len());
    let start = out.len() - fade;
    for (i, sample) in out[start..].iter_mut().enumerate() {
        *sample *= 1.0 - (i + 1) as f32 / fade as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::measured_hz;
    use super::*;

    #[test]
    fn string_sounds_within_five_cents_of_the_pitch() {
        let mut dice = Dice::new("tuning", 1);
        let patches = [
            Pluck::nylon(&mut dice),
            Pluck::steel(&mut dice),
            Pluck::harp(&mut dice),
        ];
        for patch in patches {
            for midi in [40.0_f32, 57.0, 69.0, 81.0, 88.0] {
                let frequency_hz = 440.0 * ((midi - 69.0) / 12.0).exp2();
                let tone = Tone {
                    frequency_hz,
                    gate_secs: 0.6,
                    velocity: 0.8,
                    slide_semitones: 0.0,
                    sample_rate_hz: 44_100.0,
                    seed: 7,
                    max_frames: 44_100,
                };
                let mut out = Vec::new();
                patch.render(&tone, &mut out);
                let measured = measured_hz(&out[2000..22_000], frequency_hz, 44_100.0);
                let cents = 1200.0 * (measured / frequency_hz).log2();
                assert!(cents.abs() < 5.0, "midi {midi}: {cents} cents");
            }
        }
    }
}
