//! The mel levels that MuQ hears: torchaudio's `MelSpectrogram` and `AmplitudeToDB` with the parameters of `features.py`.

use candle_core::Tensor;
use spectrum::mel::{MelNorm, MelScale, filter_bank};
use spectrum::{FilterBank, Stft};

use crate::EmbedError;
use crate::config::MelStatistics;

/// Rate of the sound in hertz.
pub(crate) const SAMPLE_RATE_HZ: u32 = 24_000;
/// Samples from one frame to the next.
pub(crate) const HOP: usize = 240;
/// Bands; the reference fixes them.
pub(crate) const BANDS: usize = 128;
/// Samples of a frame.
const FFT_SIZE: usize = 2048;
/// Powers below this are raised to it (`amin` of torchaudio's `AmplitudeToDB`).
const SMALLEST_POWER: f32 = 1e-10;

/// From samples to normalised levels.
#[derive(Debug, Clone)]
pub(crate) struct MelLevels {
    stft: Stft,
    bank: FilterBank,
    mean_db: f64,
    deviation_db: f64,
}

impl MelLevels {
    pub(crate) fn new(statistics: &MelStatistics) -> Result<Self, EmbedError> {
        let range_hz = (0.0, f64::from(SAMPLE_RATE_HZ) / 2.0);
        Ok(Self {
            stft: Stft::new(FFT_SIZE, HOP)?,
            bank: filter_bank(
                SAMPLE_RATE_HZ,
                FFT_SIZE,
                BANDS,
                range_hz,
                MelScale::Htk,
                MelNorm::Peak,
            )?,
            mean_db: statistics.mean_db,
            deviation_db: statistics.deviation_db,
        })
    }

    /// Samples that a sound must have at least: the mirrored edges need as many.
    pub(crate) fn shortest() -> usize {
        FFT_SIZE / 2 + 1
    }

    /// Levels in decibels, `[batch, bands, frames]` of `[batch, samples]`. The reference drops the last frame, so there
    /// is one for each whole hop.
    pub(crate) fn decibels(&self, samples: &Tensor) -> Result<Tensor, EmbedError> {
        let items = samples.to_vec2::<f32>()?;
        let levels = items.iter().map(|item| self.of_item(item));
        let levels = levels.collect::<Result<Vec<_>, _>>()?.concat();
        let frames = samples.dim(1)? / HOP;
        let shape = (items.len(), frames, BANDS);
        Ok(Tensor::from_vec(levels, shape, samples.device())?.transpose(1, 2)?)
    }

    /// Normalised levels, `[batch, bands, frames]` of `[batch, samples]`.
    pub(crate) fn normalised(&self, samples: &Tensor) -> Result<Tensor, EmbedError> {
        let levels = self.decibels(samples)?.contiguous()?;
        Ok(levels.affine(1.0 / self.deviation_db, -self.mean_db / self.deviation_db)?)
    }

    /// Levels of one item, `[frames, bands]`.
    fn of_item(&self, samples: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let mut levels = self.bank.apply(&self.stft.forward(samples)?.power())?;
        levels.truncate(samples.len() / HOP * BANDS);
        for level in &mut levels {
            *level = 10.0 * level.max(SMALLEST_POWER).log10();
        }
        Ok(levels)
    }
}
