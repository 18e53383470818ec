//! Tolerances relative to a tensor's maximum.

use crate::device::allowed;
use candle_core::{DType, Device, Tensor};

/// How far two tensors of equal shape lie apart, if that is further than allowed.
///
/// The rule is `max|actual - expected| <= relative * max|expected|`: one bound for the whole tensor, because values
/// near zero carry no relative precision of their own. A non-finite value anywhere is a failure. The bound is for the
/// CPU; what was computed on a CUDA device may lie [`CUDA_FACTOR`](crate::CUDA_FACTOR) times as far.
///
/// # Errors
/// A message with shapes, the worst place, both values there and the allowed difference.
pub fn compare(
    name: &str,
    actual: &Tensor,
    expected: &Tensor,
    relative: f64,
) -> Result<f64, String> {
    if actual.dims() != expected.dims() {
        return Err(format!(
            "{name}: shape {:?}, expected {:?}",
            actual.dims(),
            expected.dims()
        ));
    }
    let relative = allowed(relative, actual.device());
    let (found, wanted) = (values(actual), values(expected));
    // An infinite maximum would allow any difference.
    for (values, role) in [(&found, "found"), (&wanted, "expected")] {
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(format!(
                "{name}: {role} {} at {:?}",
                values[place],
                index(place, actual.dims())
            ));
        }
    }
    let maximum = wanted
        .iter()
        .fold(0f64, |most, value| most.max(value.abs()));
    let (place, worst) = found
        .iter()
        .zip(&wanted)
        .map(|(a, b)| (a - b).abs())
        .enumerate()
        .fold((0, 0f64), |best, here| {
            if here.1 > best.1 || here.1.is_nan() {
                here
            } else {
                best
            }
        });
    if worst <= relative * maximum {
        return Ok(if maximum > 0.0 { worst / maximum } else { 0.0 });
    }
    Err(format!(
        "{name}: differs by {worst:.3e} at {:?} (found {}, expected {}), allowed {:.3e} = {relative:.1e} of the maximum {maximum:.3e}",
        index(place, actual.dims()),
        found[place],
        wanted[place],
        relative * maximum,
    ))
}

/// Asserts [`compare`]; returns the difference relative to the maximum.
#[track_caller]
pub fn assert_close(name: &str, actual: &Tensor, expected: &Tensor, relative: f64) -> f64 {
    match compare(name, actual, expected, relative) {
        Ok(difference) => difference,
        Err(message) => panic!("{message}"),
    }
}

/// Asserts that shapes and every value are exactly equal.
#[track_caller]
pub fn assert_equal(name: &str, actual: &Tensor, expected: &Tensor) {
    assert_close(name, actual, expected, 0.0);
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_device(&Device::Cpu)
        .and_then(|tensor| tensor.to_dtype(DType::F64))
        .and_then(|tensor| tensor.flatten_all())
        .and_then(|tensor| tensor.to_vec1())
        .expect("a tensor's values can be read")
}

fn index(mut place: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (position, &size) in index.iter_mut().zip(dims).rev() {
        *position = place % size;
        place /= size;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn bound_is_relative_to_the_maximum() {
        let expected = tensor(&[100.0, 0.0]);
        assert!(compare("x", &tensor(&[100.0, 0.009]), &expected, 1e-4).is_ok());
        let message = compare("x", &tensor(&[100.0, 0.011]), &expected, 1e-4).unwrap_err();
        assert!(message.contains("at [1]"), "{message}");
    }

    #[test]
    fn shapes_and_non_finite_values_fail() {
        let expected = tensor(&[1.0, 2.0]);
        assert!(compare("x", &tensor(&[1.0]), &expected, 1.0).is_err());
        assert!(compare("x", &tensor(&[1.0, f32::NAN]), &expected, 1.0).is_err());
        assert!(compare("x", &tensor(&[f32::INFINITY, 2.0]), &expected, 1.0).is_err());
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let golden = tensor(&[1.0, bad]);
            let message = compare("x", &tensor(&[1.0, 2.0]), &golden, 1e-4).unwrap_err();
            assert!(
                message.contains("expected") && message.contains("at [1]"),
                "{message}"
            );
        }
    }
}
