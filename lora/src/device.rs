//! Where the transformer runs.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Deserializer};

use crate::error::LoraError;

/// What a user asks for with `--device`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if this build knows CUDA and there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of that number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("cuda:")) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) => number
                .parse()
                .map(Self::Cuda)
                .map_err(|_| format!("{number:?} is not a device's number: cuda:0 is the first")),
            _ => Err("expected auto, cpu, cuda or cuda:N".to_owned()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl DeviceChoice {
    /// The choice of one of several processes on a host: `auto` gives each a card of its own.
    #[must_use]
    pub fn for_process(self, rank_on_host: usize) -> Self {
        match self {
            Self::Auto if rank_on_host > 0 && candle_core::utils::cuda_is_available() => {
                Self::Cuda(rank_on_host)
            }
            other => other,
        }
    }

    /// The device, and a line for the user where the choice was made for him.
    ///
    /// # Errors
    /// When a CUDA device is asked for by name and cannot be had.
    pub fn open(self) -> Result<(Device, Option<String>), LoraError> {
        match self {
            Self::Cpu => Ok((Device::Cpu, None)),
            Self::Cuda(number) => match cuda(number) {
                Ok(device) => Ok((device, None)),
                Err(reason) => Err(LoraError::NoDevice { number, reason }),
            },
            Self::Auto if !candle_core::utils::cuda_is_available() => Ok((Device::Cpu, None)),
            Self::Auto => Ok(match cuda(0) {
                Ok(device) => (device, Some("device: cuda:0".to_owned())),
                Err(reason) => {
                    let line =
                        format!("device: the CPU, because there is no CUDA device ({reason})");
                    (Device::Cpu, Some(line))
                }
            }),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this build knows no CUDA; build with --features cuda".to_owned())
}

/// Matrix products in f32 may round their operands to TF32, as is usual in training.
#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    // The binding panics where the driver's library is missing.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let opened = std::panic::catch_unwind(|| Device::new_cuda(number));
    std::panic::set_hook(hook);
    let device = match opened {
        Ok(Ok(device)) => device,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the CUDA driver's library is not installed".to_owned()),
    };
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(true);
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        let parse = |text: &str| text.parse::<DeviceChoice>();
        assert_eq!(parse("auto"), Ok(DeviceChoice::Auto));
        assert_eq!(parse("cpu"), Ok(DeviceChoice::Cpu));
        assert_eq!(parse("cuda"), Ok(DeviceChoice::Cuda(0)));
        assert_eq!(parse("cuda:3"), Ok(DeviceChoice::Cuda(3)));
        for name in ["auto", "cpu", "cuda:3"] {
            assert_eq!(parse(name).unwrap().to_string(), name);
        }
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        let (device, line) = DeviceChoice::Cpu.open().unwrap();
        assert!(device.is_cpu() && line.is_none());
        assert!(DeviceChoice::Auto.open().is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_cuda_is_refused_with_what_to_do() {
        let error = DeviceChoice::Cuda(1).open().unwrap_err().to_string();
        assert!(
            error.contains("cuda:1") && error.contains("--features cuda"),
            "{error}"
        );
    }
}
