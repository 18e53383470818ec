//! Central finite differences.

use crate::sample::pseudo_random;
use candle_core::{Result, Tensor, Var};

/// Step of the central difference: for f32 the rounding error (about 1e-7 / step) and the curvature (about step^2)
/// are then both near 1e-4.
const STEP: f64 = 1e-2;
/// Allowed difference relative to the largest gradient of the same input.
const TOLERANCE: f64 = 3e-3;

/// Checks the gradient of `function` for every input against central differences.
///
/// The output, of any shape, is reduced to a number by fixed random weights, so that no two gradients cancel.
///
/// # Panics
/// When an input gets no gradient or a wrong one; the message names the input's number and the worst element.
#[track_caller]
pub fn assert_gradients(
    name: &str,
    inputs: &[Tensor],
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    assert_gradients_within(name, inputs, TOLERANCE, function);
}

/// [`assert_gradients`] with a tolerance of one's own, relative to the largest gradient of each input.
#[track_caller]
pub fn assert_gradients_within(
    name: &str,
    inputs: &[Tensor],
    tolerance: f64,
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let vars: Vec<Var> = inputs
        .iter()
        .map(|input| Var::from_tensor(input).expect("an input makes a variable"))
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let output = function(&tensors).unwrap_or_else(|error| panic!("{name}: forward: {error}"));
    let weights = pseudo_random(output.dims(), 977);
    let gradients = (&output * &weights)
        .and_then(|product| product.sum_all())
        .and_then(|sum| sum.backward())
        .unwrap_or_else(|error| panic!("{name}: backward: {error}"));

    let weights = flat(&weights);
    let evaluate = |inputs: &[Tensor]| -> f64 {
        let output = function(inputs).unwrap_or_else(|error| panic!("{name}: forward: {error}"));
        flat(&output).iter().zip(&weights).map(|(a, b)| a * b).sum()
    };
    for (number, var) in vars.iter().enumerate() {
        let found = gradients
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{name}: no gradient for input {number}"));
        assert_eq!(
            found.dims(),
            var.dims(),
            "{name}: gradient's shape for input {number}"
        );
        let expected = differences(inputs, number, &evaluate);
        if let Err(message) = crate::compare(
            &format!("{name}: gradient of input {number}"),
            found,
            &expected,
            tolerance,
        ) {
            panic!("{message}");
        }
    }
}

fn differences(inputs: &[Tensor], number: usize, evaluate: &dyn Fn(&[Tensor]) -> f64) -> Tensor {
    let values: Vec<f32> = inputs[number]
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("f32 input");
    let moved = |position: usize, step: f64| {
        let mut values = values.clone();
        values[position] = (f64::from(values[position]) + step) as f32;
        let exact_step = f64::from(values[position]);
        let mut inputs: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
        inputs[number] = Tensor::from_vec(values, inputs[number].dims(), inputs[number].device())
            .expect("as many values as before");
        (evaluate(&inputs), exact_step)
    };
    let gradient: Vec<f32> = (0..values.len())
        .map(|position| {
            let ((above, upper), (below, lower)) = (moved(position, STEP), moved(position, -STEP));
            ((above - below) / (upper - lower)) as f32
        })
        .collect();
    Tensor::from_vec(gradient, inputs[number].dims(), inputs[number].device())
        .expect("one difference per element")
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let values: Vec<f32> = tensor
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("f32 output");
    values.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_right_gradients() {
        let inputs = [pseudo_random((2, 3), 1), pseudo_random((3, 4), 2)];
        assert_gradients("matmul", &inputs, |t| t[0].matmul(&t[1])?.sin());
    }

    #[test]
    #[should_panic(expected = "no gradient for input 0")]
    fn notices_a_dropped_gradient() {
        assert_gradients(
            "detached",
            &[pseudo_random(3, 1), pseudo_random(3, 2)],
            |t| t[0].detach() * &t[1],
        );
    }

    #[test]
    #[should_panic(expected = "gradient of input 0")]
    fn notices_a_wrong_gradient() {
        assert_gradients("half detached", &[pseudo_random(3, 1)], |t| {
            &t[0] * t[0].detach()
        });
    }
}
