//! The variables of a model that is trained from scratch: what a model asks for when it loads becomes a variable with a first value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Tensor, Var};
use nn::{Stream, Weights};

use crate::error::LoraError;

/// Named variables.
#[derive(Debug, Clone)]
pub struct Variables {
    variables: BTreeMap<String, Var>,
}

/// Tensors that a model does not draw: constants that are never trained, and first values of variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    pub(super) constants: BTreeMap<String, Tensor>,
    pub(super) first_values: BTreeMap<String, Tensor>,
}

impl Variables {
    /// Loads a model whose tensors are variables, but for the constants. A first value that is not given is drawn as PyTorch's layers
    /// draw it, but for biases, which begin at zero, and for layers named in `zeros`, which let nothing through at first.
    ///
    /// # Errors
    /// What `load` returns.
    pub(super) fn initialise<M>(
        random: &Stream,
        given: &Given,
        zeros: &'static [&'static str],
        device: &Device,
        load: impl FnOnce(&Weights) -> std::result::Result<M, LoraError>,
    ) -> std::result::Result<(M, Self), LoraError> {
        let made: Arc<Mutex<BTreeMap<String, Var>>> = Arc::default();
        let (seen, given, random, device) = (
            Arc::clone(&made),
            given.clone(),
            random.clone(),
            device.clone(),
        );
        let weights = Weights::made_up(move |name, shape| {
            if let Some(constant) = given.constants.get(name) {
                return constant.to_device(&device);
            }
            let first = match given.first_values.get(name) {
                Some(value) => value.to_device(&device)?.reshape(shape)?,
                None => first_value(name, shape, zeros, &random.named(name), &device)?,
            };
            let variable = Var::from_tensor(&first)?;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(name.to_owned(), variable.clone());
            Ok(variable.as_tensor().clone())
        });
        let model = load(&weights)?;
        let made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let variables = made.clone();
        Ok((model, Self { variables }))
    }

    /// Names and variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.variables.iter()
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.variables.values().map(|v| v.elem_count()).sum()
    }

    /// Names and variables of those whose name `chosen` accepts, and of the others.
    pub(super) fn parted(&self, chosen: impl Fn(&str, &Var) -> bool) -> [Vec<(String, Var)>; 2] {
        let all = self.iter().map(|(name, var)| (name.clone(), var.clone()));
        let (yes, no) = all.partition(|(name, var)| chosen(name, var));
        [yes, no]
    }

    /// Names and variables as a list.
    pub(super) fn list(&self) -> Vec<(String, Var)> {
        let copy = |(name, var): (&String, &Var)| (name.clone(), var.clone());
        self.iter().map(copy).collect()
    }

    /// A copy of every value.
    pub(super) fn values(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy =
            |(name, var): (&String, &Var)| Ok((name.clone(), var.as_tensor().copy()?.detach()));
        self.iter().map(copy).collect()
    }

    /// Sets every variable.
    ///
    /// # Errors
    /// When a value is missing or has another shape.
    pub(super) fn set(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, variable) in self.iter() {
            let value = values
                .get(name)
                .ok_or_else(|| candle_core::Error::Msg(format!("no value of {name}")))?;
            variable.set(&value.to_device(variable.device())?)?;
        }
        Ok(())
    }

    /// Runs `work` with other values in the variables, then puts the own ones back.
    ///
    /// # Errors
    /// As [`set`](Self::set), and what `work` returns.
    pub(super) fn with_values<T>(
        &self,
        values: &BTreeMap<String, Tensor>,
        work: impl FnOnce() -> std::result::Result<T, LoraError>,
    ) -> std::result::Result<T, LoraError> {
        let own = self.values()?;
        self.set(values)?;
        let result = work();
        self.set(&own)?;
        result
    }
}

fn first_value(
    name: &str,
    shape: &[usize],
    zeros: &[&str],
    random: &Stream,
    device: &Device,
) -> Result<Tensor> {
    let is_zero = |part: &&str| name.ends_with(*part);
    let dtype = candle_core::DType::F32;
    let is_bias = ["bias", "gamma", "beta"]
        .iter()
        .any(|last| name.ends_with(last));
    if is_bias || zeros.iter().any(is_zero) {
        return Tensor::zeros(shape, dtype, device);
    }
    if shape.len() == 1 {
        return Tensor::ones(shape, dtype, device);
    }
    // Tables of vectors, which no sum runs over.
    if name.ends_with("text_embed.text_embed.weight") || name.ends_with("tag_vectors") {
        return random.normal(shape, device);
    }
    let inputs: usize = shape[1..].iter().product();
    let bound = 1.0 / (inputs.max(1) as f64).sqrt();
    random.uniform(shape, device)?.affine(2.0 * bound, -bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_load_variables_and_constants() {
        let given = Given {
            constants: BTreeMap::from([(
                "mean".to_owned(),
                Tensor::new(&[7f32], &Device::Cpu).unwrap(),
            )]),
            first_values: BTreeMap::new(),
        };
        let random = Stream::new(3);
        let load = |weights: &Weights| {
            let root = weights.root();
            Ok([
                root.get("mean", &[1])?,
                root.pp("head").get("weight", &[2, 2])?,
                root.pp("layer").get("weight", &[2, 16])?,
                root.pp("layer").get("bias", &[2])?,
                root.pp("norm").get("weight", &[2])?,
            ])
        };
        let (tensors, variables) =
            Variables::initialise(&random, &given, &["head.weight"], &Device::Cpu, load).unwrap();
        let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["head.weight", "layer.bias", "layer.weight", "norm.weight"]
        );
        assert_eq!(variables.count(), 4 + 2 + 32 + 2);
        assert!(!tensors[0].is_variable() && tensors[2].is_variable());
        let drawn = tensors[2].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(drawn.iter().all(|value| value.abs() <= 0.25));
        assert!(drawn.iter().any(|value| value.abs() > 0.1));
        assert_eq!(tensors[1].to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
        // What is set is seen by the model.
        let mut values = variables.values().unwrap();
        values.insert(
            "norm.weight".into(),
            Tensor::new(&[5f32, 6.0], &Device::Cpu).unwrap(),
        );
        let inside = variables.with_values(&values, || Ok(tensors[4].to_vec1::<f32>()?));
        assert_eq!(inside.unwrap(), [5.0, 6.0]);
        assert_eq!(tensors[4].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
    }
}
