//! `cargo xtask instructions`: the instructions that hot operations take, counted by callgrind and held against the counts in
//! the repository. Counts do not depend on what else the machine does, so a small change shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const RECORD: &str = "bench/instructions.json";
/// More than this share above the record fails; as much below asks for a new record.
const TOLERANCE: f64 = 0.05;
/// Jobs of `bench-job hot`.
const OPERATIONS: [&str; 5] = [
    "lora-linear",
    "int8-linear",
    "attention",
    "frozen-convolution",
    "elementwise",
];

/// Whether callgrind is here to count with.
pub(crate) fn can_count() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Counts and compares; with `record` writes the counts down instead.
pub(crate) fn run(record: bool) -> Result<()> {
    let workspace = Workspace::enter()?;
    if !can_count() {
        bail!("valgrind is not installed; on Debian: apt install valgrind");
    }
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "bench"])
        .status()
        .context("cargo did not start")?;
    if !status.success() {
        bail!("the crate bench does not build");
    }
    let program = workspace.target.join("release").join("bench-job");
    // A program that computes nothing: what starting costs is no operation's.
    let start = count(
        &program,
        &workspace.target,
        &["hot", "elementwise", "--runs", "0", "--idle"],
    )?;
    let mut counts = BTreeMap::new();
    for name in OPERATIONS {
        let all = count(&program, &workspace.target, &["hot", name, "--runs", "0"])?;
        counts.insert(name.to_owned(), all.saturating_sub(start));
    }
    if record {
        let text = serde_json::to_string_pretty(&counts)? + "\n";
        return fs::write(RECORD, text).context("the record cannot be written");
    }
    let text = fs::read_to_string(RECORD).with_context(|| format!("{RECORD} cannot be read"))?;
    compare(&serde_json::from_str(&text)?, &counts)
}

fn compare(record: &BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) -> Result<()> {
    let mut slower = Vec::new();
    for (name, &count) in counts {
        let Some(&before) = record.get(name) else {
            bail!("{RECORD} has no count of {name}; --record writes one");
        };
        let change = count as f64 / before as f64 - 1.0;
        eprintln!("{name}: {count} instructions ({:+.1} %)", 100.0 * change);
        if change > TOLERANCE {
            slower.push(name.as_str());
        }
    }
    if slower.is_empty() {
        return Ok(());
    }
    bail!(
        "more instructions than recorded: {}; if that is meant, cargo xtask instructions --record",
        slower.join(", ")
    )
}

fn count(program: &Path, target: &Path, arguments: &[&str]) -> Result<u64> {
    let file = target.join("callgrind.out");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .context("valgrind did not start")?;
    if !output.status.success() {
        bail!(
            "valgrind failed on {arguments:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = fs::read_to_string(&file)?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = line.and_then(|line| line.split_whitespace().next());
    total
        .and_then(|total| total.parse().ok())
        .with_context(|| format!("{} has no totals", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("attention".to_owned(), count)])
    }

    #[test]
    fn more_instructions_fail_and_fewer_do_not() {
        assert!(compare(&counts(1000), &counts(1040)).is_ok());
        assert!(compare(&counts(1000), &counts(900)).is_ok());
        let error = compare(&counts(1000), &counts(1060)).unwrap_err();
        assert!(error.to_string().contains("attention"));
        assert!(compare(&BTreeMap::new(), &counts(1)).is_err());
    }
}
