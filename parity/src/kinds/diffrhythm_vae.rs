//! `dr_vae`: Oobleck under stable-audio-tools' names, from each format in which it is published.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use crate::weights;
use serde::Deserialize;
use vae::{Autoencoder, OobleckAutoencoder, OobleckConfig};

/// Sums over a thousand products and more, in another order than PyTorch's, and by minimal filtering, which loses 4e-6.
const OUTPUT: f64 = 5e-5;

pub(super) const TOLERANCES: &[(&str, f64)] = &[("every output", OUTPUT)];

/// With weight norm, and with it folded.
const WEIGHTS: &[&str] = &["vae_model.safetensors", "vae_model.pt", "vae_model_nown.pt"];

/// The configuration under stable-audio-tools' names.
#[derive(Deserialize)]
struct Config {
    channels: usize,
    c_mults: Vec<usize>,
    strides: Vec<usize>,
    latent_dim: usize,
    io_channels: usize,
    use_snake: bool,
    final_tanh: bool,
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let config: Config = case.note("/config")?;
    if !config.use_snake || config.final_tanh {
        return Err(case.unknown("an Oobleck without snake or with a final tanh"));
    }
    let config = OobleckConfig {
        encoder_hidden_size: config.channels,
        decoder_channels: config.channels,
        downsampling_ratios: config.strides,
        channel_multiples: config.c_mults,
        decoder_input_channels: config.latent_dim,
        audio_channels: config.io_channels,
        ..OobleckConfig::default()
    };
    let files: Vec<&str> = WEIGHTS
        .iter()
        .copied()
        .filter(|file| case.has_file(file))
        .collect();
    if files.is_empty() {
        return Err(case.missing(WEIGHTS.join(" or ")));
    }
    for file in files {
        let weights = weights::open(&case.path(file), case.device())?;
        let model = OobleckAutoencoder::load(&config, &weights.root())?;
        weights.finish()?;
        outputs(case, report, &model, file)?;
    }
    Ok(())
}

fn outputs(
    case: &Case,
    report: &mut Report<'_>,
    model: &OobleckAutoencoder,
    file: &str,
) -> Result<(), ParityError> {
    let audio = case.input("audio")?;
    let parameters = model.encode_parameters(&audio)?;
    let channels = model.latent_channels();
    let posterior = model.encode(&audio)?;
    for (name, found) in [
        ("encode", parameters.clone()),
        ("scale", parameters.narrow(1, channels, channels)?),
        ("sample", posterior.sample_with(&case.input("noise")?)?),
        ("mean", posterior.mean),
        ("std", posterior.std),
        ("decode", model.decode(&case.input("z")?)?),
        (
            "encode_b2",
            model.encode_parameters(&case.input("audio_b2")?)?,
        ),
    ] {
        report.compare_as(&format!("{name} ({file})"), name, &found, OUTPUT)?;
    }
    Ok(())
}
