//! `dr_dit` and `dr_dit_full`: DiffRhythm's transformer at several times, with conditions dropped, block by block, and what
//! half precision makes of its times.

use crate::case::{Case, read_json};
use crate::error::ParityError;
use crate::report::Report;
use crate::weights;
use candle_core::{DType, Device, Tensor};
use dit::diffrhythm::{Config, DiffusionTransformer, Drops, Inputs, Presence};
use dit::flow::{half_precision_grid, half_precision_time};
use nn::Mode;
use serde_json::Value;
use std::path::Path;

/// A few blocks, their sums in another order than PyTorch's.
const OUTPUT: f64 = 5e-5;
/// Sinusoids of angles up to 1000, where one f32 step is 6e-5.
const SINUSOIDS: f64 = 1e-4;
/// The reference ran in half precision, with 11 bits; this model in f32, given the same times.
const HALF: f64 = 5e-3;

pub(super) const TOLERANCES: &[(&str, f64)] = &[
    ("outputs and intermediates", OUTPUT),
    ("time_sinus", SINUSOIDS),
    ("fp16.sinus and fp16.out", HALF),
    ("fp16.t_grid", 0.0),
    ("fp16.scale_t", SCALED),
];

/// A thousandth, and a thousandfold of it, in f32.
const SCALED: f64 = 1e-6;

/// The model of a file of weights with `config.json` beside it.
pub(super) fn load(
    file: &Path,
    causal: bool,
    device: &Device,
) -> Result<DiffusionTransformer, ParityError> {
    let config = read_json(&file.with_file_name("config.json"))?.to_string();
    let config = Config::from_reference_json(&config, causal)?;
    let weights = weights::open_transformer(file, device)?;
    let model = DiffusionTransformer::load(&config, &weights.root().pp("transformer"))?;
    weights.finish()?;
    Ok(model)
}

/// Arguments of a call.
pub(super) struct Arguments {
    pub(super) x: Tensor,
    pub(super) audio_condition: Tensor,
    pub(super) text: Tensor,
    pub(super) style: Tensor,
    pub(super) time: Tensor,
    pub(super) start_time: Tensor,
    pub(super) duration: Option<Tensor>,
    pub(super) drops: Drops,
}

impl Arguments {
    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x: &self.x,
            audio_condition: &self.audio_condition,
            text: &self.text,
            style: &self.style,
            time: &self.time,
            start_time: &self.start_time,
            duration: self.duration.as_ref(),
            drops: self.drops.clone(),
        }
    }

    /// A case's inputs with what the notes on a call change.
    fn of_call(case: &Case, call: &Value) -> Result<Self, ParityError> {
        let x = case.input("in.x")?;
        let batch = x.dim(0)?;
        let mut arguments = Self {
            audio_condition: case.input("in.cond")?,
            text: case.input_as("in.text", DType::U32)?,
            style: case.input("in.style")?,
            time: Tensor::zeros(batch, DType::F32, case.device())?,
            start_time: case.input("in.start_time")?,
            duration: Some(case.input("in.duration")?),
            drops: Drops::default(),
            x,
        };
        for (key, value) in call.as_object().into_iter().flatten() {
            let numbers = || per_item(case, key, value, batch);
            let drop = || match value.as_bool() {
                Some(true) => Presence::Dropped,
                _ => Presence::Kept,
            };
            match key.as_str() {
                "time" => arguments.time = numbers()?,
                "start_time" => arguments.start_time = numbers()?,
                "duration" => arguments.duration = Some(numbers()?),
                "drop_audio_cond" => arguments.drops.audio = drop(),
                "drop_text" => arguments.drops.text = drop(),
                "drop_prompt" => arguments.drops.style = drop(),
                _ => return Err(case.unknown(format!("the argument {key} of a call"))),
            }
        }
        Ok(arguments)
    }
}

/// One number for all items, or one each.
fn per_item(case: &Case, key: &str, value: &Value, batch: usize) -> Result<Tensor, ParityError> {
    let numbers: Option<Vec<f64>> = match value {
        Value::Array(items) => items.iter().map(Value::as_f64).collect(),
        one => one.as_f64().map(|number| vec![number; batch]),
    };
    let numbers = numbers.ok_or_else(|| case.missing(format!("number in {key} of a call")))?;
    let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
    Ok(Tensor::from_vec(numbers, batch, case.device())?)
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let files = weights::transformers_in(&case.path(""));
    let Some(first) = files.first() else {
        return Err(case.missing(weights::TRANSFORMER.join(" or ")));
    };
    for (number, file) in files.iter().enumerate() {
        calls(case, report, file, number > 0)?;
    }
    half_precision(case, report, first)?;
    for name in ["in.neg_style", "in.time_vec"] {
        report.skip(name, "an input of other cases with this model");
    }
    report.skip(
        "text_freqs_cis_0_8",
        "a table inside of text_embed, which is compared",
    );
    Ok(())
}

/// Every call of the notes with one file of weights; `again` if another gave all of it already, when outputs are enough.
fn calls(
    case: &Case,
    report: &mut Report<'_>,
    file: &Path,
    again: bool,
) -> Result<(), ParityError> {
    let calls: serde_json::Map<String, Value> = case.note("/calls")?;
    for (name, call) in &calls {
        let (kind, short) = name
            .split_once('.')
            .filter(|(kind, _)| ["causal", "noncausal"].contains(kind))
            .ok_or_else(|| case.unknown(format!("the call {name}")))?;
        let model = load(file, kind == "causal", case.device())?;
        let mut seen = Vec::new();
        let mut trace = |middle: &str, value: &Tensor| {
            let stored = format!("{kind}.mid.{middle}");
            if short == "main" && !again && case.has(&stored) {
                seen.push((stored, value.clone()));
            }
        };
        let arguments = Arguments::of_call(case, call)?;
        let found = model.forward_traced(&arguments.inputs(), &Mode::Inference, &mut trace)?;
        for (stored, value) in seen {
            // The reference keeps the first item only of three-dimensional intermediates.
            let items = case.expected(&stored)?.dim(0)?;
            let allowed = match stored.ends_with("time_sinus") {
                true => SINUSOIDS,
                false => OUTPUT,
            };
            report.compare(&stored, &value.narrow(0, 0, items)?, allowed)?;
        }
        let stored = format!("{kind}.out.{short}");
        let label = match again {
            true => {
                let name = file.file_name().unwrap_or_default();
                format!("{stored} ({})", name.display())
            }
            false => stored.clone(),
        };
        report.compare_as(&label, &stored, &found, OUTPUT)?;
    }
    Ok(())
}

/// The reference's pipeline runs in half precision: its time grid, what its sinusoids are taken of, and an output.
fn half_precision(case: &Case, report: &mut Report<'_>, file: &Path) -> Result<(), ParityError> {
    let Some(points) = case.names_after("fp16.t_grid").next() else {
        return Ok(());
    };
    let name = format!("fp16.t_grid{points}");
    let points = case.expected(&name)?.dims1()?;
    let grid = half_precision_grid(points);
    let thousands: Vec<f32> = grid
        .iter()
        .map(|&time| 1000.0 * half_precision_time(time))
        .collect();
    let seen: Vec<f32> = grid.iter().map(|&time| half_precision_time(time)).collect();
    report.compare(&name, &Tensor::new(grid, case.device())?, 0.0)?;
    let thousands = Tensor::new(thousands, case.device())?.unsqueeze(1)?;
    report.compare("fp16.scale_t", &thousands, SCALED)?;

    let main: Value = case.note("/calls/noncausal.main")?;
    let model = load(file, false, case.device())?;
    let mut arguments = Arguments::of_call(case, &main)?;
    for time in [&mut arguments.time, &mut arguments.start_time] {
        *time = in_half_precision(time)?;
    }
    let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
    report.compare("fp16.out.main", &found, HALF)?;
    sinusoids(case, report, &model, arguments, &seen)
}

/// The sinusoids of many times: the model is given as many items of one frame.
fn sinusoids(
    case: &Case,
    report: &mut Report<'_>,
    model: &DiffusionTransformer,
    arguments: Arguments,
    times: &[f32],
) -> Result<(), ParityError> {
    let items = times.len();
    let one_frame = |tensor: &Tensor| {
        let one = tensor.narrow(0, 0, 1)?.narrow(1, 0, 1)?;
        one.broadcast_as((items, 1, one.dim(2)?))?.contiguous()
    };
    let one = |tensor: &Tensor| tensor.narrow(0, 0, 1)?.broadcast_as(items)?.contiguous();
    let style = arguments.style.narrow(0, 0, 1)?;
    let arguments = Arguments {
        x: one_frame(&arguments.x)?,
        audio_condition: one_frame(&arguments.audio_condition)?,
        text: Tensor::zeros((items, 1), DType::U32, case.device())?,
        style: style.broadcast_as((items, style.dim(1)?))?.contiguous()?,
        time: Tensor::new(times, case.device())?,
        start_time: one(&arguments.start_time)?,
        duration: arguments.duration.as_ref().map(one).transpose()?,
        drops: Drops::default(),
    };
    let mut waves = None;
    model.forward_traced(&arguments.inputs(), &Mode::Inference, &mut |name, value| {
        if name == "time_sinus" {
            waves = Some(value.clone());
        }
    })?;
    let waves = waves.ok_or_else(|| case.missing("time_sinus from the model"))?;
    report.compare("fp16.sinus", &waves, HALF)
}

fn in_half_precision(times: &Tensor) -> candle_core::Result<Tensor> {
    let rounded: Vec<f32> = times
        .to_vec1::<f32>()?
        .into_iter()
        .map(half_precision_time)
        .collect();
    Tensor::from_vec(rounded, times.shape(), times.device())
}
