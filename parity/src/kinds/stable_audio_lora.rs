//! `d_lora_dit` and `d2_lora_pattern_rslora`: a PEFT adapter on Stable Audio's transformer, at several strengths, merged,
//! its gradients and its training.

use super::optimizer_options;
use super::stable_audio::{Arguments, rotary_table};
use crate::adapter::{self, Trainable};
use crate::case::Case;
use crate::error::ParityError;
use crate::report::{Report, values};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use dit::flow;
use dit::stable_audio::StableAudioTransformer;
use lora::adapter::Adapter;
use nn::{AdamW, Mode, VisitLinears};

/// A few blocks, their sums in another order than PyTorch's.
const OUTPUT: f64 = 5e-5;
/// Gradients pass every block twice.
const GRADIENT: f64 = 1e-4;
/// AdamW divides by the root of squared gradients, so the smallest of them say as much as the largest.
const TRAINED: f64 = 1e-4;

pub(super) const TOLERANCES: &[(&str, f64)] = &[
    ("outputs, losses, merged weights", OUTPUT),
    ("gradients", GRADIENT),
    ("losses and factors in training", TRAINED),
];

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let adapter = adapter::load(case, "lora")?;
    rotary_table(case, report, model(case)?.config())?;
    outputs(case, report, &adapter)?;
    merged(case, report, &adapter)?;
    objectives(case, report)?;
    gradients(case, report, &adapter)?;
    training(case, report, &adapter)
}

fn model(case: &Case) -> Result<StableAudioTransformer, ParityError> {
    let folder = case.path("transformer");
    Ok(StableAudioTransformer::load_folder(&folder, case.device())?)
}

fn adapted(
    case: &Case,
    adapter: &Adapter,
    strength: f64,
) -> Result<StableAudioTransformer, ParityError> {
    let mut model = model(case)?;
    adapter::attach(adapter, &mut model, strength)?;
    Ok(model)
}

/// The model with factors that are trained.
fn trained(case: &Case, factors: &Trainable) -> Result<StableAudioTransformer, ParityError> {
    let mut model = model(case)?;
    match factors.attach(&mut model)?.first() {
        None => Ok(model),
        Some(layer) => Err(case.missing(format!("layer {layer} in the model"))),
    }
}

/// The base, and the adapter at the strengths in the tensors' names: `out_s1`, `out_s0_5`.
fn outputs(case: &Case, report: &mut Report<'_>, adapter: &Adapter) -> Result<(), ParityError> {
    let arguments = Arguments::new(case, "t")?;
    let output =
        |model: &StableAudioTransformer| model.forward(&arguments.inputs(), &Mode::Inference);
    report.compare("out_base", &output(&model(case)?)?, OUTPUT)?;
    let mut disabled = adapted(case, adapter, 1.0)?;
    disabled.visit_linears(&mut |linear| linear.detach_all());
    report.compare("out_disabled", &output(&disabled)?, OUTPUT)?;
    for number in case.names_after("out_s") {
        let Ok(strength) = number.replace('_', ".").parse() else {
            continue;
        };
        let found = output(&adapted(case, adapter, strength)?)?;
        report.compare(&format!("out_s{number}"), &found, OUTPUT)?;
    }
    Ok(())
}

fn merged(case: &Case, report: &mut Report<'_>, adapter: &Adapter) -> Result<(), ParityError> {
    let mut model = adapted(case, adapter, 1.0)?;
    let mut weights = Vec::new();
    let mut result = Ok(());
    model.visit_linears(&mut |linear| {
        let merged = linear.merge().and_then(|()| linear.weight());
        match merged {
            Ok(weight) => weights.push((format!("merged.{}.weight", linear.name()), weight)),
            Err(error) => result = Err(error),
        }
    });
    result?;
    for (name, weight) in weights {
        if case.has(&name) {
            report.compare(&name, &weight, OUTPUT)?;
        }
    }
    let arguments = Arguments::new(case, "t")?;
    let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
    report.compare("out_merged", &found, OUTPUT)
}

/// Losses of the base under both objectives that Stable Audio's family knows: the velocity of a turning way,
/// `cos(pi t / 2) x + sin(pi t / 2) noise`, and that of a straight one, which runs from data to noise here.
fn objectives(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    if !case.has("obj_noise") {
        return Ok(());
    }
    let (model, mut arguments) = (model(case)?, Arguments::new(case, "t")?);
    let (data, noise) = (arguments.x.clone(), case.input("obj_noise")?);
    let angle = (arguments.time() * std::f64::consts::FRAC_PI_2)?.reshape(((), 1, 1))?;
    let (cosine, sine) = (angle.cos()?, angle.sin()?);
    let turning = (data.broadcast_mul(&cosine)? + noise.broadcast_mul(&sine)?)?;
    let turning_target = (noise.broadcast_mul(&cosine)? - data.broadcast_mul(&sine)?)?;
    let straight = flow::interpolate(&data, &noise, arguments.time())?;
    let straight_target = flow::velocity(&data, &noise)?;
    for (name, x, target) in [
        ("obj_v_loss", turning, turning_target),
        ("obj_rf_loss", straight, straight_target),
    ] {
        arguments.x = x;
        let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
        let loss = flow::masked_loss(&found, &target, None)?;
        report.compare(name, &loss, OUTPUT)?;
    }
    Ok(())
}

fn loss(case: &Case, model: &StableAudioTransformer) -> Result<Tensor, ParityError> {
    let arguments = Arguments::new(case, "t")?;
    let found = model.forward(&arguments.inputs(), &Mode::Inference)?;
    Ok(flow::masked_loss(&found, &case.input("target")?, None)?)
}

fn gradients(case: &Case, report: &mut Report<'_>, adapter: &Adapter) -> Result<(), ParityError> {
    let factors = Trainable::of(adapter, case)?;
    let loss = loss(case, &trained(case, &factors)?)?;
    report.compare("loss", &loss, OUTPUT)?;
    let found: GradStore = loss.backward()?;
    let variables = factors.variables("lora_A.weight", "lora_B.weight");
    for (name, variable) in &variables {
        let gradient = found
            .get(variable)
            .ok_or_else(|| case.missing(format!("gradient for {name} from the model")))?;
        report.compare(&format!("grad.{name}"), gradient, GRADIENT)?;
    }
    let norm = AdamW::new(variables, optimizer_options(case)?)?.gradient_norm(&found)?;
    report.figures("grad_norm", &[norm], &[case.note("/grad_norm")?], GRADIENT);
    Ok(())
}

fn training(case: &Case, report: &mut Report<'_>, adapter: &Adapter) -> Result<(), ParityError> {
    let rate: f64 = case.note("/adamw/lr")?;
    let factors = Trainable::of(adapter, case)?;
    let model = trained(case, &factors)?;
    let variables = factors.variables("lora_A.weight", "lora_B.weight");
    let mut optimizer = AdamW::new(variables.clone(), optimizer_options(case)?)?;
    let mut losses = Vec::new();
    for _ in 0..case.expected("traj_loss")?.dims1()? {
        let loss = loss(case, &model)?;
        losses.extend(values(&loss)?);
        optimizer.step(&loss.backward()?, rate, 1.0)?;
    }
    let losses = Tensor::new(losses, case.device())?;
    report.compare("traj_loss", &losses, TRAINED)?;
    for (name, variable) in &variables {
        report.compare(&format!("traj_final.{name}"), variable.as_tensor(), TRAINED)?;
    }
    if case.has("traj_final_loss") {
        report.compare("traj_final_loss", &loss(case, &model)?, TRAINED)?;
    }
    Ok(())
}
