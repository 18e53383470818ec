//! Development commands: `cargo xtask --help` lists them.

mod corpus;

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
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Corpus(args) => corpus::run(&args),
    }
}
