//! Fast Griffin-Lim iterations (Perraudin, Balazs, Søndergaard, "A fast Griffin-Lim algorithm", 2013).

use rayon::prelude::*;
use realfft::num_complex::Complex32;

use crate::error::check_length;
use crate::{Spectrogram, SpectrumError, Stft, StftScratch};

/// Where two projections cancel, the bin keeps no direction; this only avoids a division by zero.
const SMALLEST_NORM: f32 = 1e-20;

/// Griffin and Lim's alternating projections with momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FastGriffinLim {
    /// Rounds of inverse and forward transform.
    pub iterations: usize,
    /// Weight of the last step's direction; 0 is the plain algorithm, the authors recommend 0.99.
    pub momentum: f32,
}

impl Default for FastGriffinLim {
    fn default() -> Self {
        Self {
            iterations: 16,
            momentum: 0.99,
        }
    }
}

impl FastGriffinLim {
    /// Moves the phases of `start` towards consistency; the result's magnitudes are `magnitudes` (`[frames, bins]`).
    pub fn refine(
        &self,
        stft: &Stft,
        magnitudes: &[f32],
        start: Spectrogram,
        samples: usize,
    ) -> Result<Spectrogram, SpectrumError> {
        check_length("frame", stft.bins(), start.bins())?;
        check_length("magnitudes", start.values().len(), magnitudes.len())?;
        if start.values().is_empty() || samples == 0 {
            return Ok(start);
        }
        let mut estimate = start;
        let mut previous: Option<Vec<Complex32>> = None;
        let mut consistent = vec![Complex32::ZERO; magnitudes.len()];
        let mut signal = vec![0.0; samples];
        let mut scratch = StftScratch::default();
        for _ in 0..self.iterations {
            stft.inverse_into(estimate.values(), &mut signal, &mut scratch)?;
            stft.forward_into(&signal, 0, &mut consistent)?;
            match &previous {
                // t = c + momentum (c - c_before); only its direction counts.
                Some(before) => {
                    let weight = self.momentum / (1.0 + self.momentum);
                    project(
                        estimate.values_mut(),
                        magnitudes,
                        &consistent,
                        before,
                        weight,
                    );
                }
                None => project(
                    estimate.values_mut(),
                    magnitudes,
                    &consistent,
                    &consistent,
                    0.0,
                ),
            }
            let spare = previous
                .take()
                .unwrap_or_else(|| vec![Complex32::ZERO; magnitudes.len()]);
            previous = Some(std::mem::replace(&mut consistent, spare));
        }
        Ok(estimate)
    }
}

/// `estimate = magnitude * direction(consistent - weight * before)`.
fn project(
    estimate: &mut [Complex32],
    magnitudes: &[f32],
    consistent: &[Complex32],
    before: &[Complex32],
    weight: f32,
) {
    const CHUNK: usize = 1 << 14;
    let targets = estimate
        .par_chunks_mut(CHUNK)
        .zip(magnitudes.par_chunks(CHUNK));
    let sources = consistent.par_chunks(CHUNK).zip(before.par_chunks(CHUNK));
    targets
        .zip(sources)
        .for_each(|((estimate, magnitudes), (consistent, before))| {
            for (((value, &magnitude), now), last) in estimate
                .iter_mut()
                .zip(magnitudes)
                .zip(consistent)
                .zip(before)
            {
                let direction = now - last * weight;
                *value = direction * (magnitude / direction.norm_sqr().sqrt().max(SMALLEST_NORM));
            }
        });
}
