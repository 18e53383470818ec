//! Sound to feature vectors.

use std::ops::Range;

use rayon::prelude::*;
use spectrum::{Complex32, FilterBank, Stft, WarpedAxis};

use super::{SpectralConfig, stereo, stereo_band_edges};
use crate::VaeError;

/// Computes the feature vectors of sound: log magnitudes of each short-time frame on the warped axis, then level
/// differences, then coherences.
#[derive(Debug, Clone)]
pub struct SpectralFeatures {
    stft: Stft,
    warp: FilterBank,
    edges: Vec<usize>,
    frames_per_latent: usize,
    features: usize,
    magnitude_floor: f32,
    energy_floor: f32,
    averages_power: bool,
    /// Half the window's sum: the magnitude of a full-scale sine in the raw transform.
    full_scale: f32,
}

impl SpectralFeatures {
    /// Plans the transforms.
    pub fn new(config: &SpectralConfig) -> Result<Self, VaeError> {
        let axis = WarpedAxis::new(
            config.spectrum_bins(),
            config.linear_bins,
            config.logarithmic_bins,
        )?;
        Ok(Self {
            stft: Stft::new(config.fft_size, config.hop)?,
            warp: axis.warp()?,
            edges: stereo_band_edges(config.stereo_bands, config.spectrum_bins()),
            frames_per_latent: config.frames_per_latent,
            features: config.features(),
            magnitude_floor: config.magnitude_floor,
            energy_floor: config.stereo_energy_floor,
            averages_power: config.averages_power,
            full_scale: spectrum::hann_periodic(config.fft_size).iter().sum::<f32>() / 2.0,
        })
    }

    /// Samples of a latent frame.
    pub fn latent_hop(&self) -> usize {
        self.stft.hop() * self.frames_per_latent
    }

    /// Feature vectors `[latent_frames, features]` of some latent frames of a whole sound, whose end is cut to whole
    /// latent frames. Any stretch equals that part of the whole.
    pub fn extract(
        &self,
        left: &[f32],
        right: &[f32],
        latent_frames: Range<usize>,
    ) -> Result<Vec<f32>, VaeError> {
        let whole = left.len() / self.latent_hop() * self.latent_hop();
        let [left, right] =
            [left, right].map(|channel| self.spectra(&channel[..whole], &latent_frames));
        let (left, right) = (left?, right?);
        let mut out = vec![0.0; latent_frames.len() * self.features];
        let per_latent = self.frames_per_latent * self.stft.bins();
        let spectra = left
            .par_chunks_exact(per_latent)
            .zip(right.par_chunks_exact(per_latent));
        out.par_chunks_exact_mut(self.features)
            .zip(spectra)
            .for_each_init(
                || vec![0.0; self.stft.bins()],
                |magnitudes, (vector, (left, right))| self.fill(vector, left, right, magnitudes),
            );
        Ok(out)
    }

    /// Complex spectra in units of a full-scale sine, all short-time frames of the latent frames.
    fn spectra(
        &self,
        channel: &[f32],
        latent_frames: &Range<usize>,
    ) -> Result<Vec<Complex32>, VaeError> {
        let frames = latent_frames.len() * self.frames_per_latent;
        let mut values = vec![Complex32::ZERO; frames * self.stft.bins()];
        self.stft.forward_into(
            channel,
            latent_frames.start * self.frames_per_latent,
            &mut values,
        )?;
        let scale = 1.0 / self.full_scale;
        values
            .par_iter_mut()
            .with_min_len(1 << 14)
            .for_each(|value| *value *= scale);
        Ok(values)
    }

    fn fill(
        &self,
        vector: &mut [f32],
        left: &[Complex32],
        right: &[Complex32],
        magnitudes: &mut [f32],
    ) {
        let bins = self.stft.bins();
        let (logs, stereo) = vector.split_at_mut(self.frames_per_latent * self.warp.bands());
        let frames = left.chunks_exact(bins).zip(right.chunks_exact(bins));
        for (log, (left, right)) in logs.chunks_exact_mut(self.warp.bands()).zip(frames) {
            for ((magnitude, left), right) in magnitudes.iter_mut().zip(left).zip(right) {
                let power = (left.norm_sqr() + right.norm_sqr()) / 2.0;
                *magnitude = match self.averages_power {
                    true => power,
                    false => power.sqrt(),
                };
            }
            self.warp.apply_frame(magnitudes, log);
            for value in log {
                let magnitude = match self.averages_power {
                    true => value.sqrt(),
                    false => *value,
                };
                *value = (magnitude + self.magnitude_floor).ln();
            }
        }
        stereo::measure(&self.edges, self.energy_floor, left, right, stereo);
    }
}
