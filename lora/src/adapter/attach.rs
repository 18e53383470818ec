//! Adapters on a model: fresh trainable ones for training, finished ones for generating, or folded into the weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use nn::{LoraWeights, Stream, VisitLinears};

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
                        scale: alpha / rank as f64,
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
            None => Ok(Self { layers }),
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
            let factors = LayerFactors {
                a: a.as_tensor().copy()?.detach(),
                b: b.as_tensor().copy()?.detach(),
            };
            Ok((name.clone(), factors))
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
        self.check_fit(model, base, path)?;
        let scale = self.description.alpha / self.description.rank as f64 * strength;
        let (mut applied, mut failure) = (0, None);
        model.visit_linears(&mut |linear| {
            if let (Some(layer), None) = (self.layers.get(linear.name()), &failure) {
                let weights = LoraWeights {
                    a: layer.a.clone(),
                    b: layer.b.clone(),
                    scale,
                    dropout: 0.0,
                };
                match linear.attach(weights) {
                    Ok(()) => applied += 2,
                    Err(error) => failure = Some(error),
                }
            }
        });
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(Attachment {
                applied,
                total: 2 * self.layers.len(),
            }),
        }
    }

    fn check_fit(
        &self,
        model: &mut dyn VisitLinears,
        base: &BaseIdentity,
        path: &Path,
    ) -> Result<(), LoraError> {
        let mut shapes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        model.visit_linears(&mut |linear| {
            shapes.insert(
                linear.name().to_owned(),
                (linear.out_features(), linear.in_features()),
            );
        });
        let mut differences = Vec::new();
        if self.description.base != *base {
            differences.push(format!("it was trained on {}", self.description.base));
        }
        for (name, layer) in &self.layers {
            let found = (layer.b.dims()[0], layer.a.dims()[1]);
            match shapes.get(name) {
                None => differences.push(format!("{name} is no layer of the base")),
                Some(expected) if *expected != found => {
                    differences.push(format!(
                        "{name} is for a {found:?} layer, the base has {expected:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        const SHOWN: usize = 8;
        let more = differences.len().saturating_sub(SHOWN);
        differences.truncate(SHOWN);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        Err(LoraError::DoesNotFit {
            path: path.to_owned(),
            base: base.to_string(),
            differences: differences.join("; "),
        })
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
