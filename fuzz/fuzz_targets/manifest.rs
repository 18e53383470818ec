//! Manifests of prepared folders.

#![no_main]

#[path = "../../dataset/tests/common/manifest_input.rs"]
mod manifest_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| manifest_input::read(input));
