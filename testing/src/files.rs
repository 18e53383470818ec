//! Where files lie that the tests of several crates read; each is in the tree once.

use std::path::{Path, PathBuf};

/// A file or folder of `tests/fixtures` of a crate.
pub fn fixture(krate: &str, name: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    workspace.join(krate).join("tests/fixtures").join(name)
}

/// A file of a DiffRhythm of toy size, under the name that its authors publish it with, or `lora-convert` writes it: `cfm_model.pt`,
/// `cfm_model.safetensors`, `vae_model.pt` and others.
pub fn release_file(name: &str) -> PathBuf {
    match name {
        "cfm_model.safetensors" => fixture("dit", "dr_dit_full").join(name),
        "vae_model.safetensors" => fixture("vae", "diffrhythm").join(name),
        _ => fixture("checkpoint", name),
    }
}
