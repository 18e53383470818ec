//! Development commands: `cargo xtask --help` lists them.

mod corpus;
mod examples;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Render music that the project composes itself.
    Corpus(corpus::CorpusArgs),
    /// Render the example recordings.
    Examples(examples::ExamplesArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Corpus(args) => corpus::run(&args),
        Command::Examples(args) => examples::run(&args),
    }
}
