//! Adapters on a model: fresh trainable ones for training, finished ones for generating, or folded into the weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use nn::{Delta, Linear, LoraWeights, Stream, VisitLinears};

use super::names::LayerNames;
use super::{Adapter, BaseIdentity, LayerFactors, Targets};
use crate::base::BaseModel;
use crate::error::LoraError;

/// How many of an adapter's layers found their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Factors applied.
    pub applied: usize,
    /// Factors in the file.
    pub total: usize,
}

/// Trainable factors that sit on a model's layers.
#[derive(Debug)]
pub struct AdaptedLayers {
    scale: f64,
    layers: BTreeMap<String, (Var, Var)>,
}

impl AdaptedLayers {
    /// Puts fresh factors on every target layer: A uniform in ±1/sqrt(inputs) as PEFT's default, B zero, so that nothing changes yet.
    ///
    /// # Errors
    /// As [`Targets::check`]; nothing is attached then.
    pub fn initialise(
        model: &mut dyn VisitLinears,
        targets: &Targets,
        rank: usize,
        alpha: f64,
        dropout: f64,
        seed: &Stream,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let mut names = Vec::new();
        model.visit_linears(&mut |linear| names.push(linear.name().to_owned()));
        targets.check(&names)?;
        let mut layers = BTreeMap::new();
        let mut failure = None;
        let scale = alpha / rank as f64;
        model.visit_linears(&mut |linear| {
            if failure.is_some() || !targets.matches(linear.name()) {
                return;
            }
            match fresh_factors(
                linear.in_features(),
                linear.out_features(),
                rank,
                &seed.named(linear.name()),
                device,
            ) {
                Ok((a, b)) => {
                    let weights = LoraWeights {
                        a: a.as_tensor().clone(),
                        b: b.as_tensor().clone(),
                        scale,
                        dropout,
                    };
                    failure = linear.attach(weights).err().map(LoraError::from);
                    layers.insert(linear.name().to_owned(), (a, b));
                }
                Err(error) => failure = Some(error.into()),
            }
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(Self { scale, layers }),
        }
    }

    /// Names and factors, in the order of the names: A before B.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let pair = |(name, (a, b)): (&String, &(Var, Var))| {
            [
                (format!("{name}.lora_A"), a.clone()),
                (format!("{name}.lora_B"), b.clone()),
            ]
        };
        self.layers.iter().flat_map(pair).collect()
    }

    /// A copy of the factors as they are now.
    pub fn factors(&self) -> Result<BTreeMap<String, LayerFactors>, LoraError> {
        let copy = |(name, (a, b)): (&String, &(Var, Var))| {
            let (a, b) = (
                a.as_tensor().copy()?.detach(),
                b.as_tensor().copy()?.detach(),
            );
            Ok((name.clone(), LayerFactors::low_rank(a, b, self.scale)))
        };
        self.layers.iter().map(copy).collect()
    }

    /// Names of the layers changed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }
}

fn fresh_factors(
    inputs: usize,
    outputs: usize,
    rank: usize,
    seed: &Stream,
    device: &Device,
) -> candle_core::Result<(Var, Var)> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let a = seed
        .uniform((rank, inputs), device)?
        .affine(2.0 * bound, -bound)?;
    Ok((
        Var::from_tensor(&a)?,
        Var::zeros((outputs, rank), DType::F32, device)?,
    ))
}

impl Adapter {
    /// Attaches the adapter to a base's transformer; see [`Adapter::attach`].
    pub fn attach_to(
        &self,
        base: &mut BaseModel,
        strength: f64,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        let identity = base.identity().clone();
        self.attach(&mut base.transformer, &identity, strength, path)
    }

    /// Attaches the adapter at a strength (1: as trained). An adapter for another base, or with layers the model lacks, is refused
    /// with the names that differ, and the model stays as it was. `path` is for the message.
    pub fn attach(
        &self,
        model: &mut dyn VisitLinears,
        base: &BaseIdentity,
        strength: f64,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        let layers = self.fitted(model, base, path)?;
        let (mut applied, mut failure) = (0, None);
        model.visit_linears(&mut |linear| {
            if let (Some(layer), None) = (layers.get(linear.name()), &failure) {
                match attach_layer(linear, layer, strength) {
                    Ok(()) => applied += layer.tensors().len(),
                    Err(error) => failure = Some(error),
                }
            }
        });
        let total = self
            .layers
            .values()
            .map(|layer| layer.tensors().len())
            .sum();
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(Attachment { applied, total }),
        }
    }

    /// The layers under the model's names.
    fn fitted(
        &self,
        model: &mut dyn VisitLinears,
        base: &BaseIdentity,
        path: &Path,
    ) -> Result<BTreeMap<String, &LayerFactors>, LoraError> {
        let mut shapes = BTreeMap::new();
        model.visit_linears(&mut |linear| {
            let dims = (linear.out_features(), linear.in_features());
            shapes.insert(linear.name().to_owned(), dims);
        });
        let trained_on = self.description.base.as_ref();
        let other_base = trained_on
            // A model is what its weights are, whatever its folder is called.
            .filter(|trained_on| trained_on.sha256 != base.sha256)
            .map(|trained_on| format!("it was trained on {trained_on}"));
        let (layers, misfits) = self.placed(&shapes);
        let differences: Vec<String> = other_base.into_iter().chain(misfits).collect();
        match differences.is_empty() {
            true => Ok(layers),
            false => Err(LoraError::DoesNotFit {
                path: path.to_owned(),
                base: base.to_string(),
                differences: differences.join("; "),
            }),
        }
    }

    /// The layers under the names of a model whose layers have these `(outputs, inputs)`, and every reason why one is not.
    fn placed(
        &self,
        shapes: &BTreeMap<String, (usize, usize)>,
    ) -> (BTreeMap<String, &LayerFactors>, Vec<String>) {
        let names = LayerNames::new(shapes.keys().map(String::as_str));
        let (mut layers, mut misfits) = (BTreeMap::new(), Vec::new());
        for (name, layer) in &self.layers {
            let Some(own) = names.resolve(name) else {
                misfits.push(format!("{name} is no layer of the base"));
                continue;
            };
            match (layer.dims(), shapes.get(own)) {
                (Ok(found), Some(expected)) if found == *expected => {}
                (Ok(found), expected) => {
                    let expected = expected.copied().unwrap_or_default();
                    misfits.push(format!(
                        "{name} is for a {found:?} layer, the base has {expected:?}"
                    ));
                }
                (Err(error), _) => misfits.push(format!("{name}: {error}")),
            }
            if layers.insert(own.to_owned(), layer).is_some() {
                misfits.push(format!("{name} is one of two for the layer {own}"));
            }
        }
        (layers, misfits)
    }

    /// The same adapter with its layers under the names of a model whose layers have these `(outputs, inputs)`.
    ///
    /// # Errors
    /// [`LoraError::DoesNotFit`] with every layer that has no place or other sizes. `path` and `base` are for the message.
    pub fn renamed_for(
        &self,
        shapes: &BTreeMap<String, (usize, usize)>,
        path: &Path,
        base: &str,
    ) -> Result<Self, LoraError> {
        let (layers, misfits) = self.placed(shapes);
        if !misfits.is_empty() {
            return Err(LoraError::DoesNotFit {
                path: path.to_owned(),
                base: base.to_owned(),
                differences: misfits.join("; "),
            });
        }
        let layers = layers.into_iter();
        Ok(Self {
            layers: layers.map(|(name, layer)| (name, layer.clone())).collect(),
            ..self.clone()
        })
    }
}

/// LoRA goes into the layer's own operation; other methods are changes of the weight.
fn attach_layer(
    linear: &mut Linear,
    layer: &LayerFactors,
    strength: f64,
) -> candle_core::Result<()> {
    match (&layer.delta, &layer.magnitude) {
        (Delta::LowRank { a, b }, None) => linear.attach(LoraWeights {
            a: a.clone(),
            b: b.clone(),
            scale: layer.scale * strength,
            dropout: 0.0,
        }),
        _ => linear.attach_change(layer.change(strength)),
    }
}

/// Takes every adapter off a model.
pub fn detach_all(model: &mut dyn VisitLinears) {
    model.visit_linears(&mut |linear| linear.detach_all());
}

/// Folds every attached adapter into the weights: the same output without the extra work, at its strength for good.
pub fn merge(model: &mut dyn VisitLinears) -> Result<(), LoraError> {
    let mut failure: Option<LoraError> = None;
    model.visit_linears(&mut |linear| {
        if failure.is_none() {
            failure = linear.merge().err().map(LoraError::from);
        }
    });
    failure.map_or(Ok(()), Err)
}

/// A trigger vector to start training from: no change of style yet.
pub fn neutral_trigger(condition_width: usize, device: &Device) -> candle_core::Result<Var> {
    Var::from_tensor(&Tensor::zeros(condition_width, DType::F32, device)?)
}
