//! `b_stable_audio_dit`: diffusers' `StableAudioDiTModel` at several times, with masks, block by block.

use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use candle_core::{D, DType, Tensor};
use dit::stable_audio::{Config, Inputs, StableAudioTransformer};
use nn::Mode;
use nn::ops::{RotaryTable, rotary};

/// A few blocks, their sums in another order than PyTorch's.
const OUTPUT: f64 = 5e-5;
/// Sinusoids of angles up to some hundred, rounded in f32 on both sides.
const SINUSOIDS: f64 = 1e-4;

pub(super) const TOLERANCES: &[(&str, f64)] =
    &[("outputs and blocks", OUTPUT), ("time_proj", SINUSOIDS)];

/// Arguments of a call.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) x: Tensor,
    time: Tensor,
    prompt: Tensor,
    global: Tensor,
    frame_mask: Option<Tensor>,
    prompt_mask: Option<Tensor>,
}

impl Arguments {
    /// A case's inputs at the time of that name.
    pub(super) fn new(case: &Case, time: &str) -> Result<Self, ParityError> {
        let x = case.input("x")?;
        let time = case.input(time)?.broadcast_as(x.dim(0)?)?;
        Ok(Self {
            time: time.contiguous()?,
            prompt: case.input("enc")?,
            global: case.input("glob")?.squeeze(1)?,
            frame_mask: None,
            prompt_mask: None,
            x,
        })
    }

    pub(super) fn time(&self) -> &Tensor {
        &self.time
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            time: &self.time,
            prompt: &self.prompt,
            global: &self.global,
            frame_mask: self.frame_mask.as_ref(),
            prompt_mask: self.prompt_mask.as_ref(),
        }
    }
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let model = StableAudioTransformer::load_folder(&case.path("transformer"), case.device())?;
    let times: Vec<&str> = case
        .names_after("out_")
        .filter(|time| case.has(time))
        .collect();
    for time in &times {
        at_time(case, report, &model, time)?;
    }
    masked(case, report, &model, &times)?;
    rotary_table(case, report, model.config())?;
    report.skip(
        "out_norope",
        "the reference without rotary embedding, which only shows how much it does",
    );
    Ok(())
}

/// The output at a time, and the intermediates stored of it: those of blocks are named after it, the others are of
/// `t_batch`.
fn at_time(
    case: &Case,
    report: &mut Report<'_>,
    model: &StableAudioTransformer,
    time: &str,
) -> Result<(), ParityError> {
    let mut seen = Vec::new();
    let mut trace = |name: &str, value: &Tensor| {
        let stored = format!("{name}_{time}");
        if case.has(&stored) {
            seen.push((stored, value.clone()));
        } else if time == "t_batch" && case.has(name) {
            seen.push((name.to_string(), value.clone()));
        }
    };
    let arguments = Arguments::new(case, time)?;
    let found = model.forward_traced(&arguments.inputs(), &Mode::Inference, &mut trace)?;
    for (name, value) in seen {
        let shape = case.expected(&name)?.shape();
        let allowed = if name == "time_proj" {
            SINUSOIDS
        } else {
            OUTPUT
        };
        report.compare(&name, &value.reshape(shape)?, allowed)?;
    }
    report.compare(&format!("out_{time}"), &found, OUTPUT)
}

/// Outputs with one mask each, at the time that the notes name.
fn masked(
    case: &Case,
    report: &mut Report<'_>,
    model: &StableAudioTransformer,
    times: &[&str],
) -> Result<(), ParityError> {
    if !case.has("out_encmask") && !case.has("out_selfmask") {
        return Ok(());
    }
    let plain = Arguments::new(case, masked_time(case, times)?)?;
    if case.has("out_encmask") {
        let arguments = Arguments {
            prompt_mask: Some(case.input_as("enc_mask", DType::U8)?),
            ..plain.clone()
        };
        let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
        report.compare("out_encmask", &found, OUTPUT)?;
    }
    if case.has("out_selfmask") {
        let arguments = Arguments {
            frame_mask: Some(case.input_as("self_mask", DType::U8)?),
            ..plain
        };
        let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
        report.compare("out_selfmask", &found, OUTPUT)?;
    }
    Ok(())
}

/// The input whose value follows `t=` in the notes on masks.
fn masked_time<'a>(case: &Case, times: &[&'a str]) -> Result<&'a str, ParityError> {
    let notes: String = case.note("/masks")?;
    let value = notes.split("t=").nth(1).and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let number = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
        number.parse::<f64>().ok()
    });
    let value = value.ok_or_else(|| case.missing("t= in the notes on masks"))?;
    for &time in times {
        let stored = crate::report::values(case.expected(time)?)?;
        if matches!(stored[..], [only] if (only - value).abs() < 1e-6) {
            return Ok(time);
        }
    }
    Err(case.missing(format!("time {value} among the inputs")))
}

/// Cosines and sines of every frame, as the rotation of ones and zeros gives them back; the reference stores both halves.
pub(super) fn rotary_table(
    case: &Case,
    report: &mut Report<'_>,
    config: &Config,
) -> Result<(), ParityError> {
    let frames = case.expected("rope_cos")?.dim(0)?;
    let rotated = config.attention_head_dim / 2;
    let ones = Tensor::ones((1, frames, rotated / 2), DType::F32, case.device())?;
    let x = Tensor::cat(&[&ones, &ones.zeros_like()?], 2)?;
    let table = RotaryTable::new(frames, rotated, 1e4)?;
    let turned = rotary(&x, &table)?.squeeze(0)?;
    for (name, first) in [("rope_cos", 0), ("rope_sin", rotated / 2)] {
        let half = turned.narrow(D::Minus1, first, rotated / 2)?;
        report.compare(name, &Tensor::cat(&[&half, &half], 1)?, OUTPUT)?;
    }
    Ok(())
}
