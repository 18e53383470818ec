//! The inputs that fuzzing found worth keeping, run again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/safetensors_input.rs"]
mod safetensors_input;
#[path = "common/tensors.rs"]
mod tensors;
#[path = "common/torch_input.rs"]
mod torch_input;

use std::path::Path;

fn replay(target: &str, read: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(
        inputs.len() > 10,
        "{}: where is the corpus?",
        folder.display()
    );
    for input in inputs {
        read(&std::fs::read(input.path()).unwrap());
    }
}

#[test]
fn pickle() {
    replay("pickle", torch_input::read);
}

#[test]
fn safetensors_header() {
    replay("safetensors_header", safetensors_input::read);
}
