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
    Ok(Box::new(move || {
        model.decode(&latents)?;
        Ok(())
    }))
}

pub(crate) fn encode(frames: usize, batch: usize) -> Result<Run> {
    let model = model()?;
    let audio = (pseudo_random((batch, 2, frames * model.hop()), 1) * 0.3)?;
    Ok(Box::new(move || {
        model.encode(&audio)?;
        Ok(())
    }))
}
