//! Analysis windows.

use std::f64::consts::TAU;

/// The periodic Hann window, as `torch.hann_window(length)`: `0.5 - 0.5 cos(2 pi n / length)`.
///
/// Periodic rather than symmetric, so that shifted copies at `length / 4` sum to a constant.
pub fn hann_periodic(length: usize) -> Vec<f32> {
    (0..length)
        .map(|n| (0.5 - 0.5 * (TAU * n as f64 / length as f64).cos()) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_at_a_quarter_hop_sum_to_a_constant() {
        let window = hann_periodic(16);
        for offset in 0..4 {
            let sum: f32 = (0..4).map(|k| window[offset + 4 * k].powi(2)).sum();
            assert!((sum - 1.5).abs() < 1e-6, "{sum}");
        }
    }
}
