//! `dr_train`: the original's LoRA on DiffRhythm: losses with every condition dropped, gradients, and ten steps.

use super::diffrhythm::{self, Arguments};
use super::optimizer_options;
use crate::adapter::{self, Factors, Trainable};
use crate::case::Case;
use crate::error::ParityError;
use crate::report::{Report, values};
use crate::weights;
use candle_core::{DType, Tensor, Var};
use dit::diffrhythm::{DiffusionTransformer, Drops, Presence};
use dit::flow;
use nn::{AdamW, Mode, clip_factor};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A few blocks, their sums in another order than PyTorch's.
const OUTPUT: f64 = 5e-5;
/// Gradients pass every block twice.
const GRADIENT: f64 = 1e-4;
/// AdamW divides by the root of squared gradients, so the smallest of them say as much as the largest.
const TRAINED: f64 = 1e-4;

pub(super) const TOLERANCES: &[(&str, f64)] = &[
    ("losses, outputs", OUTPUT),
    ("gradients and their norms", GRADIENT),
    ("losses, norms and factors in training", TRAINED),
];

/// One run of ten steps.
#[derive(Deserialize)]
struct Trajectory {
    loss: Vec<f64>,
    lr_used: Vec<f64>,
    grad_norm: Vec<f64>,
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    for (kind, causal) in [("causal", true), ("noncausal", false)] {
        if !case.has(&format!("{kind}.loss.none")) {
            continue;
        }
        losses(case, report, kind, causal)?;
        adapted_outputs(case, report, kind, causal)?;
        gradients(case, report, kind, causal)?;
    }
    let trajectories: BTreeMap<String, Trajectory> = case.note("/trajectory")?;
    for (name, trajectory) in &trajectories {
        training(case, report, name, trajectory)?;
    }
    if case.has_file("peft") {
        same_factors(case, report, "peft")?;
    }
    for file in case.files_ending(".pt")? {
        same_factors(case, report, &file)?;
    }
    report.skip("in.time_normal", "what in.time_sigmoid was made of");
    Ok(())
}

/// The original's factors, transposed against PEFT's, as fresh variables.
fn adapter(case: &Case) -> Result<Trainable, ParityError> {
    let scale = case.note("/lora/scaling")?;
    let layers = case
        .names_after("lora.")
        .filter_map(|name| name.strip_suffix(".lora_A"));
    let factor = |layer: &str, part: &str| {
        let stored = case.input(&format!("lora.{layer}.{part}"))?;
        Ok::<_, ParityError>(Var::from_tensor(&stored.t()?.contiguous()?)?)
    };
    let factors = layers.map(|layer| {
        Ok(Factors {
            a: factor(layer, "lora_A")?,
            b: factor(layer, "lora_B")?,
            layer: layer.to_string(),
            scale,
        })
    });
    Ok(Trainable(factors.collect::<Result<_, ParityError>>()?))
}

/// The same adapter in a file or folder beside it: the same layers, each with the same factors and the same scale, and no other.
fn same_factors(case: &Case, report: &mut Report<'_>, place: &str) -> Result<(), ParityError> {
    let (own, other) = (adapter(case)?, adapter::load(case, place)?);
    let counts = ([other.layers.len() as f64], [own.0.len() as f64]);
    report.figures(&format!("{place} layers"), &counts.0, &counts.1, 0.0);
    let other = Trainable::of(&other, case)?;
    for own in &own.0 {
        let layer = &own.layer;
        let same = other.0.iter().find(|other| other.layer == *layer);
        let other = same.ok_or_else(|| case.missing(format!("layer {layer} in {place}")))?;
        for (part, expected, found) in [("A", &own.a, &other.a), ("B", &own.b, &other.b)] {
            let label = format!("{place} {layer} {part}");
            report.compare_with(&label, found.as_tensor(), expected.as_tensor(), 0.0)?;
        }
        let label = format!("{place} {layer} scale");
        report.figures(&label, &[other.scale], &[own.scale], 0.0);
    }
    Ok(())
}

fn adapted(
    case: &Case,
    adapter: &Trainable,
    causal: bool,
) -> Result<DiffusionTransformer, ParityError> {
    let file = weights::named_transformer(case, &case.note::<String>("/config/weights")?)?;
    let mut model = diffrhythm::load(&file, causal, case.device())?;
    match adapter.attach(&mut model)?.first() {
        None => Ok(model),
        Some(layer) => Err(case.missing(format!("layer {layer} in the model"))),
    }
}

fn arguments(case: &Case, drops: Drops) -> Result<Arguments, ParityError> {
    let (noise, latent) = (case.input("in.noise")?, case.input("in.latent")?);
    let time = case.input("in.time_sigmoid")?;
    Ok(Arguments {
        x: flow::interpolate(&noise, &latent, &time)?,
        audio_condition: latent.zeros_like()?,
        text: case.input_as("in.text", DType::U32)?,
        style: case.input("in.style")?,
        time,
        start_time: case.input("in.start_time")?,
        duration: None,
        drops,
    })
}

/// Prediction and loss of the case's batch.
fn loss(
    case: &Case,
    model: &DiffusionTransformer,
    drops: Drops,
) -> Result<(Tensor, Tensor), ParityError> {
    let found = model.forward(&arguments(case, drops)?.inputs(), &Mode::Inference)?;
    let target = flow::velocity(&case.input("in.noise")?, &case.input("in.latent")?)?;
    let valid: Vec<usize> = values(&case.input("in.lens")?)?
        .into_iter()
        .map(|frames| frames as usize)
        .collect();
    let loss = flow::masked_loss(&found, &target, Some(&valid))?;
    Ok((found, loss))
}

fn drops(case: &Case, name: &str) -> Result<Drops, ParityError> {
    let known = ["none", "audio", "text", "prompt", "all"];
    if !known.contains(&name) {
        return Err(case.unknown(format!("the drop {name}")));
    }
    let drop = |condition: &str| match name == condition || name == "all" {
        true => Presence::Dropped,
        false => Presence::Kept,
    };
    Ok(Drops {
        audio: drop("audio"),
        text: drop("text"),
        style: drop("prompt"),
    })
}

fn losses(
    case: &Case,
    report: &mut Report<'_>,
    kind: &str,
    causal: bool,
) -> Result<(), ParityError> {
    let model = adapted(case, &adapter(case)?, causal)?;
    for name in case.names_after(&format!("{kind}.loss.")) {
        let (found, loss) = loss(case, &model, drops(case, name)?)?;
        report.compare(&format!("{kind}.loss.{name}"), &loss, OUTPUT)?;
        let prediction = format!("{kind}.pred.{name}");
        if case.has(&prediction) {
            report.compare(&prediction, &found, OUTPUT)?;
        }
    }
    let condition = arguments(case, Drops::default())?.audio_condition;
    report.compare(&format!("{kind}.cond"), &condition, 0.0)
}

/// `lora_out_t{time}`: the first item's clean latents, called noisy at that time.
fn adapted_outputs(
    case: &Case,
    report: &mut Report<'_>,
    kind: &str,
    causal: bool,
) -> Result<(), ParityError> {
    let prefix = format!("{kind}.lora_out_t");
    for time in case.names_after(&prefix) {
        let seconds: f32 = time
            .parse()
            .map_err(|_| case.unknown(format!("the time {time}")))?;
        let name = format!("{prefix}{time}");
        let items = case.expected(&name)?.dim(0)?;
        let all = arguments(case, Drops::default())?;
        let first = |tensor: &Tensor| tensor.narrow(0, 0, items);
        let call = Arguments {
            x: first(&case.input("in.latent")?)?,
            audio_condition: first(&all.audio_condition)?,
            text: first(&all.text)?,
            style: first(&all.style)?,
            time: Tensor::full(seconds, items, case.device())?,
            start_time: first(&all.start_time)?,
            duration: None,
            drops: Drops::default(),
        };
        let model = adapted(case, &adapter(case)?, causal)?;
        let found = model.forward(&call.inputs(), &Mode::Inference)?;
        report.compare(&name, &found, OUTPUT)?;
    }
    Ok(())
}

fn gradients(
    case: &Case,
    report: &mut Report<'_>,
    kind: &str,
    causal: bool,
) -> Result<(), ParityError> {
    let adapter = adapter(case)?;
    let model = adapted(case, &adapter, causal)?;
    let found = loss(case, &model, Drops::default())?.1.backward()?;
    let mut norms = (Vec::new(), Vec::new());
    for (name, variable) in adapter.variables("lora_A", "lora_B") {
        let gradient = found
            .get(&variable)
            .ok_or_else(|| case.missing(format!("gradient for {name} from the model")))?;
        // Of the second kind only some are stored.
        let stored = format!("{kind}.grad.{name}");
        if case.has(&stored) {
            report.compare(&stored, &gradient.t()?, GRADIENT)?;
        }
        let square: f64 = values(gradient)?.iter().map(|value| value * value).sum();
        norms.0.push(square.sqrt());
        norms
            .1
            .push(case.note(&format!("/grad_norm_each/{kind}/{name}"))?);
    }
    let label = format!("grad_norm_each.{kind}");
    report.figures(&label, &norms.0, &norms.1, GRADIENT);
    let norm = optimizer(case, &adapter)?.gradient_norm(&found)?;
    let expected = case.note(&format!("/grad_norm/{kind}"))?;
    report.figures(&format!("grad_norm.{kind}"), &[norm], &[expected], GRADIENT);
    Ok(())
}

fn optimizer(case: &Case, adapter: &Trainable) -> Result<AdamW, ParityError> {
    let variables = adapter.variables("lora_A", "lora_B");
    Ok(AdamW::new(variables, optimizer_options(case)?)?)
}

/// A run named `{kind}.clip{maximal norm}`, with the learning rates that the reference used, its schedule's defect included.
fn training(
    case: &Case,
    report: &mut Report<'_>,
    name: &str,
    expected: &Trajectory,
) -> Result<(), ParityError> {
    let parts = name.split_once(".clip");
    let (kind, clip) = parts
        .and_then(|(kind, clip)| Some((kind, clip.parse::<f64>().ok()?)))
        .ok_or_else(|| case.unknown(format!("the run {name}")))?;
    let adapter = adapter(case)?;
    let model = adapted(case, &adapter, kind == "causal")?;
    let mut optimizer = optimizer(case, &adapter)?;
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for &rate in &expected.lr_used {
        let loss = loss(case, &model, Drops::default())?.1;
        losses.extend(values(&loss)?);
        let gradients = loss.backward()?;
        let norm = optimizer.gradient_norm(&gradients)?;
        norms.push(norm);
        optimizer.step(&gradients, rate, clip_factor(norm, clip))?;
    }
    report.figures(&format!("{name} loss"), &losses, &expected.loss, TRAINED);
    report.figures(
        &format!("{name} grad_norm"),
        &norms,
        &expected.grad_norm,
        TRAINED,
    );
    // The factors were stored after the run that clips, as the original does.
    if clip > 0.0 {
        for (factor, variable) in adapter.variables("lora_A", "lora_B") {
            let stored = format!("{kind}.final.{factor}");
            if case.has(&stored) {
                report.compare(&stored, &variable.t()?, TRAINED)?;
            }
        }
    }
    Ok(())
}
