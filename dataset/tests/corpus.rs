//! The inputs that fuzzing found worth keeping, run again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/manifest_input.rs"]
mod manifest_input;

use std::path::Path;

#[test]
fn manifest() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/manifest");
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
        manifest_input::read(&std::fs::read(input.path()).unwrap());
    }
}
