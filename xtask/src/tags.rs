//! `cargo xtask tags`: the prompt vocabulary, as `lora-train base` reads it.

use anyhow::Result;
use clap::Args;
use corpus::vocabulary;
use serde_json::json;

/// Which form.
#[derive(Debug, Args)]
pub(crate) struct TagsArgs {
    /// Print the groups that people choose from, for `lora-train base export --tag-groups`.
    #[arg(long)]
    groups: bool,
}

/// The vocabulary, or its groups, as a JSON array on standard output.
#[expect(
    clippy::print_stdout,
    reason = "results are data and go to standard output"
)]
pub(crate) fn run(args: &TagsArgs) -> Result<()> {
    let groups = vocabulary::GROUPS.map(|(title, tags)| json!({"title": title, "tags": tags}));
    let printed = if args.groups {
        json!(groups)
    } else {
        vocabulary::tags().collect()
    };
    println!("{}", serde_json::to_string(&printed)?);
    Ok(())
}
