//! From the parts of one layer to its factors.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nn::{Delta, Magnitude};

use super::keys::Part;
use super::settings::Settings;
use crate::adapter::LayerFactors;

/// The tensors of one layer.
pub(super) type Parts = BTreeMap<Part, Tensor>;

/// Where a layer's scale comes from.
pub(super) struct Scales<'a> {
    pub(super) settings: Option<&'a Settings>,
    /// What the user says.
    pub(super) alpha: Option<f64>,
    /// What holds where nobody says anything.
    pub(super) assumed: Assumed,
}

/// The alpha of files that state none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Assumed {
    Alpha(f64),
    /// A scale of 1, as PEFT, diffusers and ComfyUI have it.
    Rank,
}

/// A layer, and whether its alpha was assumed.
pub(super) fn layer(
    name: &str,
    mut parts: Parts,
    scales: &Scales<'_>,
) -> Result<(LayerFactors, bool), String> {
    let alpha = parts.remove(&Part::Alpha);
    let alpha = alpha.map(|alpha| scalar(name, &alpha)).transpose()?;
    let magnitude = parts.remove(&Part::Magnitude);
    let (delta, rank) = delta(name, &mut parts)?;
    if let Some(part) = parts.keys().next() {
        return Err(format!(
            "layer {name} mixes LoRA and LoKr ({part:?} is left over); the file is damaged"
        ));
    }
    let (outputs, inputs) = delta
        .dims()
        .map_err(|error| format!("layer {name}: {error}; the file is damaged"))?;
    let (scale, is_assumed) = scale(name, rank, alpha, scales)?;
    let of_inputs = scales.settings.is_some_and(|settings| settings.of_inputs);
    let magnitude = magnitude
        .map(|values| lengths(name, &values, (outputs, inputs), of_inputs))
        .transpose()?;
    let factors = LayerFactors {
        delta,
        scale,
        magnitude,
    };
    Ok((factors, is_assumed))
}

/// The direction, and the rank that alpha is divided by.
fn delta(name: &str, parts: &mut Parts) -> Result<(Delta, Option<usize>), String> {
    let tensor_error = |error: candle_core::Error| format!("layer {name}: {error}");
    if parts.contains_key(&Part::A) || parts.contains_key(&Part::B) {
        let (Some(a), Some(b)) = (parts.remove(&Part::A), parts.remove(&Part::B)) else {
            return Err(format!(
                "layer {name} has only one of lora_A (lora_down) and lora_B (lora_up); the file is incomplete"
            ));
        };
        let (a, b) = (as_matrix(name, a)?, as_matrix(name, b)?);
        let rank = a.dims()[0];
        return Ok((Delta::LowRank { a, b }, Some(rank)));
    }
    let mut side = |whole: Part, first: Part, second: Part| {
        let whole = parts.remove(&whole);
        match (whole, parts.remove(&first), parts.remove(&second)) {
            (Some(whole), None, None) => Ok((as_matrix(name, whole)?, None)),
            (None, Some(first), Some(second)) => {
                let rank = second.dims().first().copied();
                let product = first.matmul(&second).map_err(tensor_error)?;
                Ok((product, rank))
            }
            _ => Err(format!(
                "layer {name} has lokr tensors that make no two matrices (each is w1 or w1_a and w1_b, w2 or w2_a and w2_b); the file is incomplete"
            )),
        }
    };
    let (outer, outer_rank) = side(Part::Outer, Part::OuterA, Part::OuterB)?;
    let (inner, inner_rank) = side(Part::Inner, Part::InnerA, Part::InnerB)?;
    let rank = inner_rank.or(outer_rank);
    Ok((Delta::Kronecker { outer, inner }, rank))
}

/// Alpha of the tensors, else of the settings, else of the user, else assumed; whether it was assumed.
fn scale(
    name: &str,
    rank: Option<usize>,
    own_alpha: Option<f64>,
    scales: &Scales<'_>,
) -> Result<(f64, bool), String> {
    let stated_rank = scales.settings.and_then(|settings| settings.rank(name));
    if let (Some(rank), Some(stated)) = (rank, stated_rank)
        && rank != stated
    {
        return Err(format!(
            "layer {name} is of rank {rank}, its settings say {stated}; tensors and settings are of different adapters"
        ));
    }
    let settings_alpha = scales.settings.and_then(|settings| settings.alpha(name));
    let stated = own_alpha.or(settings_alpha);
    if let (Some(stated), Some(given)) = (stated, scales.alpha)
        && stated != given
    {
        return Err(format!(
            "it states alpha {stated} for layer {name} itself; leave --alpha {given} out"
        ));
    }
    // With settings PEFT divides by their rank even where LoKr's matrices are whole; LyCORIS does not, and states no settings.
    let Some(rank) = rank.or(stated_rank) else {
        return Ok((1.0, false));
    };
    let divisor = scales
        .settings
        .filter(|_| own_alpha.is_none())
        .map_or(rank as f64, |settings| settings.divisor(rank));
    let (alpha, is_assumed) = match (stated.or(scales.alpha), scales.assumed) {
        (Some(alpha), _) => (alpha, false),
        (None, Assumed::Alpha(alpha)) => (alpha, true),
        (None, Assumed::Rank) => (rank as f64, true),
    };
    if rank == 0 || !(alpha.is_finite() && alpha > 0.0) {
        return Err(format!(
            "layer {name} has rank {rank} and alpha {alpha}, which no training makes; it was changed or damaged: download it again"
        ));
    }
    Ok((alpha / divisor, is_assumed))
}

/// Two dimensions; those of size 1 behind them (convolutions with kernel 1) are dropped.
fn as_matrix(name: &str, tensor: Tensor) -> Result<Tensor, String> {
    match tensor.dims() {
        [_, _] => Ok(tensor),
        [rows, columns, rest @ ..] if rest.iter().all(|&size| size == 1) => {
            let shape = (*rows, *columns);
            tensor.reshape(shape).map_err(|error| error.to_string())
        }
        other => Err(format!(
            "layer {name} has a tensor {other:?} where a matrix was expected; adapters of convolutions cannot be read"
        )),
    }
}

fn scalar(name: &str, tensor: &Tensor) -> Result<f64, String> {
    let values = tensor
        .flatten_all()
        .and_then(|flat| flat.to_vec1::<f32>())
        .map_err(|error| error.to_string())?;
    match values.as_slice() {
        [value] => Ok(f64::from(*value)),
        other => Err(format!(
            "layer {name} has {} alphas, expected 1; the file is damaged",
            other.len()
        )),
    }
}

fn lengths(
    name: &str,
    values: &Tensor,
    (outputs, inputs): (usize, usize),
    of_inputs: bool,
) -> Result<Magnitude, String> {
    let dims = values.dims();
    let column =
        matches!(dims, [size, rest @ ..] if *size == outputs && rest.iter().all(|&size| size == 1));
    let row = matches!(dims, [1, size] if *size == inputs) || of_inputs && dims == [inputs];
    let flat = values.flatten_all().map_err(|error| error.to_string())?;
    match (column, row) {
        (true, true) if of_inputs => Ok(Magnitude::OfInputs(flat)),
        (true, _) if !of_inputs => Ok(Magnitude::OfOutputs(flat)),
        (false, true) => Ok(Magnitude::OfInputs(flat)),
        _ => Err(format!(
            "layer {name} has magnitudes {dims:?}, expected [{outputs}] or [1, {inputs}]; the file is for another base or damaged"
        )),
    }
}
