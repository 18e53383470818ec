//! Adapters on a model: fresh trainable ones for training, finished ones for generating, or folded into the weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use checkpoint::{TensorFile, shorten};
use nn::{
    Delta, Linear, LoraWeights, Stream, TrainedChange, TrainedOptions, VisitLinears, WeightChange,
};

use super::names::LayerNames;
use super::targets::idle_patterns;
use super::{Adapter, BaseIdentity, LayerFactors, Placement, Targets};
use crate::base::{BaseModel, EMBEDDED_SHA256, embedded_facts};
use crate::error::LoraError;
use crate::models::{EMBEDDED_NAME, KnownModel};

/// How the names of LoRA's variables B end.
pub(crate) const OUTPUT_FACTOR: &str = ".lora_B";

/// How many of an adapter's layers found their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Factors applied.
    pub applied: usize,
    /// Factors in the file.
    pub total: usize,
}

/// Trainable changes that sit on a model's layers.
#[derive(Debug)]
pub struct AdaptedLayers {
    layers: BTreeMap<String, TrainedChange>,
}

impl AdaptedLayers {
    /// Puts a fresh change on every target layer, which changes nothing yet; `options` says for each layer which.
    ///
    /// # Errors
    /// As [`Targets::check`], and when an option is out of its range; nothing is attached then.
    pub fn initialise(
        model: &mut dyn VisitLinears,
        targets: &Targets,
        options: impl Fn(&str) -> TrainedOptions,
        seed: &Stream,
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
            let name = linear.name().to_owned();
            let change = TrainedChange::new(linear, &options(&name), &seed.named(&name));
            match change.and_then(|change| linear.attach_trained(&change).map(|()| change)) {
                Ok(change) => {
                    layers.insert(name, change);
                }
                Err(error) => failure = Some(LoraError::from(error)),
            }
        });
        match failure {
            Some(error) => {
                detach_all(model);
                Err(error)
            }
            None => Ok(Self { layers }),
        }
    }

    /// Names and variables, in the order of the layers' names: A before B.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let of_layer = |(name, change): (&String, &TrainedChange)| {
            let named = |(part, variable)| (format!("{name}.{part}"), variable);
            change
                .variables()
                .into_iter()
                .map(named)
                .collect::<Vec<_>>()
        };
        self.layers.iter().flat_map(of_layer).collect()
    }

    /// A copy of the factors as they are now.
    pub fn factors(&self) -> Result<BTreeMap<String, LayerFactors>, LoraError> {
        let copy = |(name, change): (&String, &TrainedChange)| {
            let WeightChange {
                delta,
                scale,
                magnitude,
                ..
            } = change.change()?;
            let factors = LayerFactors {
                delta,
                scale,
                magnitude,
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

impl Adapter {
    /// Attaches the adapter to a base's transformer; see [`Adapter::attach`].
    pub fn attach_to(
        &self,
        base: &mut BaseModel,
        strength: f64,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        self.place_on(base, &Placement::at(strength), path)
    }

    /// The same at some times or on some layers alone.
    ///
    /// # Errors
    /// As [`Adapter::attach`], and when a pattern matches no layer of the adapter or all of them together leave none.
    pub fn place_on(
        &self,
        base: &mut BaseModel,
        placement: &Placement,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        let identity = base.identity().clone();
        self.place(&mut base.transformer, &identity, placement, path)
    }

    /// Attaches the adapter at a strength (1: as trained). An adapter for another base is refused with that base's name, one with layers
    /// the model lacks with the names that differ, and the model stays as it was. `path` is for the message.
    pub fn attach(
        &self,
        model: &mut dyn VisitLinears,
        base: &BaseIdentity,
        strength: f64,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        self.place(model, base, &Placement::at(strength), path)
    }

    /// [`place_on`](Self::place_on) for any model.
    ///
    /// # Errors
    /// As [`place_on`](Self::place_on).
    pub fn place(
        &self,
        model: &mut dyn VisitLinears,
        base: &BaseIdentity,
        placement: &Placement,
        path: &Path,
    ) -> Result<Attachment, LoraError> {
        let mut layers = self.fitted(model, base, path)?;
        chosen(&mut layers, &placement.layers, path)?;
        let (mut applied, mut failure) = (0, None);
        model.visit_linears(&mut |linear| {
            if let (Some(layer), None) = (layers.get(linear.name()), &failure) {
                match attach_layer(linear, layer, placement) {
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
        // A model is what its weights are, whatever its folder is called.
        if let Some(trained_on) = trained_on.filter(|other| other.sha256 != base.sha256) {
            return Err(LoraError::OtherBase {
                path: path.to_owned(),
                trained_on: shown_base(trained_on),
                base: base.to_string(),
                remedy: how_to_name(trained_on, "--model"),
            });
        }
        // The same weights, used in another way, are another base.
        if let Some((trained_on, causal)) = trained_on.and_then(|it| Some((it, it.causal?)))
            && base.causal.is_some_and(|other| other != causal)
        {
            return Err(LoraError::OtherBase {
                path: path.to_owned(),
                trained_on: format!("{} with causal = {causal}", shown_base(trained_on)),
                base: format!("{base} with causal = {}", !causal),
                remedy: format!("pass --causal {causal}"),
            });
        }
        let (layers, misfits) = self.placed(&shapes);
        match misfits.is_empty() {
            true => Ok(layers),
            false => Err(LoraError::DoesNotFit {
                path: path.to_owned(),
                base: base.to_string(),
                differences: misfits.join("\n  "),
            }),
        }
    }

    /// Refuses a base that has other weights than the one that the adapter was trained on, if that is known. `path` is for the message.
    pub(super) fn check_trained_on(&self, base: &TensorFile, path: &Path) -> Result<(), LoraError> {
        let Some(trained_on) = &self.description.base else {
            return Ok(());
        };
        let found = crate::base::identity_of(base)?;
        if found == trained_on.sha256 {
            return Ok(());
        }
        Err(LoraError::OtherBase {
            path: path.to_owned(),
            trained_on: shown_base(trained_on),
            base: format!("{} ({})", base.origin(), found.get(..12).unwrap_or(&found)),
            remedy: how_to_name(trained_on, "--base"),
        })
    }

    /// The layers under the names of a model whose layers have these `(outputs, inputs)`, and every reason why one is not.
    fn placed(
        &self,
        shapes: &BTreeMap<String, (usize, usize)>,
    ) -> (BTreeMap<String, &LayerFactors>, Vec<String>) {
        let names = LayerNames::new(shapes.keys().map(String::as_str));
        let (mut layers, mut misfits) = (BTreeMap::new(), Vec::new());
        for (name, layer) in &self.layers {
            let resolved = names.resolve(name);
            let name = shorten(name);
            let Some(own) = resolved else {
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
                differences: misfits.join("\n  "),
            });
        }
        let layers = layers.into_iter();
        Ok(Self {
            layers: layers.map(|(name, layer)| (name, layer.clone())).collect(),
            ..self.clone()
        })
    }
}

/// What to say to get that base.
fn how_to_name(base: &BaseIdentity, flag: &str) -> String {
    let name = match base.sha256 == EMBEDDED_SHA256 {
        true => Some(EMBEDDED_NAME),
        false => KnownModel::named(&base.name).map(|known| known.name),
    };
    match name {
        Some(name) => format!("pass {flag} {name}"),
        None if is_earlier_embedded(base) => format!(
            "the base inside this program has been trained anew since, and adapters for an earlier one do not work on it; train the adapter again on its recordings (lora-train --data FOLDER), or pass {flag} with the file of that earlier base"
        ),
        None => format!(
            "pass {flag} with the path of {} as it was when the adapter was trained",
            shorten(&base.name)
        ),
    }
}

/// Whether it was the base inside an earlier program.
fn is_earlier_embedded(base: &BaseIdentity) -> bool {
    let embedded = embedded_facts().map(|facts| facts.identity);
    embedded.is_ok_and(|own| own.name == base.name && base.version < own.version)
}

/// The name comes from a file, and goes to a terminal.
pub(super) fn shown_base(base: &BaseIdentity) -> String {
    shorten(&base.to_string())
}

/// LoRA goes into the layer's own operation; other methods are changes of the weight.
fn attach_layer(
    linear: &mut Linear,
    layer: &LayerFactors,
    placement: &Placement,
) -> candle_core::Result<()> {
    let Placement {
        strength, times, ..
    } = *placement;
    match (&layer.delta, &layer.magnitude) {
        (Delta::LowRank { a, b }, None) => {
            let weights = LoraWeights {
                a: a.clone(),
                b: b.clone(),
                scale: layer.scale * strength,
                dropout: 0.0,
            };
            linear.attach_during(weights, times)
        }
        _ => linear.attach_change_during(layer.change(strength), times),
    }
}

/// Takes those away that are not to act.
fn chosen(
    layers: &mut BTreeMap<String, &LayerFactors>,
    targets: &Targets,
    path: &Path,
) -> Result<(), LoraError> {
    let refused = |problem: String| {
        Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: format!("{problem}; lora-convert --inspect lists its layers"),
        })
    };
    let names: Vec<String> = layers.keys().cloned().collect();
    for (key, patterns) in [("include", &targets.include), ("exclude", &targets.exclude)] {
        let idle = idle_patterns(patterns, &names);
        if !idle.is_empty() {
            let idle = idle.join(", ");
            return refused(format!("{key}={idle} matches no layer of this adapter"));
        }
    }
    layers.retain(|name, _| targets.matches(name));
    match layers.is_empty() {
        true => refused("include and exclude leave none of its layers".to_owned()),
        false => Ok(()),
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
