//! The Oobleck autoencoder at Stable Audio's size.

use anyhow::Result;
use testing::pseudo_random;
use vae::{Autoencoder, OobleckAutoencoder, OobleckConfig};

use crate::{Run, made_up};

fn model() -> Result<OobleckAutoencoder> {
    let config = OobleckConfig::from_json("{}", "the defaults")?;
    Ok(OobleckAutoencoder::load(
        &config,
        &made_up::weights().root(),
    )?)
}

pub(crate) fn decode(frames: usize, batch: usize) -> Result<Run> {
    let model = model()?;
    let latents = pseudo_random((batch, model.latent_channels(), frames), 1);
    let operations = operations(model.config(), frames * batch);
    let run = Run::new(move || {
        model.decode(&latents)?;
        Ok(())
    });
    Ok(run.costing(operations))
}

pub(crate) fn encode(frames: usize, batch: usize) -> Result<Run> {
    let model = model()?;
    let audio = (pseudo_random((batch, 2, frames * model.hop()), 1) * 0.3)?;
    let operations = operations(model.config(), frames * batch);
    let run = Run::new(move || {
        model.encode(&audio)?;
        Ok(())
    });
    Ok(run.costing(operations))
}

/// Of the convolutions of either half, by their definition; the convolutions at its ends are less than a hundredth.
fn operations(config: &OobleckConfig, latent_frames: usize) -> f64 {
    /// Taps of a residual unit's two convolutions, times its three units.
    const UNIT_TAPS: usize = 3 * (7 + 1);
    let (mut frames, mut total) = (latent_frames, 0.0);
    let widths: Vec<usize> = std::iter::once(&1)
        .chain(&config.channel_multiples)
        .map(|multiple| multiple * config.decoder_channels)
        .collect();
    for (level, stride) in config.downsampling_ratios.iter().enumerate().rev() {
        let (narrow, wide) = (widths[level], widths[level + 1]);
        total += (2 * narrow * wide * 2 * stride * frames) as f64;
        frames *= stride;
        total += (2 * narrow * narrow * UNIT_TAPS * frames) as f64;
    }
    total
}
