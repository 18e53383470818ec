//! Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), for matrices that are trained from scratch:
//! the mean of gradients is made nearly orthogonal before it is taken off the weights.
//!
//! Conventions are those of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` (Liu et al. 2025, "Muon is Scalable for LLM
//! Training"): an update is as large as AdamW's usually is, so that both take the same learning rate.

use crate::matrix::{MatrixMut, MatrixRef, Threads};
use crate::storage::with_values;
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use rayon::prelude::*;
use std::collections::HashMap;

/// Coefficients of the polynomial `a x + b x^3 + c x^5` that draws singular values to one, and how often it is applied.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;
/// Keeps the norm of a zero gradient from dividing by zero.
const SMALLEST_NORM: f32 = 1e-7;
/// The root mean square of AdamW's updates, which ours are brought to.
const UPDATE_RMS: f64 = 0.2;

/// Everything but the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonOptions {
    /// Memory of the mean of gradients; Nesterov's form.
    pub momentum: f64,
    /// Share of each weight taken off per unit of learning rate.
    pub weight_decay: f64,
}

impl Default for MuonOptions {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            weight_decay: 0.1,
        }
    }
}

/// Named matrices with the mean of their gradients.
pub struct Muon {
    options: MuonOptions,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    var: Var,
    rows: usize,
    columns: usize,
    mean: Vec<f32>,
}

impl Muon {
    /// Starts with means of zero.
    ///
    /// # Errors
    /// When a variable is not a matrix.
    pub fn new(variables: Vec<(String, Var)>, options: MuonOptions) -> Result<Self> {
        let parameter = |(name, var): (String, Var)| {
            let &[rows, columns] = var.dims() else {
                bail!("muon: {name} has shape {:?}, no matrix", var.shape());
            };
            Ok(Parameter {
                name,
                var,
                rows,
                columns,
                mean: vec![0.0; rows * columns],
            })
        };
        Ok(Self {
            options,
            parameters: variables
                .into_iter()
                .map(parameter)
                .collect::<Result<_>>()?,
        })
    }

    /// One update with every gradient multiplied by `factor`; a matrix without a gradient stays as it is.
    ///
    /// # Errors
    /// When a gradient is not f32.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64, factor: f64) -> Result<()> {
        let options = self.options;
        self.parameters.par_iter_mut().try_for_each(|parameter| {
            let Some(gradient) = gradients.get(parameter.var.as_tensor()) else {
                return Ok(());
            };
            let gradient = gradient.to_device(&Device::Cpu)?.contiguous()?;
            parameter.update(&gradient, &options, learning_rate, factor as f32)
        })
    }

    /// The means under the parameters' names, to save; [`restore`](Self::restore) takes them back.
    ///
    /// # Errors
    /// When candle fails.
    pub fn state(&self) -> Result<HashMap<String, Tensor>> {
        let saved = |parameter: &Parameter| {
            let shape = (parameter.rows, parameter.columns);
            let mean = Tensor::from_slice(&parameter.mean, shape, &Device::Cpu)?;
            Ok((format!("{}.momentum", parameter.name), mean))
        };
        self.parameters.iter().map(saved).collect()
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// When a mean is missing or has another shape; nothing is changed then.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let saved = |parameter: &Parameter| {
            let name = format!("{}.momentum", parameter.name);
            match state.get(&name) {
                Some(mean) if mean.dims() == [parameter.rows, parameter.columns] => {
                    mean.flatten_all()?.to_vec1::<f32>()
                }
                Some(mean) => bail!(
                    "optimizer state: {name} has shape {:?}, expected {:?}",
                    mean.shape(),
                    parameter.var.shape()
                ),
                None => bail!("optimizer state: {name} is missing"),
            }
        };
        let found: Vec<_> = self.parameters.iter().map(saved).collect::<Result<_>>()?;
        for (parameter, mean) in self.parameters.iter_mut().zip(found) {
            parameter.mean = mean;
        }
        Ok(())
    }
}

impl Parameter {
    fn update(
        &mut self,
        gradient: &Tensor,
        options: &MuonOptions,
        rate: f64,
        factor: f32,
    ) -> Result<()> {
        let momentum = options.momentum as f32;
        let mut direction = vec![0.0; self.mean.len()];
        with_values("muon", [gradient], |[gradient]| {
            let values = self.mean.iter_mut().zip(gradient).zip(&mut direction);
            for ((mean, gradient), direction) in values {
                let gradient = gradient * factor;
                *mean = momentum * *mean + (1.0 - momentum) * gradient;
                *direction = momentum * *mean + (1.0 - momentum) * gradient;
            }
            Ok(())
        })?;
        let direction = orthogonalised(direction, self.rows, self.columns);
        let keep = (1.0 - rate * options.weight_decay) as f32;
        let pace = (rate * UPDATE_RMS * (self.rows.max(self.columns) as f64).sqrt()) as f32;
        let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
        for (value, direction) in values.iter_mut().zip(&direction) {
            *value = *value * keep - pace * direction;
        }
        self.var.set(&Tensor::from_vec(
            values,
            self.var.shape(),
            self.var.device(),
        )?)
    }
}

/// The matrix `[rows, columns]` with its singular values drawn to about one (within .7 to 1.2), by Newton-Schulz iterations.
fn orthogonalised(matrix: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    // The products are of the smaller side's size.
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut x = match rows > columns {
        true => transposed(&matrix, rows, columns),
        false => matrix,
    };
    let norm = x.iter().map(|value| value * value).sum::<f32>().sqrt();
    let scale = 1.0 / norm.max(SMALLEST_NORM);
    x.iter_mut().for_each(|value| *value *= scale);
    let [a, b, c] = COEFFICIENTS;
    let (mut gram, mut polynomial) = (vec![0.0; short * short], vec![0.0; short * short]);
    let mut next = vec![0.0; x.len()];
    for _ in 0..ITERATIONS {
        let wide = MatrixRef::new(&x, short, long);
        MatrixMut::new(&mut gram, short, short).product(wide, wide.t(), 1.0, false, Threads::One);
        // b G + c G^2
        polynomial.copy_from_slice(&gram);
        polynomial.iter_mut().for_each(|value| *value *= b);
        let square = MatrixRef::new(&gram, short, short);
        MatrixMut::new(&mut polynomial, short, short).product(
            square,
            square,
            c,
            true,
            Threads::One,
        );
        // a X + (b G + c G^2) X
        next.copy_from_slice(&x);
        next.iter_mut().for_each(|value| *value *= a);
        let polynomial = MatrixRef::new(&polynomial, short, short);
        MatrixMut::new(&mut next, short, long).product(polynomial, wide, 1.0, true, Threads::One);
        std::mem::swap(&mut x, &mut next);
    }
    match rows > columns {
        true => transposed(&x, short, long),
        false => x,
    }
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| matrix[row * columns + column]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sines(count: usize, step: f32) -> Vec<f32> {
        (0..count)
            .map(|index| (index as f32 * 1.7 + step).sin())
            .collect()
    }

    /// A step along given gradients: the loss is their product with the weights.
    fn step(var: &Var, optimizer: &mut Muon, gradient: Vec<f32>) {
        let gradient = Tensor::from_vec(gradient, var.shape(), &Device::Cpu).unwrap();
        let loss = (var.as_tensor() * gradient).unwrap().sum_all().unwrap();
        optimizer.step(&loss.backward().unwrap(), 0.1, 1.0).unwrap();
    }

    fn matrix(shape: (usize, usize)) -> Var {
        let values: Vec<f32> = (0..6).map(|index| (index as f32 - 2.5) / 2.0).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn muon(var: &Var) -> Muon {
        let options = MuonOptions {
            weight_decay: 0.02,
            ..MuonOptions::default()
        };
        Muon::new(vec![("w".into(), var.clone())], options).unwrap()
    }

    /// Three steps of `torch.optim.Muon` 2.15, which iterates in bfloat16.
    #[test]
    fn follows_pytorch_within_its_precision() {
        let wide = [-1.28065, -0.786994, -0.199622, 0.29017, 0.674589, 1.21931];
        let tall = [
            -1.249242, -0.802693, -0.217169, 0.268186, 0.691916, 1.261445,
        ];
        for (shape, expected) in [((2, 3), wide), ((3, 2), tall)] {
            let var = matrix(shape);
            let mut optimizer = muon(&var);
            for count in 0..3 {
                step(&var, &mut optimizer, sines(6, count as f32));
            }
            let found = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 4e-3, "{found} {expected}");
            }
        }
    }

    #[test]
    fn directions_are_nearly_orthogonal_whatever_the_gradients_size() {
        for scale in [1e-4, 1.0, 1e4] {
            let values: Vec<f32> = sines(4 * 7, 0.3)
                .iter()
                .map(|value| value * scale)
                .collect();
            let x = orthogonalised(values, 4, 7);
            for row in 0..4 {
                let length: f32 = x[row * 7..(row + 1) * 7].iter().map(|v| v * v).sum();
                assert!((0.4..1.6).contains(&length), "{length}");
            }
        }
        let nothing = orthogonalised(vec![0.0; 12], 3, 4);
        assert!(nothing.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_restored_optimizer_continues_exactly() {
        let run = |var: &Var, optimizer: &mut Muon, counts: std::ops::Range<usize>| {
            for count in counts {
                step(var, optimizer, sines(6, count as f32));
            }
        };
        let one = matrix((2, 3));
        let mut first = muon(&one);
        run(&one, &mut first, 0..3);
        let two = Var::from_tensor(&one.as_tensor().copy().unwrap()).unwrap();
        let mut second = muon(&two);
        second.restore(&first.state().unwrap()).unwrap();
        run(&one, &mut first, 3..6);
        run(&two, &mut second, 3..6);
        assert_eq!(one.to_vec2::<f32>().unwrap(), two.to_vec2::<f32>().unwrap());
        assert!(second.restore(&HashMap::new()).is_err());
        let vector = Var::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        assert!(Muon::new(vec![("v".into(), vector)], MuonOptions::default()).is_err());
    }
}
