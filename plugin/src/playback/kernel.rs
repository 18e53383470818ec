//! Reading between samples: windowed sinc, with lower cut-offs for sound that is played faster.

use std::f64::consts::PI;
use std::sync::OnceLock;

/// Samples that a value is made of.
const TAPS: usize = 32;
/// Steps between two samples; values between the steps are interpolated (-106 dB).
const PHASES: usize = 512;
/// Cut-offs: for steps of up to 1, sqrt(2), 2, 2 sqrt(2) and 4 frames a sample.
const CUTOFFS: usize = 5;
/// Share of the band that is kept.
const PASSBAND: f64 = 0.92;
/// Shape of the Kaiser window: about 75 dB.
const KAISER_BETA: f64 = 7.5;
/// Sums in the products, so that the compiler can use vectors.
const LANES: usize = 8;

/// One cut-off: `[phase][tap]`.
#[derive(Debug)]
pub(super) struct Kernel {
    rows: Vec<[f32; TAPS]>,
}

/// The kernel for sound that is read in such steps. The first call computes; [`prepare`] makes it before the audio thread runs.
pub(super) fn for_step(step: f64) -> &'static Kernel {
    let cutoff = (2.0 * step.max(1.0).log2() - 1e-9).ceil() as usize;
    &kernels()[cutoff.min(CUTOFFS - 1)]
}

/// Computes all kernels.
pub(super) fn prepare() {
    kernels();
}

fn kernels() -> &'static [Kernel; CUTOFFS] {
    static KERNELS: OnceLock<[Kernel; CUTOFFS]> = OnceLock::new();
    KERNELS.get_or_init(|| {
        std::array::from_fn(|cutoff| Kernel::new(PASSBAND * 0.5_f64.powf(cutoff as f64 / 2.0)))
    })
}

impl Kernel {
    fn new(cutoff: f64) -> Self {
        let rows = (0..=PHASES).map(|phase| row(cutoff, phase as f64 / PHASES as f64));
        Self {
            rows: rows.collect(),
        }
    }

    /// Both channels at a position from 0 to below the length, reading around the loop's end.
    pub(super) fn read(&self, channels: &[Vec<f32>; 2], position: f64) -> [f32; 2] {
        let frames = channels[0].len();
        let base = position.floor();
        let weights = self.weights(position - base);
        let first = base as isize - (TAPS as isize / 2 - 1);
        if first >= 0 && first as usize + TAPS <= frames {
            let at = first as usize..first as usize + TAPS;
            return [0, 1].map(|channel| product(&weights, &channels[channel][at.clone()]));
        }
        let mut around = [[0.0; TAPS]; 2];
        for tap in 0..TAPS {
            let at = (first + tap as isize).rem_euclid(frames as isize) as usize;
            for (around, channel) in around.iter_mut().zip(channels) {
                around[tap] = channel[at];
            }
        }
        [0, 1].map(|channel| product(&weights, &around[channel]))
    }

    fn weights(&self, fraction: f64) -> [f32; TAPS] {
        let place = fraction * PHASES as f64;
        let phase = (place as usize).min(PHASES - 1);
        let share = (place - phase as f64) as f32;
        let (low, high) = (&self.rows[phase], &self.rows[phase + 1]);
        std::array::from_fn(|tap| low[tap] + (high[tap] - low[tap]) * share)
    }
}

/// Weights of the samples around a place that lies `fraction` behind the tap in the middle; they add up to 1.
fn row(cutoff: f64, fraction: f64) -> [f32; TAPS] {
    let half = TAPS as f64 / 2.0;
    let weights: [f64; TAPS] = std::array::from_fn(|tap| {
        let distance = tap as f64 - (half - 1.0) - fraction;
        let sinc = if distance == 0.0 {
            1.0
        } else {
            (PI * cutoff * distance).sin() / (PI * cutoff * distance)
        };
        let across = (1.0 - (distance / half).powi(2)).max(0.0);
        sinc * bessel(KAISER_BETA * across.sqrt())
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| (weight / sum) as f32)
}

/// The modified Bessel function of order 0.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
    }
    sum
}

fn product(weights: &[f32; TAPS], samples: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (weights, samples) in weights.chunks_exact(LANES).zip(samples.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += weights[lane] * samples[lane];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_between_samples_are_themselves() {
        const FRAMES: usize = 4800;
        // Periods to the loop: 1 kHz at 48 kHz.
        const PERIODS: f64 = 100.0;
        let phase = |frame: f64| std::f64::consts::TAU * PERIODS * frame / FRAMES as f64;
        let tone: Vec<f32> = (0..FRAMES)
            .map(|frame| phase(frame as f64).sin() as f32)
            .collect();
        let channels = [tone.clone(), tone];
        for (cutoff, kernel) in kernels().iter().enumerate() {
            let mut most = 0.0_f64;
            for at in 0..20_000 {
                let position = f64::from(at) * 0.2397;
                let value = f64::from(kernel.read(&channels, position % FRAMES as f64)[0]);
                most = most.max((value - phase(position).sin()).abs());
            }
            assert!(most < 5e-4, "cutoff {cutoff}: {most}");
        }
    }
}
