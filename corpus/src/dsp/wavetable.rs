//! A periodic waveform from its harmonics, one table per octave so that nothing aliases.

use super::sine::Sine;

const SIZE: usize = 2048;

#[derive(Clone, Debug)]
pub(crate) struct Wavetable {
    /// Each with half the harmonics of the one before, and one guard sample.
    levels: Vec<Vec<f32>>,
    harmonics: usize,
}

impl Wavetable {
    /// `amplitudes[0]` is the fundamental; the peak of the fullest table is one.
    pub(crate) fn new(amplitudes: &[f32]) -> Self {
        let sine = Sine::new();
        let mut levels = Vec::new();
        let mut count = amplitudes.len();
        while count > 0 {
            let mut table = vec![0.0; SIZE + 1];
            for (index, amplitude) in amplitudes[..count].iter().enumerate() {
                if amplitude.abs() < 1e-5 {
                    continue;
                }
                // Quadratic phases spread the energy over the cycle: less crest than all at zero.
                let phase = 0.31 * (index * index) as f32 / amplitudes.len() as f32;
                for (i, out) in table.iter_mut().enumerate() {
                    let turns = (i * (index + 1) % SIZE) as f32 / SIZE as f32;
                    *out += amplitude * sine.at(turns + phase);
                }
            }
            levels.push(table);
            count /= 2;
        }
        let peak = levels.first().map_or(1.0, |table| {
            table.iter().fold(1e-6_f32, |a, x| a.max(x.abs()))
        });
        for sample in levels.iter_mut().flatten() {
            *sample /= peak;
        }
        Self {
            levels,
            harmonics: amplitudes.len(),
        }
    }

    /// A sawtooth's harmonics, each damped by `exp(-dark n)`.
    pub(crate) fn saw_like(count: usize, dark: f32) -> Self {
        let amplitudes: Vec<f32> = (1..=count)
            .map(|n| (-dark * n as f32).exp() / n as f32)
            .collect();
        Self::new(&amplitudes)
    }

    /// The table for notes at `frequency_hz`.
    pub(crate) fn level(&self, frequency_hz: f32, sample_rate_hz: f32) -> &[f32] {
        let allowed = 0.47 * sample_rate_hz / frequency_hz.max(1.0);
        let mut level = 0;
        let mut harmonics = self.harmonics as f32;
        while harmonics > allowed && level + 1 < self.levels.len() {
            level += 1;
            harmonics /= 2.0;
        }
        &self.levels[level]
    }
}

/// The table's value at `phase` in `[0, 1)`.
#[inline]
pub(crate) fn read(table: &[f32], phase: f32) -> f32 {
    let position = phase * SIZE as f32;
    let index = (position as usize).min(SIZE - 1);
    let fraction = position - index as f32;
    table[index] + fraction * (table[index + 1] - table[index])
}

/// Advances a phase and keeps it in `[0, 1)`.
#[inline]
pub(crate) fn advance(phase: &mut f32, step: f32) {
    *phase += step;
    if *phase >= 1.0 {
        *phase -= 1.0;
    }
}
