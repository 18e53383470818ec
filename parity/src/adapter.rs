//! Adapters as Lorelei reads them, and their factors as variables, so that they can be trained.

use crate::case::Case;
use crate::error::ParityError;
use candle_core::{Result, Var};
use lora::adapter::{Adapter, BaseIdentity};
use nn::{Delta, LoraWeights, VisitLinears};
use std::path::Path;

/// The factors of one layer.
pub(crate) struct Factors {
    /// The layer's name.
    pub(crate) layer: String,
    /// `[rank, in_features]`
    pub(crate) a: Var,
    /// `[out_features, rank]`
    pub(crate) b: Var,
    /// `alpha / rank`, or over its root.
    pub(crate) scale: f64,
}

/// LoRA that can be trained, layers sorted by name.
pub(crate) struct Trainable(pub(crate) Vec<Factors>);

/// Reads an adapter of any layout.
pub(crate) fn load(case: &Case, relative: &str) -> std::result::Result<Adapter, ParityError> {
    Ok(Adapter::load(&case.path(relative), case.device())?)
}

/// Puts an adapter on a model, as generating does; a layer that the model does not have is an error.
pub(crate) fn attach(
    adapter: &Adapter,
    model: &mut dyn VisitLinears,
    strength: f64,
) -> std::result::Result<(), ParityError> {
    // Adapters of other programs are for no base by its hash.
    let base = BaseIdentity {
        name: "of the case".to_string(),
        version: 1,
        sha256: String::new(),
        causal: None,
    };
    adapter.attach(model, &base, strength, Path::new("the adapter"))?;
    Ok(())
}

impl Trainable {
    /// The factors of an adapter, as variables of their own.
    pub(crate) fn of(adapter: &Adapter, case: &Case) -> std::result::Result<Self, ParityError> {
        let factors = adapter.layers.iter().map(|(layer, factors)| {
            let (Delta::LowRank { a, b }, None) = (&factors.delta, &factors.magnitude) else {
                return Err(case.unknown(format!("training {} of {layer}", factors.method())));
            };
            Ok(Factors {
                layer: layer.clone(),
                a: Var::from_tensor(a)?,
                b: Var::from_tensor(b)?,
                scale: factors.scale,
            })
        });
        Ok(Self(factors.collect::<std::result::Result<_, _>>()?))
    }

    /// Puts the factors on a model's layers; the names of those that it does not have are returned.
    pub(crate) fn attach(&self, model: &mut dyn VisitLinears) -> Result<Vec<String>> {
        let mut left: Vec<&Factors> = self.0.iter().collect();
        let mut result = Ok(());
        model.visit_linears(&mut |linear| {
            let Some(place) = left.iter().position(|one| one.layer == linear.name()) else {
                return;
            };
            let Factors { a, b, scale, .. } = left.swap_remove(place);
            let attached = linear.attach(LoraWeights {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scale: *scale,
                dropout: 0.0,
            });
            if result.is_ok() {
                result = attached;
            }
        });
        result?;
        Ok(left.into_iter().map(|one| one.layer.clone()).collect())
    }

    /// Everything that is trained, under the names that follow a layer's.
    pub(crate) fn variables(&self, a_name: &str, b_name: &str) -> Vec<(String, Var)> {
        let parts = self.0.iter().flat_map(|one| {
            [
                (format!("{}.{a_name}", one.layer), one.a.clone()),
                (format!("{}.{b_name}", one.layer), one.b.clone()),
            ]
        });
        parts.collect()
    }
}
