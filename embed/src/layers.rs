//! Small parts that both towers are made of.

use candle_core::{D, Tensor};
use nn::ops::layer_norm;
use nn::{Linear, Mode, Scope};

use crate::EmbedError;

/// The epsilon of PyTorch's `LayerNorm` and `BatchNorm` where nothing else is said.
pub(crate) const NORM_EPSILON: f64 = 1e-5;
/// Vectors are divided by their length or this, whichever is larger (`torch.nn.functional.normalize`).
const SMALLEST_LENGTH: f64 = 1e-12;

/// Layer norm over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn load(scope: &Scope, width: usize, epsilon: f64) -> Result<Self, EmbedError> {
        Ok(Self {
            weight: scope.get("weight", &[width])?,
            bias: scope.get("bias", &[width])?,
            epsilon,
        })
    }

    /// MuLan's norm, which has a gain alone.
    pub(crate) fn load_gain(scope: &Scope, width: usize) -> Result<Self, EmbedError> {
        let weight = scope.get("learned_gamma", &[width])?;
        Ok(Self {
            bias: weight.zeros_like()?,
            weight,
            epsilon: NORM_EPSILON,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, EmbedError> {
        Ok(layer_norm(
            x,
            Some((&self.weight, &self.bias)),
            self.epsilon,
        )?)
    }
}

/// A batch norm in evaluation, folded into the convolution before it.
pub(crate) struct FoldedNorm {
    scale: Tensor,
    mean: Tensor,
    bias: Tensor,
}

impl FoldedNorm {
    pub(crate) fn load(scope: &Scope, channels: usize) -> Result<Self, EmbedError> {
        // How many batches the statistics are of.
        scope.leave("num_batches_tracked");
        let get = |name| scope.get(name, &[channels]);
        let variance = get("running_var")?;
        if variance.min_all()?.to_scalar::<f32>()? < 0.0 {
            return Err(EmbedError::Config {
                origin: scope.weights().origin().to_owned(),
                reason: format!(
                    "{}.running_var is negative; the file is damaged, download it again",
                    scope.path()
                ),
            });
        }
        Ok(Self {
            scale: (get("weight")? / (variance + NORM_EPSILON)?.sqrt()?)?,
            mean: get("running_mean")?,
            bias: get("bias")?,
        })
    }

    /// Weight `[channels, ..]` and bias `[channels]` of the convolution that does both.
    pub(crate) fn fold(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor), EmbedError> {
        let rows = weight.flatten_from(1)?;
        let folded = rows
            .broadcast_mul(&self.scale.unsqueeze(1)?)?
            .reshape(weight.dims())?;
        let mean = match bias {
            Some(bias) => (&self.mean - bias)?,
            None => self.mean.clone(),
        };
        Ok((folded, (&self.bias - (mean * &self.scale)?)?))
    }
}

/// A linear layer in inference.
pub(crate) fn linear(layer: &Linear, x: &Tensor) -> Result<Tensor, EmbedError> {
    Ok(layer.forward(x, &Mode::Inference)?)
}

/// Vectors of length one along the last dimension.
pub(crate) fn unit_length(x: &Tensor) -> Result<Tensor, EmbedError> {
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    Ok(x.broadcast_div(&length.maximum(SMALLEST_LENGTH)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use nn::Weights;
    use std::collections::HashMap;

    fn norm(variance: f32) -> Result<FoldedNorm, EmbedError> {
        let tensor = |values: [f32; 2]| Tensor::new(&values, &Device::Cpu).unwrap();
        let tensors = HashMap::from([
            ("weight".to_owned(), tensor([2.0, 3.0])),
            ("bias".to_owned(), tensor([0.5, -0.5])),
            ("running_mean".to_owned(), tensor([1.0, -1.0])),
            ("running_var".to_owned(), tensor([4.0, variance])),
        ]);
        FoldedNorm::load(&Weights::from_tensors(tensors, "test").root(), 2)
    }

    #[test]
    fn a_folded_norm_is_the_norm_of_the_result() {
        let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let bias = Tensor::new(&[0.25f32, 0.75], &Device::Cpu).unwrap();
        let (folded, shift) = norm(9.0).unwrap().fold(&weight, Some(&bias)).unwrap();
        let x = Tensor::new(&[[0.3f32], [-0.7]], &Device::Cpu).unwrap();
        let found = folded
            .matmul(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .add(&shift)
            .unwrap();
        let plain = [0.3 - 1.4 + 0.25, 0.9 - 2.8 + 0.75];
        let expected: Vec<f32> = (0..2)
            .map(|c| {
                ([2.0, 3.0][c] * (plain[c] - [1.0, -1.0][c])
                    / ([4.0f64, 9.0][c] + NORM_EPSILON).sqrt()
                    + [0.5, -0.5][c]) as f32
            })
            .collect();
        testing::assert_close(
            "folded",
            &found,
            &Tensor::new(expected, &Device::Cpu).unwrap(),
            1e-6,
        );
    }

    #[test]
    fn impossible_statistics_are_named() {
        let message = norm(-1.0).err().unwrap().to_string();
        assert!(message.contains("running_var is negative"), "{message}");
    }

    #[test]
    fn nothing_has_no_direction() {
        let x = Tensor::new(&[[3f32, 4.0], [0.0, 0.0]], &Device::Cpu).unwrap();
        assert_eq!(
            unit_length(&x).unwrap().to_vec2::<f32>().unwrap(),
            [[0.6, 0.8], [0.0, 0.0]]
        );
    }
}
