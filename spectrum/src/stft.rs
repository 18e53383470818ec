//! The short-time Fourier transform and its inverse, with the conventions of `torch.stft(center=True)`.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::error::{check_length, check_parameter};
use crate::{Spectrogram, SpectrumError, hann_periodic};

/// Where overlapping windows sum to less than this, the inverse leaves silence (`torch.istft` refuses such a window).
const SMALLEST_ENVELOPE: f32 = 1e-11;

/// What lies beyond the signal's ends. The first frame is centred on the first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The signal mirrored about its end sample (the default of `torch.stft`).
    Reflect,
    /// Silence (the default of `librosa.stft`).
    Zeros,
}

/// A planned short-time Fourier transform of one size, hop and window.
#[derive(Clone)]
pub struct Stft {
    hop: usize,
    window: Vec<f32>,
    edge: Edge,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

/// Work space of [`Stft::inverse_into`], kept between calls so that iterations allocate nothing.
#[derive(Debug, Default)]
pub struct StftScratch {
    windowed: Vec<f32>,
}

impl fmt::Debug for Stft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stft")
            .field("fft_size", &self.fft_size())
            .field("hop", &self.hop)
            .field("edge", &self.edge)
            .finish()
    }
}

impl Stft {
    /// A transform with a periodic Hann window of `fft_size` samples every `hop` samples, edges mirrored.
    pub fn new(fft_size: usize, hop: usize) -> Result<Self, SpectrumError> {
        Self::with_window(hann_periodic(fft_size), hop)
    }

    /// A transform with a window of its own; the window's length is the transform's size.
    pub fn with_window(window: Vec<f32>, hop: usize) -> Result<Self, SpectrumError> {
        let fft_size = window.len();
        check_parameter(
            fft_size >= 2 && fft_size.is_multiple_of(2),
            "fft size",
            "even, at least 2",
            fft_size as f64,
        )?;
        check_parameter(
            hop >= 1 && hop <= fft_size,
            "hop",
            "between 1 and the fft size",
            hop as f64,
        )?;
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(fft_size);
        let inverse = planner.plan_fft_inverse(fft_size);
        Ok(Self {
            hop,
            window,
            edge: Edge::Reflect,
            forward,
            inverse,
        })
    }

    /// The same transform with other edges.
    #[must_use]
    pub fn with_edge(self, edge: Edge) -> Self {
        Self { edge, ..self }
    }

    /// Samples of a window.
    pub fn fft_size(&self) -> usize {
        self.window.len()
    }

    /// Samples from one frame to the next.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Bins of a frame: zero to Nyquist.
    pub fn bins(&self) -> usize {
        self.fft_size() / 2 + 1
    }

    /// Frames of a signal: `samples / hop + 1`.
    pub fn frames(&self, samples: usize) -> usize {
        samples / self.hop + 1
    }

    /// The spectrum of a signal, [`Stft::frames`] frames.
    pub fn forward(&self, signal: &[f32]) -> Result<Spectrogram, SpectrumError> {
        let mut spectrogram = Spectrogram::zeros(self.frames(signal.len()), self.bins());
        self.forward_into(signal, 0, spectrogram.values_mut())?;
        Ok(spectrogram)
    }

    /// Frames of a signal's spectrum from `first_frame` on, as many as `values` (`[frames, bins]`) has room for.
    ///
    /// A long signal can thus be taken in stretches that equal the whole. Frames past its end see the edge only.
    pub fn forward_into(
        &self,
        signal: &[f32],
        first_frame: usize,
        values: &mut [Complex32],
    ) -> Result<(), SpectrumError> {
        if signal.is_empty() {
            return Err(SpectrumError::EmptySignal);
        }
        let bins = self.bins();
        check_length("spectrogram", values.len() / bins * bins, values.len())?;
        let work = || {
            (
                self.forward.make_input_vec(),
                self.forward.make_scratch_vec(),
            )
        };
        values.par_chunks_exact_mut(bins).enumerate().for_each_init(
            work,
            |(samples, scratch), (index, frame)| {
                self.fill_windowed(signal, first_frame + index, samples);
                // The three buffers come from the plan itself, so their lengths fit and this cannot fail.
                let _ = self.forward.process_with_scratch(samples, frame, scratch);
            },
        );
        Ok(())
    }

    /// The signal of `samples` samples whose spectrum is nearest to `spectrogram` in the least-squares sense
    /// (Griffin, Lim 1984), as `torch.istft` gives it.
    pub fn inverse(
        &self,
        spectrogram: &Spectrogram,
        samples: usize,
    ) -> Result<Vec<f32>, SpectrumError> {
        check_length("frame", self.bins(), spectrogram.bins())?;
        let mut signal = vec![0.0; samples];
        self.inverse_into(
            spectrogram.values(),
            &mut signal,
            &mut StftScratch::default(),
        )?;
        Ok(signal)
    }

    /// As [`Stft::inverse`], of values `[frames, bins]` into a signal that exists.
    pub fn inverse_into(
        &self,
        values: &[Complex32],
        signal: &mut [f32],
        scratch: &mut StftScratch,
    ) -> Result<(), SpectrumError> {
        let bins = self.bins();
        check_length("spectrogram", values.len() / bins * bins, values.len())?;
        scratch
            .windowed
            .resize(values.len() / bins * self.fft_size(), 0.0);
        self.inverse_frames(values, &mut scratch.windowed);
        self.overlap_add(&scratch.windowed, signal);
        Ok(())
    }

    /// Samples around frame `index`, times the window.
    fn fill_windowed(&self, signal: &[f32], index: usize, samples: &mut [f32]) {
        let size = self.fft_size();
        let start = (index * self.hop) as isize - (size / 2) as isize;
        let inside = usize::try_from(start)
            .ok()
            .and_then(|from| signal.get(from..from + size));
        if let Some(inside) = inside {
            for ((sample, &value), &weight) in samples.iter_mut().zip(inside).zip(&self.window) {
                *sample = value * weight;
            }
            return;
        }
        for (offset, (sample, &weight)) in samples.iter_mut().zip(&self.window).enumerate() {
            *sample = weight * sample_beyond(signal, start + offset as isize, self.edge);
        }
    }

    /// Every frame back to time and windowed again: `[frames, fft_size]`.
    fn inverse_frames(&self, values: &[Complex32], windowed: &mut [f32]) {
        let scale = 1.0 / self.fft_size() as f32;
        let frames = values
            .par_chunks_exact(self.bins())
            .zip(windowed.par_chunks_exact_mut(self.fft_size()));
        let work = || {
            (
                self.inverse.make_input_vec(),
                self.inverse.make_scratch_vec(),
            )
        };
        frames.for_each_init(work, |(spectrum, scratch), (frame, samples)| {
            spectrum.copy_from_slice(frame);
            // The spectrum of a real signal is real at both ends; the transform refuses any other.
            let last = spectrum.len() - 1;
            spectrum[0].im = 0.0;
            spectrum[last].im = 0.0;
            let _ = self
                .inverse
                .process_with_scratch(spectrum, samples, scratch);
            for (sample, &weight) in samples.iter_mut().zip(&self.window) {
                *sample *= weight * scale;
            }
        });
    }

    /// Sums the frames that overlap each stretch of one hop and divides by the sum of their squared windows.
    fn overlap_add(&self, windowed: &[f32], signal: &mut [f32]) {
        let (size, hop) = (self.fft_size(), self.hop);
        let frames = windowed.len() / size;
        signal.par_chunks_mut(hop).enumerate().for_each_init(
            || vec![0.0f32; hop],
            |envelope, (block, out)| {
                out.fill(0.0);
                envelope.fill(0.0);
                // In padded time the block starts at `from`; frame n covers n * hop .. n * hop + size.
                let from = block * hop + size / 2;
                let first = (from + 1).saturating_sub(size).div_ceil(hop);
                let last = ((from + out.len() - 1) / hop + 1).min(frames);
                for frame in first.saturating_sub(1)..last {
                    let frame_start = frame * hop;
                    let begin = from.max(frame_start);
                    let end = (from + out.len()).min(frame_start + size);
                    if begin >= end {
                        continue;
                    }
                    let inside = begin - frame_start..end - frame_start;
                    let samples = &windowed[frame * size..(frame + 1) * size][inside.clone()];
                    let target = begin - from..end - from;
                    for (((sum, total), &sample), &weight) in out[target.clone()]
                        .iter_mut()
                        .zip(&mut envelope[target])
                        .zip(samples)
                        .zip(&self.window[inside])
                    {
                        *sum += sample;
                        *total += weight * weight;
                    }
                }
                for (sample, &total) in out.iter_mut().zip(envelope.iter()) {
                    *sample = if total > SMALLEST_ENVELOPE {
                        *sample / total
                    } else {
                        0.0
                    };
                }
            },
        );
    }
}

/// The sample at any position, before the start and past the end too.
fn sample_beyond(signal: &[f32], position: isize, edge: Edge) -> f32 {
    let length = signal.len() as isize;
    if (0..length).contains(&position) {
        return signal[position as usize];
    }
    match edge {
        Edge::Zeros => 0.0,
        Edge::Reflect if length == 1 => signal[0],
        // A signal shorter than half a window is mirrored again and again (`numpy.pad(mode="reflect")`).
        Edge::Reflect => {
            let period = 2 * (length - 1);
            let folded = position.rem_euclid(period);
            signal[folded.min(period - folded) as usize]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_stands_in_its_bin() {
        let signal: Vec<f32> = (0..8192)
            .map(|n| (std::f32::consts::TAU * 32.0 * n as f32 / 512.0).sin())
            .collect();
        let spectrogram = Stft::new(512, 128).unwrap().forward(&signal).unwrap();
        let magnitudes = spectrogram.magnitudes();
        let middle = &magnitudes[20 * 257..21 * 257];
        // Half the window's sum is the magnitude of a sine of amplitude one.
        assert!((middle[32] - 128.0).abs() < 0.01, "{}", middle[32]);
        assert!(middle[40] < 1e-2);
    }

    #[test]
    fn mirrors_as_numpy_does() {
        let signal = [1.0, 2.0, 3.0];
        let seen: Vec<f32> = (-5..8)
            .map(|position| sample_beyond(&signal, position, Edge::Reflect))
            .collect();
        assert_eq!(seen, [2., 1., 2., 3., 2., 1., 2., 3., 2., 1., 2., 3., 2.]);
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        assert!(Stft::new(511, 128).is_err());
        assert!(Stft::new(512, 0).is_err());
        assert_eq!(
            Stft::new(512, 128).unwrap().forward(&[]),
            Err(SpectrumError::EmptySignal)
        );
        let other = Spectrogram::zeros(3, 100);
        assert!(Stft::new(512, 128).unwrap().inverse(&other, 100).is_err());
    }
}
