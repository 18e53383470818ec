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
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.to_dtype(weight.dtype())?
        .matmul(weight)?
        .to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::LoraWeights;
    use crate::random::Stream;
    use candle_core::Var;
    use testing::{assert_close, pseudo_random};

    #[test]
    fn agrees_with_the_kernel() {
        for batch in [1, 2] {
            for dropout in [0.0, 0.25] {
                let x = Var::from_tensor(&pseudo_random((batch, 3, 5), 1)).unwrap();
                let a = Var::from_tensor(&pseudo_random((2, 5), 2)).unwrap();
                let b = Var::from_tensor(&pseudo_random((4, 2), 3)).unwrap();
                let bias = Some(pseudo_random(4, 4));
                let mut layer = Linear::new("layer", pseudo_random((4, 5), 5), bias).unwrap();
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
                let expected = layer.forward(&x, &mode).unwrap();
                let found = forward(&layer, &x, &mode).unwrap();
                assert_close("value", &found, &expected, 1e-6);
                let weights = pseudo_random(expected.dims(), 6);
                let gradients = |y: &Tensor| (y * &weights).unwrap().sum_all().unwrap().backward();
                let (expected, found) = (gradients(&expected).unwrap(), gradients(&found).unwrap());
                for (name, variable) in [("x", &x), ("a", &a), ("b", &b)] {
                    let (found, expected) = (
                        found.get(variable).unwrap(),
                        expected.get(variable).unwrap(),
                    );
                    assert_close(name, found, expected, 1e-6);
                }
            }
        }
    }
}
