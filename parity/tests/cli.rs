//! Exit codes and what is printed.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use assert_cmd::Command;
use std::path::{Path, PathBuf};

fn parity() -> Command {
    Command::new(env!("CARGO_BIN_EXE_parity"))
}

fn good() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vae/tests/fixtures/diffrhythm")
}

/// A case of no known kind.
fn unknown() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("golden.json"), "{}").unwrap();
    let nothing = std::collections::HashMap::<String, candle_core::Tensor>::new();
    candle_core::safetensors::save(&nothing, folder.path().join("golden.safetensors")).unwrap();
    folder
}

#[test]
fn within_tolerances_is_success() {
    let output = parity()
        .args(["--device", "cpu"])
        .arg(good())
        .assert()
        .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("absolute") && text.contains("relative"),
        "{text}"
    );
    assert!(text.contains("1 cases: 1 within tolerances"), "{text}");
}

#[test]
fn an_unknown_kind_is_code_2_unless_it_may_be_skipped() {
    let folder = unknown();
    let output = parity().arg(good()).arg(folder.path()).assert().code(2);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(text.contains("not supported yet"), "{text}");
    parity()
        .arg("--skip-unknown")
        .arg(good())
        .arg(folder.path())
        .assert()
        .success();
}

#[test]
fn a_case_that_cannot_be_run_is_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let output = parity()
        .arg(folder.path())
        .arg(unknown().path())
        .assert()
        .code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(text.contains("golden.json"), "{text}");
}
