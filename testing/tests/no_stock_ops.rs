//! The stock neural-network crate of candle drops gradients without a word (`softmax_last_dim`, fused norms, `rope`),
//! so nothing here may depend on it. Wrong methods of `Tensor` itself are listed in the workspace's `clippy.toml`.

use std::path::Path;

#[test]
fn no_crate_depends_on_candle_nn() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut manifests = 0;
    for entry in std::fs::read_dir(&workspace).unwrap() {
        let path = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        manifests += 1;
        assert!(
            !text.contains("candle-nn") && !text.contains("candle-transformers"),
            "{} depends on a crate whose ops drop gradients; use the ops of `nn`",
            path.display()
        );
    }
    assert!(manifests > 5, "the workspace's manifests were not found");
}

#[test]
fn the_lint_against_wrong_methods_is_in_place() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clippy.toml");
    let text = std::fs::read_to_string(path).unwrap();
    for method in [
        "conv1d",
        "conv1d_with_algo",
        "conv_transpose1d",
        "upsample_nearest1d",
        "interpolate1d",
        "upsample_bilinear2d",
        "rand",
        "randn",
    ] {
        assert!(
            text.contains(&format!("candle_core::Tensor::{method}\"")),
            "clippy.toml does not forbid Tensor::{method}"
        );
    }
}
