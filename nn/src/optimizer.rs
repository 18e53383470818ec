//! AdamW (Loshchilov and Hutter 2019) with PyTorch's conventions, and clipping by the global norm.
//!
//! Weights and both moments are f32: in half precision updates vanish or the moments overflow.

use crate::simd::{PARALLEL_MIN, vectorized};
use crate::storage::with_values;
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What keeps the clipping factor finite; PyTorch's value.
const CLIP_EPSILON: f64 = 1e-6;

/// Everything but the learning rate, which a schedule gives step by step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWOptions {
    /// Memory of the mean of gradients.
    pub beta1: f64,
    /// Memory of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean.
    pub epsilon: f64,
    /// Share of each weight taken off per unit of learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
        }
    }
}

/// Named variables with their moments.
pub struct AdamW {
    options: AdamWOptions,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    var: Var,
    mean: Vec<f32>,
    square: Vec<f32>,
    /// Multiple of the learning rate that this one takes.
    rate_ratio: f64,
    /// Updates so far; a variable that got no gradient in a step is left alone and does not count it.
    steps: u32,
}

impl AdamW {
    /// Starts with moments of zero.
    ///
    /// # Errors
    /// When a variable is not f32.
    pub fn new(vars: Vec<(String, Var)>, options: AdamWOptions) -> Result<Self> {
        let parameters = vars
            .into_iter()
            .map(|(name, var)| {
                if var.dtype() != candle_core::DType::F32 {
                    bail!("{name}: trained weights must be f32, not {:?}", var.dtype());
                }
                let count = var.elem_count();
                Ok(Parameter {
                    name,
                    var,
                    mean: vec![0.0; count],
                    square: vec![0.0; count],
                    rate_ratio: 1.0,
                    steps: 0,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            options,
            parameters,
        })
    }

    /// Lets some parameters learn at a multiple of the rate, found by their names (LoRA+, Hayou et al. 2024, arXiv:2402.12354: the factors
    /// B at a higher one than A).
    #[must_use]
    pub fn with_rate_ratios(mut self, ratio_of: impl Fn(&str) -> f64) -> Self {
        for parameter in &mut self.parameters {
            parameter.rate_ratio = ratio_of(&parameter.name);
        }
        self
    }

    /// L2 norm over the gradients of all parameters.
    ///
    /// # Errors
    /// When a gradient is not f32.
    pub fn gradient_norm(&self, gradients: &GradStore) -> Result<f64> {
        let mut total = 0.0;
        for parameter in &self.parameters {
            if let Some(gradient) = gradients.get(parameter.var.as_tensor()) {
                total += with_values("norm", [&on_cpu(gradient)?], |[values]| {
                    Ok(values
                        .iter()
                        .map(|&value| f64::from(value) * f64::from(value))
                        .sum::<f64>())
                })?;
            }
        }
        Ok(total.sqrt())
    }

    /// One update with every gradient multiplied by `factor` (see [`clip_factor`]; 1 changes nothing). Parameters
    /// without a gradient stay as they are. Gives the L2 norm of the change.
    ///
    /// # Errors
    /// When a gradient is not f32.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64, factor: f64) -> Result<f64> {
        let mut change = 0.0;
        for parameter in &mut self.parameters {
            if let Some(gradient) = gradients.get(parameter.var.as_tensor()) {
                let rate = learning_rate * parameter.rate_ratio;
                change +=
                    parameter.update(&on_cpu(gradient)?, &self.options, rate, factor as f32)?;
            }
        }
        Ok(change.sqrt())
    }

    /// The trained variables, in the order given to [`new`](Self::new).
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.parameters
            .iter()
            .map(|parameter| (parameter.name.as_str(), &parameter.var))
    }

    /// Moments and step counts under the parameters' names, to save; [`restore`](Self::restore) takes them back.
    ///
    /// # Errors
    /// When candle fails.
    pub fn state(&self) -> Result<HashMap<String, Tensor>> {
        let mut state = HashMap::new();
        for Parameter {
            name,
            var,
            mean,
            square,
            steps,
            ..
        } in &self.parameters
        {
            state.insert(
                format!("{name}.mean"),
                Tensor::from_slice(mean, var.shape(), &Device::Cpu)?,
            );
            state.insert(
                format!("{name}.square"),
                Tensor::from_slice(square, var.shape(), &Device::Cpu)?,
            );
            state.insert(format!("{name}.steps"), Tensor::new(*steps, &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// When a parameter's tensors are missing or have another shape; nothing is changed then.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let mut found = Vec::new();
        for parameter in &self.parameters {
            let get = |part: &str| {
                let name = format!("{}.{part}", parameter.name);
                state.get(&name).ok_or_else(|| {
                    candle_core::Error::Msg(format!("optimizer state: {name} is missing"))
                })
            };
            let (mean, square, steps) = (
                get("mean")?,
                get("square")?,
                get("steps")?.to_scalar::<u32>()?,
            );
            if mean.dims() != parameter.var.dims() || square.dims() != parameter.var.dims() {
                bail!(
                    "optimizer state: {} has shape {:?}, expected {:?}",
                    parameter.name,
                    mean.shape(),
                    parameter.var.shape()
                );
            }
            found.push((
                mean.flatten_all()?.to_vec1()?,
                square.flatten_all()?.to_vec1()?,
                steps,
            ));
        }
        for (parameter, (mean, square, steps)) in self.parameters.iter_mut().zip(found) {
            parameter.mean = mean;
            parameter.square = square;
            parameter.steps = steps;
        }
        Ok(())
    }
}

/// Adapters are small: their update is computed on the CPU wherever the model runs.
fn on_cpu(gradient: &Tensor) -> Result<Tensor> {
    gradient.to_device(&Device::Cpu)?.contiguous()
}

impl Parameter {
    /// The squared norm of the change.
    fn update(
        &mut self,
        gradient: &Tensor,
        options: &AdamWOptions,
        rate: f64,
        factor: f32,
    ) -> Result<f64> {
        self.steps += 1;
        let steps = self.steps as i32;
        let keep = (1.0 - rate * options.weight_decay) as f32;
        let pace = (rate / (1.0 - options.beta1.powi(steps))) as f32;
        let root = (1.0 - options.beta2.powi(steps)).sqrt() as f32;
        let (beta1, beta2, epsilon) = (
            options.beta1 as f32,
            options.beta2 as f32,
            options.epsilon as f32,
        );
        let (rest1, rest2) = ((1.0 - options.beta1) as f32, (1.0 - options.beta2) as f32);
        let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
        let change = with_values("adamw", [gradient], |[gradient]| {
            let moments = self
                .mean
                .par_chunks_mut(PARALLEL_MIN)
                .zip(self.square.par_chunks_mut(PARALLEL_MIN));
            let weights = values
                .par_chunks_mut(PARALLEL_MIN)
                .zip(gradient.par_chunks(PARALLEL_MIN));
            // Added up in the order of the chunks, so that the sum is the same at any number of threads.
            let changes: Vec<f64> = moments
                .zip(weights)
                .map(|((mean, square), (values, gradient))| {
                    vectorized(|| {
                        let mut change = 0.0f32;
                        let moments = mean.iter_mut().zip(square.iter_mut());
                        for ((mean, square), (value, gradient)) in
                            moments.zip(values.iter_mut().zip(gradient))
                        {
                            let gradient = gradient * factor;
                            *mean = beta1 * *mean + rest1 * gradient;
                            *square = beta2 * *square + rest2 * gradient * gradient;
                            let before = *value;
                            *value =
                                before * keep - pace * *mean / (square.sqrt() / root + epsilon);
                            change += (*value - before) * (*value - before);
                        }
                        f64::from(change)
                    })
                })
                .collect();
            Ok(changes.iter().sum())
        })?;
        self.var.set(&Tensor::from_vec(
            values,
            self.var.shape(),
            self.var.device(),
        )?)?;
        Ok(change)
    }
}

/// What to multiply gradients of a norm with, so that it does not pass a maximum (`torch.nn.utils.clip_grad_norm_`).
/// A maximum of zero or less does not clip.
pub fn clip_factor(norm: f64, maximum: f64) -> f64 {
    if maximum <= 0.0 {
        return 1.0;
    }
    (maximum / (norm + CLIP_EPSILON)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(values: &[f32]) -> (Var, AdamW) {
        let var = Var::new(values, &Device::Cpu).unwrap();
        let optimizer =
            AdamW::new(vec![("w".into(), var.clone())], AdamWOptions::default()).unwrap();
        (var, optimizer)
    }

    fn loss(var: &Var, target: &[f32]) -> Tensor {
        let target = Tensor::new(target, &Device::Cpu).unwrap();
        (var.as_tensor() - target)
            .unwrap()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
    }

    /// The update written out for one weight in f64.
    #[test]
    fn matches_the_formula() {
        let (var, mut optimizer) = setup(&[1.0]);
        let (mut weight, mut mean, mut square) = (1.0f64, 0.0, 0.0);
        for step in 1..=20 {
            let gradients = loss(&var, &[3.0]).backward().unwrap();
            optimizer.step(&gradients, 0.05, 0.5).unwrap();
            let gradient = 0.5 * 2.0 * (weight - 3.0);
            mean = 0.9 * mean + 0.1 * gradient;
            square = 0.999 * square + 0.001 * gradient * gradient;
            let (mean, square) = (
                mean / (1.0 - 0.9f64.powi(step)),
                square / (1.0 - 0.999f64.powi(step)),
            );
            weight -= 0.05 * 0.01 * weight;
            weight -= 0.05 * mean / (square.sqrt() + 1e-8);
        }
        let found = f64::from(var.to_vec1::<f32>().unwrap()[0]);
        assert!((found - weight).abs() < 1e-5, "{found} {weight}");
    }

    #[test]
    fn a_step_tells_how_far_it_went_and_rates_may_differ() {
        let step = |ratio: f64| {
            let (var, optimizer) = setup(&[1.0, 4.0]);
            let mut optimizer = optimizer.with_rate_ratios(|_| ratio);
            let gradients = loss(&var, &[3.0, 3.0]).backward().unwrap();
            let change = optimizer.step(&gradients, 0.01, 1.0).unwrap();
            let after = var.to_vec1::<f32>().unwrap();
            let norm = (after[0] - 1.0).hypot(after[1] - 4.0);
            assert!((change - f64::from(norm)).abs() < 1e-6);
            change
        };
        assert!((step(16.0) / step(1.0) - 16.0).abs() < 1e-3);
    }

    #[test]
    fn norm_and_clipping() {
        let (var, optimizer) = setup(&[0.0, 0.0]);
        let gradients = loss(&var, &[1.5, 2.0]).backward().unwrap();
        let norm = optimizer.gradient_norm(&gradients).unwrap();
        assert!((norm - 5.0).abs() < 1e-6);
        assert!((clip_factor(norm, 1.0) - 0.2).abs() < 1e-6);
        assert_eq!(clip_factor(norm, 10.0), 1.0);
        assert_eq!(clip_factor(norm, 0.0), 1.0);
    }

    #[test]
    fn a_restored_optimizer_continues_exactly() {
        let (one, mut first) = setup(&[1.0, -2.0]);
        let run = |var: &Var, optimizer: &mut AdamW, steps: usize| {
            for _ in 0..steps {
                let gradients = loss(var, &[0.5, 3.0]).backward().unwrap();
                optimizer.step(&gradients, 0.1, 1.0).unwrap();
            }
        };
        run(&one, &mut first, 5);
        let (two, mut second) = setup(&one.to_vec1::<f32>().unwrap());
        second.restore(&first.state().unwrap()).unwrap();
        run(&one, &mut first, 5);
        run(&two, &mut second, 5);
        assert_eq!(one.to_vec1::<f32>().unwrap(), two.to_vec1::<f32>().unwrap());
    }

    #[test]
    fn a_state_that_does_not_fit_changes_nothing() {
        let (_, mut optimizer) = setup(&[1.0]);
        let (_, other) = setup(&[1.0, 2.0]);
        let message = optimizer
            .restore(&other.state().unwrap())
            .unwrap_err()
            .to_string();
        assert!(message.contains("optimizer state: w"), "{message}");
        assert!(optimizer.restore(&HashMap::new()).is_err());
    }
}
