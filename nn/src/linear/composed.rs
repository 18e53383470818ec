//! The linear layer of candle's own products, for devices on which there is no kernel of ours (CUDA). A frozen weight gets no
//! gradient here either, and may be kept in 16 bits: then the product's operands are, and its result is f32 again.

use super::Linear;
use super::stored::Stored;
use crate::known::with_backward;
use crate::mode::Mode;
use candle_core::{DType, Result, Tensor};

/// As [`Linear::forward`].
pub(super) fn forward(layer: &Linear, x: &Tensor, mode: &Mode) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let x = x.reshape(((), layer.in_features()))?;
    let trained = layer.weight.track_op() || layer.bias.as_ref().is_some_and(Tensor::track_op);
    let mut y = match trained {
        true => x.matmul(&layer.weight.in_memory()?.t()?)?,
        false => frozen(&x, &layer.weight)?,
    };
    if let Some(bias) = &layer.bias {
        y = y.broadcast_add(bias)?;
    }
    for (number, adapter) in layer.acting(mode) {
        let dropped = match layer.keep_mask(number, adapter.dropout, &x, mode) {
            None => x.clone(),
            Some(keep) => dropped(&x, keep, adapter.dropout)?,
        };
        let low = dropped.matmul(&adapter.a.t()?)?;
        y = (y + (low.matmul(&adapter.b.t()?)? * adapter.scale)?)?;
    }
    if let Some(last) = shape.last_mut() {
        *last = layer.out_features();
    }
    y.reshape(shape)
}

/// `x` without what is not kept, the rest grown so that the expected value stays.
pub(super) fn dropped(x: &Tensor, keep: Vec<u8>, probability: f64) -> Result<Tensor> {
    let keep = Tensor::from_vec(keep, x.shape(), x.device())?;
    (x * keep.to_dtype(DType::F32)?)? * (1.0 / (1.0 - probability))
}

/// `x W^T` with a gradient for x alone. A weight that is kept in fewer bits is widened for each of the two products, and
/// not kept between them.
pub(super) fn frozen(x: &Tensor, weight: &Stored) -> Result<Tensor> {
    let y = product(&x.detach(), &weight.in_memory()?.t()?)?;
    let weight = weight.clone();
    with_backward(x, &y, move |gradient| {
        product(gradient, &weight.in_memory()?)
    })
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
    use crate::linear::four_bit::{FourBit, FourBitCode, FourBitTensors};
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

    #[test]
    fn four_bits_in_tensors_are_the_same_weight() {
        for (block, shape) in [(64, (5, 67)), (32, (33, 130)), (64, (130, 192))] {
            for double in [false, true] {
                let values = pseudo_random_on(shape, 1, &Device::Cpu);
                let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let kept = FourBit::quantise(&values, FourBitCode::Nf4, block, double).unwrap();
                let tensors = FourBitTensors::new(&kept, shape, &device()).unwrap();
                let expected = Tensor::from_vec(kept.dequantised(), shape, &device()).unwrap();
                assert_close("weight", &tensors.widened().unwrap(), &expected, 1e-7);
            }
        }
    }

    #[test]
    fn four_bits_in_tensors_multiply_and_have_the_gradient() {
        let layer = Linear::new("x", pseudo_random_on((5, 67), 1, &device()), None).unwrap();
        let mut kept = layer.clone();
        kept.weight = Stored::four_bit_on_device(&layer.weight().unwrap()).unwrap();
        let plain = Linear::new("x", kept.weight().unwrap(), None).unwrap();
        for batch in [1, 2] {
            let x = Var::from_tensor(&pseudo_random_on((batch, 3, 67), 2, &device())).unwrap();
            let run = |layer: &Linear| {
                let y = forward(layer, &x, &Mode::Inference).unwrap();
                let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                (y, gradients.get(&x).unwrap().clone())
            };
            let ((y, gradient), (expected, expected_gradient)) = (run(&kept), run(&plain));
            assert_close("value", &y, &expected, 1e-6);
            assert_close("gradient", &gradient, &expected_gradient, 1e-6);
        }
    }
}
