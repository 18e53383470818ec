//! Torch files: archives with their pickles, bare pickles in both layouts.

#![no_main]

#[path = "../../checkpoint/tests/common/tensors.rs"]
mod tensors;
#[path = "../../checkpoint/tests/common/torch_input.rs"]
mod torch_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| torch_input::read(input));
