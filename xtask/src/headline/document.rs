//! The table in README.md and its figures in docs/headline.json: written by the command, held against each other by `cargo xtask check`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Headline, ensure_full, published, table};
use crate::experiment::embedded_base_sha256;
use crate::marked;

const README: &str = "README.md";
/// Name of the marked place.
const PLACE: &str = "headline";

pub(super) fn to_json(headline: &Headline) -> Result<String> {
    Ok(serde_json::to_string_pretty(headline)? + "\n")
}

/// Writes table and figures.
pub(super) fn write(root: &Path, headline: &Headline) -> Result<()> {
    ensure_full(headline)?;
    let path = published(root);
    fs::write(&path, to_json(headline)?).with_context(|| format!("writing {}", path.display()))?;
    marked::replace(&root.join(README), PLACE, &table::render(headline))
}

/// Fails if README's table is not the one of docs/headline.json, or that is about another base than the embedded one. Without
/// figures there must be no table.
pub(crate) fn check(root: &Path) -> Result<()> {
    let shown = marked::read(&root.join(README), PLACE)?;
    let path = published(root);
    if !path.exists() {
        ensure!(
            shown.trim().is_empty(),
            "README.md has a headline table and {} is missing; cargo xtask headline --write-readme makes both",
            path.display()
        );
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let headline: Headline =
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    ensure!(
        headline.base_sha256 == embedded_base_sha256(root)?,
        "the headline table was made with another base than the embedded one; cargo xtask headline --write-readme makes it anew"
    );
    ensure_full(&headline)?;
    ensure!(
        shown.trim() == table::render(&headline).trim(),
        "README.md's headline table is not that of {}; cargo xtask headline --write-readme makes both",
        path.display()
    );
    Ok(())
}
