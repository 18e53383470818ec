//! Where tests run: on the device at hand.

use candle_core::Device;
use std::sync::OnceLock;

/// Tolerances on a CUDA device over those on the CPU. Its sums run in another order and its exponentials are rounded
/// differently, in f32 throughout: tests do not allow TF32, whose ten bits would need a factor of a thousand.
pub const CUDA_FACTOR: f64 = 10.0;

/// The first CUDA device if this build knows CUDA (`--features cuda`) and one opens, the CPU otherwise; a line on
/// standard error says which, once. The same device for all tests of a process: tensors of two openings do not mix.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE
        .get_or_init(|| match first_cuda() {
            Ok(device) => {
                eprintln!("tests run on cuda:0");
                device
            }
            Err(reason) => {
                eprintln!("tests run on the CPU: {reason}");
                Device::Cpu
            }
        })
        .clone()
}

fn first_cuda() -> Result<Device, String> {
    if !candle_core::utils::cuda_is_available() {
        return Err("this build knows no CUDA".to_string());
    }
    // The binding panics where the driver's library is missing.
    std::panic::catch_unwind(|| Device::new_cuda(0))
        .map_err(|_| "the CUDA driver's library is not installed".to_string())?
        .map_err(|error| error.to_string())
}

/// What a tolerance for the CPU becomes on a device.
pub(crate) fn allowed(relative: f64, device: &Device) -> f64 {
    match device.is_cpu() {
        true => relative,
        false => relative * CUDA_FACTOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_one_and_always_the_same() {
        assert!(device().same_device(&device()));
        assert!(candle_core::utils::cuda_is_available() || device().is_cpu());
    }
}
