//! Safetensors files.

#![no_main]

#[path = "../../checkpoint/tests/common/tensors.rs"]
mod tensors;
#[path = "../../checkpoint/tests/common/safetensors_input.rs"]
mod safetensors_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| safetensors_input::read(input));
