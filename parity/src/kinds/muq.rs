//! `muq`: both towers of MuQ-MuLan, stage by stage.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use crate::weights;
use candle_core::{DType, Tensor};
use embed::{AudioEncoder, MuLanFiles, TextEncoder};

/// Two towers of layers summed in another order than PyTorch's.
const STAGE: f64 = 1e-4;
/// The mel spectrum is stored at every so many frames.
const MEL_STEP: usize = 8;

pub(super) const TOLERANCES: &[(&str, f64)] = &[("every stage", STAGE)];

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let files = MuLanFiles::in_folder(case.path(""))?;
    let weights = weights::open(&files.weights, case.device())?;
    let config = files.mulan_config()?;
    let audio = AudioEncoder::load(&config, &files.muq_config()?, &weights)?;
    let text = TextEncoder::load(&config, &files.text_config()?, &weights, None)?;
    stages(case, report, &audio)?;
    lengths(case, report, &audio)?;
    words(case, report, &text)?;
    meeting(case, report, &audio, &text)
}

fn samples(case: &Case) -> Result<Vec<f32>, ParityError> {
    Ok(case.input("wav")?.flatten_all()?.to_vec1()?)
}

fn row(case: &Case, values: Vec<f32>) -> candle_core::Result<Tensor> {
    Tensor::new(values, case.device())?.unsqueeze(0)
}

fn first_clip(audio: &AudioEncoder, samples: &[f32]) -> usize {
    let clip = (f64::from(audio.sample_rate_hz()) * audio.clip_secs()).round() as usize;
    clip.min(samples.len())
}

fn stages(case: &Case, report: &mut Report<'_>, audio: &AudioEncoder) -> Result<(), ParityError> {
    let samples = samples(case)?;
    let clip = &samples[..first_clip(audio, &samples)];
    let muq = audio.muq();
    let levels = muq.mel_decibels(&row(case, clip.to_vec())?)?;
    let kept = (0..levels.dim(2)?)
        .step_by(MEL_STEP)
        .map(|frame| levels.narrow(2, frame, 1))
        .collect::<candle_core::Result<Vec<_>>>()?;
    report.compare("audio.mel_db", &Tensor::cat(&kept, 2)?, STAGE)?;
    let clip = row(case, clip.to_vec())?;
    let mel = muq.mel(&clip)?;
    let mean = mel.mean_all()?.unsqueeze(0)?;
    report.compare("audio.mel_norm_mean", &mean, STAGE)?;
    let features = muq.features(&mel)?;
    report.compare("audio.conv", &features, STAGE)?;
    let layers = case
        .names_after("audio.hidden")
        .filter_map(|layer| layer.parse().ok())
        .max()
        .ok_or_else(|| case.missing("tensor audio.hidden0"))?;
    let mut last = features.clone();
    for layer in 0..=layers {
        last = muq.hidden_state(features.clone(), layer)?;
        report.compare(&format!("audio.hidden{layer}"), &last, STAGE)?;
    }
    report.compare("audio.proj", &audio.projected(&last)?, STAGE)?;
    report.compare("audio.mean", &audio.pooled(&last)?, STAGE)?;
    report.compare("audio.latent_1clip", &audio.forward(&clip)?, STAGE)
}

/// `latent_{seconds}s` is of the beginning, `latent_full` and `latent_parallel` are of all.
fn lengths(case: &Case, report: &mut Report<'_>, audio: &AudioEncoder) -> Result<(), ParityError> {
    let samples = samples(case)?;
    for end in case.names_after("audio.latent_") {
        let seconds = end
            .strip_suffix('s')
            .and_then(|end| end.parse::<f64>().ok());
        let count = match (end, seconds) {
            ("full" | "parallel", _) => samples.len(),
            (_, Some(seconds)) => (seconds * f64::from(audio.sample_rate_hz())).round() as usize,
            _ => continue,
        };
        let found = audio.embed(&samples[..count.min(samples.len())])?;
        report.compare(&format!("audio.latent_{end}"), &row(case, found)?, STAGE)?;
    }
    Ok(())
}

fn words(case: &Case, report: &mut Report<'_>, text: &TextEncoder) -> Result<(), ParityError> {
    let texts = case
        .names_after("text.")
        .filter_map(|name| name.strip_suffix(".ids"));
    for name in texts {
        let name = format!("text.{name}");
        let tokens = case.input_as(&format!("{name}.ids"), DType::U32)?;
        let mask = case.input_as(&format!("{name}.mask"), DType::U8)?;
        let hidden = text.hidden_state(&tokens, &mask)?;
        report.compare(&format!("{name}.xlmr_last_hidden"), &hidden, STAGE)?;
        report.compare(&format!("{name}.mean"), &text.pooled(&hidden)?, STAGE)?;
        let latent = text.forward(&tokens, &mask)?;
        report.compare(&format!("{name}.latent"), &latent, STAGE)?;
    }
    Ok(())
}

/// Of the first clip and the batch of texts.
fn meeting(
    case: &Case,
    report: &mut Report<'_>,
    audio: &AudioEncoder,
    text: &TextEncoder,
) -> Result<(), ParityError> {
    if !case.has("similarity") {
        return Ok(());
    }
    let samples = samples(case)?;
    let clip = samples[..first_clip(audio, &samples)].to_vec();
    let sound = audio.forward(&row(case, clip)?)?;
    let tokens = case.input_as("text.batch.ids", DType::U32)?;
    let mask = case.input_as("text.batch.mask", DType::U8)?;
    let words = text.forward(&tokens, &mask)?;
    report.compare("similarity", &sound.matmul(&words.t()?)?, STAGE)
}
