//! A running mean of the variables: calmer than the last weights, and often better (Polyak and Juditsky 1992).

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

/// What the names of its tensors begin with in a checkpoint.
const PREFIX: &str = "running_mean/";

/// The mean of every variable.
#[derive(Debug)]
pub(crate) struct RunningMean {
    decay: f64,
    means: BTreeMap<String, Tensor>,
}

impl RunningMean {
    /// Starts with the variables as they are; `decay` is the share of the mean that stays at each step.
    pub(crate) fn new(decay: f64, variables: &[(String, Var)]) -> Result<Self> {
        let copy = |(name, variable): &(String, Var)| {
            Ok((name.clone(), variable.as_tensor().copy()?.detach()))
        };
        let means = variables.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { decay, means })
    }

    /// Takes in the variables after step `step`, counted from 1. Early on it forgets faster, so that the start does not weigh on it.
    pub(crate) fn take_in(&mut self, step: usize, variables: &[(String, Var)]) -> Result<()> {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        for (name, variable) in variables {
            if let Some(mean) = self.means.get_mut(name) {
                *mean = ((&*mean * decay)? + (variable.as_detached_tensor() * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }

    /// The means, under the variables' names.
    pub(crate) fn means(&self) -> &BTreeMap<String, Tensor> {
        &self.means
    }

    /// Tensors for a checkpoint.
    pub(crate) fn state(&self) -> impl Iterator<Item = (String, Tensor)> {
        let named = |(name, mean): (&String, &Tensor)| (format!("{PREFIX}{name}"), mean.clone());
        self.means.iter().map(named)
    }

    /// Takes them back.
    ///
    /// # Errors
    /// When one is missing or has another shape; nothing is changed then.
    pub(crate) fn restore(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut means = BTreeMap::new();
        for (name, mean) in &self.means {
            let found = tensors.get(&format!("{PREFIX}{name}"));
            match found.filter(|found| found.dims() == mean.dims()) {
                Some(found) => means.insert(name.clone(), found.to_device(mean.device())?),
                None => candle_core::bail!("the running mean of {name} is not in it"),
            };
        }
        self.means = means;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn follows_slowly_and_survives_a_checkpoint() {
        let variable = Var::new(&[0.0f32, 1.0], &Device::Cpu).unwrap();
        let variables = [("x".to_owned(), variable.clone())];
        let mut mean = RunningMean::new(0.9, &variables).unwrap();
        variable
            .set(&Tensor::new(&[1.0f32, 1.0], &Device::Cpu).unwrap())
            .unwrap();
        let mut expected = 0.0;
        for step in 1..=100 {
            mean.take_in(step, &variables).unwrap();
            let decay = f64::min(0.9, (1.0 + step as f64) / (10.0 + step as f64));
            expected = expected * decay + (1.0 - decay);
        }
        let values = |mean: &RunningMean| mean.means()["x"].to_vec1::<f32>().unwrap();
        assert!((f64::from(values(&mean)[0]) - expected).abs() < 1e-6);
        assert_eq!(values(&mean)[1], 1.0);
        let state: BTreeMap<_, _> = mean.state().collect();
        let mut other = RunningMean::new(0.9, &variables).unwrap();
        other.restore(&state).unwrap();
        assert_eq!(values(&other), values(&mean));
        assert!(other.restore(&BTreeMap::new()).is_err());
    }
}
