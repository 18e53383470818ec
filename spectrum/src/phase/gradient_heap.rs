//! Phase-gradient heap integration (Průša, Balazs, Søndergaard, "A noniterative method for reconstruction of phase
//! from STFT magnitude", 2017).
//!
//! For a Gaussian window the phase's derivatives follow from those of the log magnitude. With a window close to
//! `exp(-pi t^2 / gamma)`, hop a and size M, per frame and per bin (Hann's gamma is [`HANN_GAMMA`] M^2):
//!
//! - along time: `2 pi a m / M + (a M / gamma) d(log magnitude)/d(bin)`,
//! - along frequency: `-(gamma / (a M)) d(log magnitude)/d(frame)`, and half a turn more per bin because a frame's
//!   phase counts from the window's start and not from its middle.
//!
//! The phase is integrated from the loudest cells outwards, so that errors stay where it is quiet.

use std::collections::BinaryHeap;
use std::f32::consts::{PI, TAU};

use rayon::prelude::*;

use crate::error::check_length;
use crate::{SpectrumError, Stft};

/// `gamma / M^2` of the Gaussian nearest to a Hann window of M samples (table of the authors' toolbox).
const HANN_GAMMA: f32 = 0.25645;
/// Cells this far below the loudest one get an arbitrary phase: their gradients are mostly noise.
const RELATIVE_TOLERANCE: f32 = 1e-6;
/// Keeps the logarithm of silence finite.
const SMALLEST_MAGNITUDE: f32 = 1e-10;

/// Derivatives of the phase in radians, `[frames, bins]` each.
struct Gradient {
    per_frame: Vec<f32>,
    per_bin: Vec<f32>,
}

/// Phases in radians `[frames, bins]` for the magnitudes `[frames, bins]` of a transform with a Hann window.
pub fn gradient_heap(stft: &Stft, magnitudes: &[f32]) -> Result<Vec<f32>, SpectrumError> {
    let bins = stft.bins();
    check_length(
        "magnitudes",
        magnitudes.len() / bins * bins,
        magnitudes.len(),
    )?;
    let loudest = magnitudes.iter().copied().fold(0.0, f32::max);
    let mut phases: Vec<f32> = (0..magnitudes.len())
        .into_par_iter()
        .map(arbitrary_phase)
        .collect();
    if loudest > 0.0 {
        let gradient = gradient(stft, magnitudes);
        integrate(
            bins,
            magnitudes,
            loudest * RELATIVE_TOLERANCE,
            &gradient,
            &mut phases,
        );
    }
    Ok(phases)
}

fn gradient(stft: &Stft, magnitudes: &[f32]) -> Gradient {
    let (bins, size, hop) = (stft.bins(), stft.fft_size(), stft.hop());
    let frames = magnitudes.len() / bins;
    let logs: Vec<f32> = magnitudes
        .par_iter()
        .with_min_len(1 << 12)
        .map(|m| m.max(SMALLEST_MAGNITUDE).ln())
        .collect();
    // a M / gamma: nepers per bin to radians per frame; its inverse the other way.
    let slope = hop as f32 / (HANN_GAMMA * size as f32);
    let mut per_frame = vec![0.0; magnitudes.len()];
    per_frame
        .par_chunks_exact_mut(bins)
        .zip(logs.par_chunks_exact(bins))
        .for_each(|(out, log)| {
            for (bin, value) in out.iter_mut().enumerate() {
                // Whole turns are dropped in integers, where nothing is lost.
                let advance = TAU * ((bin * hop) % size) as f32 / size as f32;
                // A real signal's spectrum is symmetric about both ends, so the slope there is zero.
                let inner = bin > 0 && bin + 1 < bins;
                let difference = if inner {
                    (log[bin + 1] - log[bin - 1]) / 2.0
                } else {
                    0.0
                };
                *value = advance + slope * difference;
            }
        });
    let mut per_bin = vec![0.0; magnitudes.len()];
    per_bin
        .par_chunks_exact_mut(bins)
        .enumerate()
        .for_each(|(frame, out)| {
            let (before, after) = (frame.saturating_sub(1), (frame + 1).min(frames - 1));
            let span = (after - before).max(1) as f32;
            let (log_before, log_after) = (
                &logs[before * bins..][..bins],
                &logs[after * bins..][..bins],
            );
            for ((value, &earlier), &later) in out.iter_mut().zip(log_before).zip(log_after) {
                *value = PI - (later - earlier) / (span * slope);
            }
        });
    Gradient { per_frame, per_bin }
}

/// Spreads phases from the loudest cell of each island to its neighbours, loudest first.
fn integrate(
    bins: usize,
    magnitudes: &[f32],
    tolerance: f32,
    gradient: &Gradient,
    phases: &mut [f32],
) {
    let cells = magnitudes.len();
    let mut waiting: Vec<bool> = magnitudes
        .iter()
        .map(|&magnitude| magnitude > tolerance)
        .collect();
    let mut islands: Vec<u64> = (0..cells)
        .filter(|&cell| waiting[cell])
        .map(|cell| key(magnitudes, cell))
        .collect();
    islands.par_sort_unstable_by(|a, b| b.cmp(a));
    let mut border = BinaryHeap::new();
    for start in islands {
        let cell = cell_of(start);
        if !waiting[cell] {
            continue;
        }
        waiting[cell] = false;
        phases[cell] = 0.0;
        border.push(start);
        while let Some(loudest) = border.pop() {
            let from = cell_of(loudest);
            let bin = from % bins;
            let mut spread = |to: usize, slopes: &[f32], sign: f32| {
                if waiting[to] {
                    waiting[to] = false;
                    let step = sign * (slopes[from] + slopes[to]) / 2.0;
                    phases[to] = wrap(phases[from] + step);
                    border.push(key(magnitudes, to));
                }
            };
            if from + bins < cells {
                spread(from + bins, &gradient.per_frame, 1.0);
            }
            if from >= bins {
                spread(from - bins, &gradient.per_frame, -1.0);
            }
            if bin + 1 < bins {
                spread(from + 1, &gradient.per_bin, 1.0);
            }
            if bin > 0 {
                spread(from - 1, &gradient.per_bin, -1.0);
            }
        }
    }
}

/// Orders cells by magnitude, equal ones by position: the bits of a positive float sort as the float does.
fn key(magnitudes: &[f32], cell: usize) -> u64 {
    (u64::from(magnitudes[cell].to_bits()) << 32) | u64::from(!(cell as u32))
}

fn cell_of(key: u64) -> usize {
    !(key as u32) as usize
}

/// Into (-pi, pi], so that long sums keep their precision.
fn wrap(phase: f32) -> f32 {
    phase - TAU * (phase / TAU).round()
}

/// A fixed scatter of phases (the finaliser of splitmix64): quiet cells must not line up into clicks.
fn arbitrary_phase(cell: usize) -> f32 {
    let mut bits = (cell as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * TAU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_magnitude_then_position() {
        let magnitudes = [1.0, 2.0, 1.0];
        let mut keys: Vec<u64> = (0..3).map(|cell| key(&magnitudes, cell)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(keys.into_iter().map(cell_of).collect::<Vec<_>>(), [1, 0, 2]);
    }

    /// The analysis of a steady sine advances by its own frequency from frame to frame.
    #[test]
    fn a_sine_advances_at_its_frequency() {
        let stft = Stft::new(512, 128).unwrap();
        let radians_per_sample = TAU * 20.3 / 512.0;
        let signal: Vec<f32> = (0..8192)
            .map(|n| (n as f32 * radians_per_sample).sin())
            .collect();
        let magnitudes = stft.forward(&signal).unwrap().magnitudes();
        let phases = gradient_heap(&stft, &magnitudes).unwrap();
        for frame in 20..40 {
            let advance = phases[(frame + 1) * 257 + 20] - phases[frame * 257 + 20];
            let error = wrap(advance - 128.0 * radians_per_sample);
            assert!(error.abs() < 0.05, "frame {frame}: {error}");
        }
    }

    #[test]
    fn silence_is_no_trouble() {
        let stft = Stft::new(512, 128).unwrap();
        assert!(
            gradient_heap(&stft, &vec![0.0; 257 * 4])
                .unwrap()
                .iter()
                .all(|phase| phase.is_finite())
        );
        assert!(gradient_heap(&stft, &[]).unwrap().is_empty());
        assert!(gradient_heap(&stft, &[1.0]).is_err());
    }
}
