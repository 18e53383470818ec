//! The crates' one-way edges. ARCHITECTURE.md draws the same picture; a new edge is a decision, taken here.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crate, and the workspace crates it may depend on outside of tests.
const EDGES: &[(&str, &[&str])] = &[
    ("audio", &[]),
    ("checkpoint", &[]),
    ("corpus", &[]),
    ("dataset", &[]),
    ("lyrics", &[]),
    ("nn", &["checkpoint"]),
    ("plot", &[]),
    ("spectrum", &[]),
    ("testing", &[]),
    ("features", &["audio", "spectrum"]),
    ("journal", &["dataset", "plot"]),
    ("vae", &["nn", "spectrum"]),
    ("dit", &["nn"]),
    ("embed", &["nn", "spectrum"]),
    ("preprocess", &["audio", "dataset"]),
    ("protocol", &[]),
    (
        "engine",
        &["protocol", "lora", "preprocess", "audio", "dataset", "nn"],
    ),
    ("plugin", &["protocol", "audio", "spectrum"]),
    (
        "lora",
        &[
            "audio",
            "checkpoint",
            "dataset",
            "dit",
            "embed",
            "features",
            "journal",
            "lyrics",
            "nn",
            "vae",
        ],
    ),
    ("eval", &["audio", "dataset", "features", "lora", "plot"]),
    (
        "bench",
        &[
            "audio", "dit", "features", "journal", "lora", "nn", "testing", "vae",
        ],
    ),
    (
        "parity",
        &["checkpoint", "dit", "embed", "lora", "lyrics", "nn", "vae"],
    ),
    ("xtask", &["audio", "corpus", "dataset", "eval", "features"]),
];

/// Fails if a crate depends on one it should not know.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(edges) = allowed.get(name) else {
            violations.push(format!(
                "{name}: not in the table of edges in xtask/src/architecture.rs"
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
        {
            let target = dependency.name.as_str();
            if allowed.contains_key(target) && !edges.contains(&target) {
                violations.push(format!(
                    "{name} -> {target} is not an edge of the architecture"
                ));
            }
        }
    }
    if !violations.is_empty() {
        bail!(
            "dependencies point the wrong way:\n  {}",
            violations.join("\n  ")
        );
    }
    Ok(())
}
