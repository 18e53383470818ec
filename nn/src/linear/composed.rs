//! The linear layer of candle's own products, for devices on which there is no kernel of ours (CUDA). A frozen weight gets no
//! gradient here either, and may be kept in 16 bits: then the product's operands are, and its result is f32 again.

use super::Linear;
use crate::known::with_backward;
use crate::mode::Mode;
use candle_core::{DType, Result, Tensor};

/// As [`Linear::forward`].
pub(super) fn forward(layer: &Linear, x: &Tensor, mode: &Mode) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let x = x.reshape(((), layer.in_features()))?;
    let weight = layer.weight.in_memory()?;
    let trained = weight.track_op() || layer.bias.as_ref().is_some_and(Tensor::track_op);
    let mut y = match trained {
        true => x.matmul(&weight.t()?)?,
        false => {
            let y = product(&x.detach(), &weight.t()?)?;
            with_backward(&x, &y, move |gradient| product(gradient, &weight))?
        }
    };
    if let Some(bias) = &layer.bias {
        y = y.broadcast_add(bias)?;
    }
    for (number, adapter) in layer.adapters.iter().enumerate() {
        let dropped = match layer.keep_mask(number, adapter, &x, mode) {
            None => x.clone(),
            Some(keep) => {
                let keep = Tensor::from_vec(keep, x.shape(), x.device())?;
                let factor = 1.0 / (1.0 - adapter.dropout);
                ((&x * keep.to_dtype(DType::F32)?)? * factor)?
            }
        };
        let low = dropped.matmul(&adapter.a.t()?)?;
        y = (y + (low.matmul(&adapter.b.t()?)? * adapter.scale)?)?;
    }
    if let Some(last) = shape.last_mut() {
        *last = layer.out_features();
    }
    y.reshape(shape)
}

/// In the weight's precision.
pub(super) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.to_dtype(weight.dtype())?
        .matmul(weight)?
        .to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::LoraWeights;
    use crate::random::Stream;
    use candle_core::{Device, Var};
    use testing::{assert_close, device, pseudo_random_on};

    /// A layer's value and its gradients for x, A and B, on a device.
    fn run(
        device: &Device,
        batch: usize,
        dropout: f64,
        forward: impl Fn(&Linear, &Tensor, &Mode) -> Result<Tensor>,
    ) -> Vec<Tensor> {
        let tensor = |shape: &[usize], seed| pseudo_random_on(shape, seed, device);
        let variable = |shape: &[usize], seed| Var::from_tensor(&tensor(shape, seed)).unwrap();
        let (x, a, b) = (
            variable(&[batch, 3, 5], 1),
            variable(&[2, 5], 2),
            variable(&[4, 2], 3),
        );
        let mut layer = Linear::new("layer", tensor(&[4, 5], 5), Some(tensor(&[4], 4))).unwrap();
        layer
            .attach(LoraWeights {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scale: 1.5,
                dropout,
            })
            .unwrap();
        let mode = Mode::Training {
            dropout: Stream::new(3),
            checkpoints: None,
        };
        let value = forward(&layer, &x, &mode).unwrap();
        let weights = tensor(value.dims(), 6);
        let sum = (&value * weights).unwrap().sum_all().unwrap();
        let gradients = sum.backward().unwrap();
        let mut results = vec![value];
        results.extend([&x, &a, &b].map(|variable| gradients.get(variable).unwrap().clone()));
        results
    }

    #[test]
    fn agrees_with_the_kernel() {
        for batch in [1, 2] {
            for dropout in [0.0, 0.25] {
                let expected = run(&Device::Cpu, batch, dropout, Linear::forward);
                let found = run(&device(), batch, dropout, forward);
                for (name, (found, expected)) in ["value", "x", "a", "b"]
                    .into_iter()
                    .zip(found.iter().zip(&expected))
                {
                    assert_close(name, found, expected, 1e-6);
                }
            }
        }
    }
}
