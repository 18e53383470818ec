//! `cargo xtask tags`: the prompt vocabulary, as the training recipe reads it.

use anyhow::Result;

/// The vocabulary as a JSON array on standard output.
#[expect(
    clippy::print_stdout,
    reason = "results are data and go to standard output"
)]
pub(crate) fn run() -> Result<()> {
    println!("{}", serde_json::to_string(corpus::vocabulary::TAGS)?);
    Ok(())
}
