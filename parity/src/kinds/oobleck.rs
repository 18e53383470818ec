//! `a_oobleck`: diffusers' `AutoencoderOobleck`, its posterior, decoder and tiles.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use vae::{Autoencoder, OobleckAutoencoder, Tiling};

/// Sums over a thousand products and more, in another order than PyTorch's, and by minimal filtering, which loses 4e-6.
const OUTPUT: f64 = 5e-5;

pub(super) const TOLERANCES: &[(&str, f64)] = &[("every output", OUTPUT)];

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let model = OobleckAutoencoder::load_folder(case.path("vae"), case.device())?;
    let audio = case.input("audio")?;
    let parameters = model.encode_parameters(&audio)?;
    report.compare("parameters", &parameters, OUTPUT)?;
    let channels = model.latent_channels();
    let scale = parameters.narrow(1, channels, channels)?;
    report.compare("scale", &scale, OUTPUT)?;
    let posterior = model.encode(&audio)?;
    report.compare("mean", &posterior.mean, OUTPUT)?;
    report.compare("std", &posterior.std, OUTPUT)?;
    report.compare("logvar", &posterior.std.sqr()?.log()?, OUTPUT)?;
    report.compare("kl", &posterior.kl()?, OUTPUT)?;
    let sample = posterior.sample_with(&case.input("eps")?)?;
    report.compare("sample", &sample, OUTPUT)?;
    report.compare("recon", &model.decode(&posterior.mean)?, OUTPUT)?;
    let latents = case.input("z")?;
    report.compare("decoded", &model.decode(&latents)?, OUTPUT)?;
    for (name, tiling) in tiled(case, "decoded_tiled_") {
        report.compare(&name, &model.decode_tiled(&latents, tiling)?, OUTPUT)?;
    }
    for (name, tiling) in tiled(case, "parameters_tiled_") {
        let parameters = model.encode_parameters_tiled(&audio, tiling)?;
        report.compare(&name, &parameters, OUTPUT)?;
    }
    Ok(())
}

/// Tensors named `{prefix}{chunk}_{overlap}`.
fn tiled(case: &Case, prefix: &str) -> Vec<(String, Tiling)> {
    let parse = |end: &str| {
        let (chunk, overlap) = end.split_once('_')?;
        let tiling = Tiling::Reference {
            chunk: chunk.parse().ok()?,
            overlap: overlap.parse().ok()?,
        };
        Some((format!("{prefix}{end}"), tiling))
    };
    case.names_after(prefix).filter_map(parse).collect()
}
