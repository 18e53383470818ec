//! Phase reconstruction: a signal whose short-time magnitudes are the given ones.
//!
//! A start from the phase's gradient ([`gradient_heap`]) is refined by a few iterations of [`FastGriffinLim`]. A start
//! of that kind makes a dozen iterations as good as sixty from random phases. All of it is deterministic.

mod gradient_heap;
mod griffin_lim;

use realfft::num_complex::Complex32;

pub use gradient_heap::gradient_heap;
pub use griffin_lim::FastGriffinLim;

use crate::error::check_length;
use crate::{Spectrogram, SpectrumError, Stft};

/// A spectrum with the given magnitudes `[frames, bins]` that belongs, as nearly as `iterations` rounds achieve, to a
/// signal of `samples` samples.
pub fn reconstruct(
    stft: &Stft,
    magnitudes: &[f32],
    samples: usize,
    iterations: usize,
) -> Result<Spectrogram, SpectrumError> {
    let phases = gradient_heap(stft, magnitudes)?;
    let start = with_phases(stft.bins(), magnitudes, &phases)?;
    FastGriffinLim {
        iterations,
        ..FastGriffinLim::default()
    }
    .refine(stft, magnitudes, start, samples)
}

/// `magnitude * exp(i phase)`, both `[frames, bins]`.
fn with_phases(
    bins: usize,
    magnitudes: &[f32],
    phases: &[f32],
) -> Result<Spectrogram, SpectrumError> {
    let polar = magnitudes
        .iter()
        .zip(phases)
        .map(|(&magnitude, &phase)| Complex32::from_polar(magnitude, phase));
    Spectrogram::from_values(bins, polar.collect())
}

/// How far a spectrum is from any signal's: `|| |STFT(inverse(spectrum))| - magnitudes || / || magnitudes ||`.
///
/// Zero for a spectrum that belongs to a signal and has these magnitudes; 0.1 is -20 dB.
pub fn spectral_convergence(
    stft: &Stft,
    magnitudes: &[f32],
    spectrogram: &Spectrogram,
    samples: usize,
) -> Result<f64, SpectrumError> {
    check_length("magnitudes", spectrogram.values().len(), magnitudes.len())?;
    let signal = stft.inverse(spectrogram, samples)?;
    let mut again = Spectrogram::zeros(spectrogram.frames(), spectrogram.bins());
    stft.forward_into(&signal, 0, again.values_mut())?;
    let squared = |value: f32| f64::from(value).powi(2);
    let error: f64 = again
        .values()
        .iter()
        .zip(magnitudes)
        .map(|(value, &wanted)| squared(value.norm() - wanted))
        .sum();
    let energy: f64 = magnitudes.iter().map(|&wanted| squared(wanted)).sum();
    Ok(if energy > 0.0 {
        (error / energy).sqrt()
    } else {
        0.0
    })
}
