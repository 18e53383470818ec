//! Fixed test values that depend on nothing but a number.

use candle_core::{Device, Shape, Tensor, Var};

/// A tensor of values spread over `(-1, 1)`, the same for the same seed on every machine.
pub fn pseudo_random(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count() as u64)
        .map(|position| spread(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ position))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many values as elements")
}

/// [`pseudo_random`] on a device, which may be the [one at hand](crate::device()).
pub fn pseudo_random_on(shape: impl Into<Shape>, seed: u64, device: &Device) -> Tensor {
    pseudo_random(shape, seed)
        .to_device(device)
        .expect("a device takes a tensor")
}

/// [`pseudo_random`] as a variable.
pub fn pseudo_random_var(shape: impl Into<Shape>, seed: u64) -> Var {
    Var::from_tensor(&pseudo_random(shape, seed)).expect("a tensor on the CPU makes a variable")
}

/// SplitMix64's finaliser, its top 24 bits as a number in `(-1, 1)`.
fn spread(position: u64) -> f32 {
    let mut bits = position.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    ((bits >> 40) as f32 + 0.5) / (1u32 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_and_repeatable() {
        let values: Vec<f32> = pseudo_random(4096, 1).to_vec1().unwrap();
        let mean = values.iter().sum::<f32>() / 4096.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 4096.0;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((variance - 1.0 / 3.0).abs() < 0.03, "{variance}");
        assert_eq!(values, pseudo_random(4096, 1).to_vec1::<f32>().unwrap());
        assert_ne!(values, pseudo_random(4096, 2).to_vec1::<f32>().unwrap());
    }
}
