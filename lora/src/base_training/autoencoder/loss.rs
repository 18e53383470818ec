//! What the autoencoder is to get right: log spectra, loud partials, how levels change, band levels, stereo.

use candle_core::{D, Device, Tensor};
use vae::{SpectralAutoencoder, SpectralConfig};

use crate::error::LoraError;

/// Bands whose levels are compared, of neighbouring warped bins.
const LEVEL_BANDS: usize = 32;
/// Log magnitudes are cut here before the exponential: 26 dB over full scale.
const LARGEST_LOG: f32 = 3.0;
const ROOT_SHARE: f64 = 4.0;
const CHANGE_SHARE: f64 = 0.15;
const LEVEL_SHARE: f64 = 0.6;
const STEREO_SHARE: f64 = 0.3;
/// Latent variance beyond this costs a little, so that channels keep to a common scale.
const SPREAD_FREE: f64 = 1.5;
const SPREAD_SHARE: f64 = 0.01;
const LEVEL_FLOOR: f64 = 1e-8;

/// The loss for one configuration.
pub(super) struct Loss {
    magnitudes: usize,
    features: usize,
    frames_per_latent: usize,
    bins: usize,
    /// Root of each warped bin's weight, `[bins]`.
    root_weight: Tensor,
    mean_weight: f64,
}

/// The parts of a loss, scalars.
pub(super) struct Parts(Vec<(&'static str, Tensor)>);

impl Parts {
    pub(super) fn total(&self) -> candle_core::Result<Tensor> {
        let mut parts = self.0.iter().map(|(_, part)| part);
        let first = parts.next().cloned();
        let first = first.ok_or_else(|| candle_core::Error::Msg("a loss of nothing".to_owned()))?;
        parts.try_fold(first, |sum, part| sum + part)
    }

    pub(super) fn values(&self) -> candle_core::Result<Vec<(&'static str, f64)>> {
        let value = |(name, part): &(&'static str, Tensor)| {
            Ok((*name, f64::from(part.to_scalar::<f32>()?)))
        };
        self.0.iter().map(value).collect()
    }
}

impl Loss {
    pub(super) fn new(config: &SpectralConfig, device: &Device) -> Result<Self, LoraError> {
        let bins = config.warped_bins();
        let weights = &config.feature_weights()?[..bins];
        let weight = Tensor::from_slice(weights, bins, device)?;
        Ok(Self {
            magnitudes: config.magnitude_features(),
            features: config.features(),
            frames_per_latent: config.frames_per_latent,
            bins,
            root_weight: weight.sqrt()?,
            mean_weight: weights.iter().map(|value| f64::from(*value)).sum::<f64>() / bins as f64,
        })
    }

    /// Between weighted features `[batch, frames, features]`.
    pub(super) fn parts(
        &self,
        model: &SpectralAutoencoder,
        target: &Tensor,
        predicted: &Tensor,
    ) -> Result<Parts, LoraError> {
        let difference = (self.logs(predicted)? - self.logs(target)?)?;
        let frames = difference.dim(1)?;
        let change =
            (difference.narrow(1, 1, frames - 1)? - difference.narrow(1, 0, frames - 1)?)?;
        let target_root = self.roots(model, target)?;
        let predicted_root = self.roots(model, predicted)?;
        // The louder a crop, the larger its roots: compared with its own level.
        let level = target_root.sqr()?.sqr()?.mean((1, 2))?;
        let level = f64::from(level.sqrt()?.sqrt()?.mean_all()?.to_scalar::<f32>()?) + 1e-3;
        let root = (&predicted_root - &target_root)?.abs()?;
        let root = root.broadcast_mul(&self.root_weight)?.mean_all()?;
        let levels = (self.levels(&predicted_root)? - self.levels(&target_root)?)?;
        let stereo = |features: &Tensor| {
            features.narrow(D::Minus1, self.magnitudes, self.features - self.magnitudes)
        };
        let stereo = (stereo(predicted)? - stereo(target)?)?;
        Ok(Parts(vec![
            ("log", (difference.abs()?.mean_all()? / self.mean_weight)?),
            ("root", (root * (ROOT_SHARE / level))?),
            (
                "change",
                (change.abs()?.mean_all()? * (CHANGE_SHARE / self.mean_weight))?,
            ),
            ("level", (levels.abs()?.mean_all()? * LEVEL_SHARE)?),
            ("stereo", (stereo.abs()?.mean_all()? * STEREO_SHARE)?),
        ]))
    }

    /// What latents `[batch, frames, channels]` cost whose variance grows.
    pub(super) fn spread(latents: &Tensor) -> candle_core::Result<Tensor> {
        let beyond = (latents.sqr()?.mean((0, 1))? - SPREAD_FREE)?.relu()?;
        beyond.mean_all()? * SPREAD_SHARE
    }

    /// Short-time frames of log magnitudes, `[batch, short frames, bins]`.
    fn logs(&self, features: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, frames, _) = features.dims3()?;
        let logs = features
            .narrow(D::Minus1, 0, self.magnitudes)?
            .contiguous()?;
        logs.reshape((batch, frames * self.frames_per_latent, self.bins))
    }

    /// Roots of magnitudes, `[batch, short frames, bins]`: between their logarithm and themselves.
    fn roots(&self, model: &SpectralAutoencoder, weighted: &Tensor) -> Result<Tensor, LoraError> {
        let logs = self.logs(&model.unweigh(weighted)?)?;
        Ok((logs.clamp(f32::MIN, LARGEST_LOG)? / 2.0)?.exp()?)
    }

    /// Log levels of bands, `[batch, short frames, bands]`.
    fn levels(&self, root: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, frames, bins) = root.dims3()?;
        let bands = LEVEL_BANDS.min(bins);
        let width = bins / bands;
        let power = root.narrow(2, 0, bands * width)?.contiguous()?;
        let power = power.sqr()?.sqr()?.reshape((batch, frames, bands, width))?;
        (power.mean(3)? + LEVEL_FLOOR)?.log()? / 2.0
    }
}
