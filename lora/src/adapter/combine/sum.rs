//! Weighted sums of adapters.

use std::collections::BTreeMap;

use candle_core::Tensor;
use checkpoint::TensorFile;
use nn::{Delta, Stream};

use super::svd::{self, Reduced};
use super::{
    Combined, Energy, Part, Record, common_base, description, recorded, shown, total_energy,
    trigger, trigger_words,
};
use crate::adapter::names::{LayerNames, is_underscored};
use crate::adapter::write::merged::{layer_shapes, layer_weight};
use crate::adapter::{Adapter, LayerFactors, Method};
use crate::error::LoraError;
use crate::progress::Progress;

/// How to add up.
#[derive(Debug, Clone, Copy, Default)]
pub struct SumOptions<'a> {
    /// The rank to bring each layer to; without, sums are exact, and their ranks the sums of the ranks.
    pub rank: Option<usize>,
    /// The base, whose names of layers are taken and whose weights DoRA is computed from.
    pub base: Option<&'a TensorFile>,
}

/// `sum of weight (W' - W)`. LoRA adds up exactly: factors side by side, each with its own scale; those that share an A (an adapter and
/// itself) take one place. LoKr and DoRA need a rank, and DoRA the base. Trigger vectors are added up by the same weights.
///
/// # Errors
/// When adapters are of different bases or layers, a rank or base is missing, or `progress` asks for a stop.
pub fn sum(
    parts: &[Part<'_>],
    options: &SumOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<Combined, LoraError> {
    let identity = common_base(parts)?;
    let adapters = under_common_names(parts, options.base)?;
    let layers = by_layer(parts, &adapters)?;
    progress.begin("adding up", layers.len());
    let (mut summed, mut energies) = (BTreeMap::new(), BTreeMap::new());
    for (name, terms) in &layers {
        if progress.stop_requested() {
            return Err(LoraError::Stopped);
        }
        let (factors, energy) = layer(name, terms, options)?;
        energies.extend(energy.map(|energy| (name.clone(), energy)));
        summed.insert(name.clone(), factors);
        progress.advance();
    }
    progress.end();
    let record = Record {
        method: match options.rank {
            None => "weighted sum",
            Some(_) => "weighted sum, singular value decomposition",
        },
        parts: parts
            .iter()
            .map(|part| recorded(part.path, part.weight, Some(part.adapter)))
            .collect(),
        rank: options.rank,
        energy_kept: options.rank.map(|_| total_energy(&energies).share()),
    };
    let mut description = description(&summed, identity);
    description.trigger_words = trigger_words(parts);
    let mut stated = parts.iter().map(|part| part.adapter.stated_base.as_ref());
    let first = stated.next().flatten();
    let stated_base = first.filter(|base| stated.all(|other| other == Some(base)));
    let adapter = Adapter {
        metadata: record.into_metadata()?,
        stated_base: stated_base.cloned(),
        ..Adapter::trained(description, summed, trigger(parts)?)
    };
    Ok(Combined { adapter, energies })
}

/// The parts' adapters with one name for each layer.
fn under_common_names(
    parts: &[Part<'_>],
    base: Option<&TensorFile>,
) -> Result<Vec<Adapter>, LoraError> {
    if let Some(base) = base {
        let shapes = layer_shapes(base);
        let renamed = |part: &Part<'_>| {
            part.adapter.check_trained_on(base, part.path)?;
            part.adapter.renamed_for(&shapes, part.path, base.origin())
        };
        return parts.iter().map(renamed).collect();
    }
    let mut formats = parts.iter().map(|part| part.adapter.format);
    let first = formats.next();
    let is_mixed = formats.any(|format| Some(format) != first);
    let mut known: Vec<String> = Vec::new();
    let mut renamed = Vec::new();
    for part in parts {
        let names = LayerNames::new(known.iter().map(String::as_str));
        let mut layers = BTreeMap::new();
        for (name, factors) in &part.adapter.layers {
            if is_mixed && is_underscored(name) {
                return Err(refused(
                    part,
                    name,
                    "has underscores for dots, so that only the base's names tell which layer of the others it is; name the base (--base MODEL)",
                ));
            }
            let common = names.resolve(name).unwrap_or(name).to_owned();
            if layers.insert(common, factors.clone()).is_some() {
                return Err(refused(
                    part,
                    name,
                    "is one of two for one layer of the others; name the base (--base MODEL)",
                ));
            }
        }
        known.extend(
            layers
                .keys()
                .filter(|name| names.resolve(name).is_none())
                .cloned()
                .collect::<Vec<_>>(),
        );
        renamed.push(Adapter {
            layers,
            ..part.adapter.clone()
        });
    }
    Ok(renamed)
}

/// A part's share in one layer.
struct Term<'a> {
    part: &'a Part<'a>,
    factors: &'a LayerFactors,
}

/// What is added up in each layer. All terms of a layer are for the same sizes.
fn by_layer<'a>(
    parts: &'a [Part<'a>],
    adapters: &'a [Adapter],
) -> Result<BTreeMap<String, Vec<Term<'a>>>, LoraError> {
    let mut layers: BTreeMap<String, Vec<Term<'_>>> = BTreeMap::new();
    for (part, adapter) in parts.iter().zip(adapters) {
        for (name, factors) in &adapter.layers {
            let terms = layers.entry(name.clone()).or_default();
            if let Some(first) = terms.first()
                && first.factors.dims()? != factors.dims()?
            {
                let problem = format!(
                    "is for a {:?} layer, and in {} it is {:?}; the adapters are for different bases",
                    factors.dims()?,
                    first.part.path.display(),
                    first.factors.dims()?
                );
                return Err(refused(part, name, &problem));
            }
            terms.push(Term { part, factors });
        }
    }
    Ok(layers)
}

/// The sum of a layer's terms, and what its rank keeps if it was brought to one.
fn layer(
    name: &str,
    terms: &[Term<'_>],
    options: &SumOptions<'_>,
) -> Result<(LayerFactors, Option<Energy>), LoraError> {
    let other = terms
        .iter()
        .find(|term| term.factors.method() != Method::Lora);
    let reduced = match (other, options.rank) {
        (None, None) => {
            let (a, b) = side_by_side(terms)?;
            return Ok((LayerFactors::low_rank(a, b, 1.0), None));
        }
        (Some(term), None) => {
            let problem = format!(
                "is {}, whose sums with others are of no rank of their own; ask for one (--rank N)",
                term.factors.method()
            );
            return Err(refused(term.part, name, &problem));
        }
        (None, Some(rank)) => {
            let (a, b) = side_by_side(terms)?;
            svd::of_low_rank(&a, &b, rank)?
        }
        (Some(_), Some(rank)) => {
            let whole = whole(name, terms, options.base)?;
            svd::of_matrix(&whole, rank, &Stream::new(0).named(name))?
        }
    };
    let Reduced { factors, energy } = reduced;
    Ok((factors, Some(energy)))
}

/// Factors of the terms one after another, `[ranks, inputs]` and `[outputs, ranks]`; weights and scales are in the second.
fn side_by_side(terms: &[Term<'_>]) -> Result<(Tensor, Tensor), LoraError> {
    let mut factors: Vec<(Tensor, Tensor)> = Vec::new();
    for term in terms {
        let Delta::LowRank { a, b } = &term.factors.delta else {
            continue;
        };
        let b = (b * (term.factors.scale * term.part.weight))?;
        let mut shared = None;
        for (index, (known, _)) in factors.iter().enumerate() {
            if is_same(known, a)? {
                shared = Some(index);
            }
        }
        match shared {
            Some(index) => factors[index].1 = (&factors[index].1 + b)?,
            None => factors.push((a.clone(), b)),
        }
    }
    let (a, b): (Vec<Tensor>, Vec<Tensor>) = factors.into_iter().unzip();
    Ok((Tensor::cat(&a, 0)?, Tensor::cat(&b, 1)?))
}

fn is_same(one: &Tensor, other: &Tensor) -> Result<bool, LoraError> {
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    Ok(one.dims() == other.dims() && values(one)? == values(other)?)
}

/// The sum as a matrix.
fn whole(name: &str, terms: &[Term<'_>], base: Option<&TensorFile>) -> Result<Tensor, LoraError> {
    let mut sum: Option<Tensor> = None;
    for Term { part, factors } in terms {
        let difference = match (&factors.magnitude, base) {
            (None, _) => (factors.delta.matrix()? * factors.scale)?,
            (Some(_), None) => {
                let problem = format!(
                    "is {}, whose change depends on the weights it was trained on; name the base (--base MODEL)",
                    factors.method()
                );
                return Err(refused(part, name, &problem));
            }
            (Some(_), Some(base)) => {
                let weight = layer_weight(base, &format!("{name}.weight"))?;
                let weight = weight.to_dtype(candle_core::DType::F32)?;
                factors.change(1.0).difference(&weight)?
            }
        };
        let weighted = (difference * part.weight)?;
        sum = Some(match sum {
            None => weighted,
            Some(sum) => (sum + weighted)?,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg(format!("{name}: nothing to add up")).into())
}

fn refused(part: &Part<'_>, layer: &str, problem: &str) -> LoraError {
    LoraError::BadFile {
        path: part.path.to_owned(),
        problem: format!("layer {} {problem}", shown(layer)),
    }
}
