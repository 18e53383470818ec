//! LRC files.

#![no_main]

#[path = "../../lyrics/tests/common/lrc_input.rs"]
mod lrc_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| lrc_input::read(input));
