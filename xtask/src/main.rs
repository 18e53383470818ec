//! Development commands: `cargo xtask --help` lists them.

mod ablations;
mod architecture;
mod base_marks;
mod bench;
mod bundle;
mod check;
mod corpus;
mod cuda;
mod demo;
mod devices;
mod example_clips;
mod examples;
mod experiment;
mod headline;
mod hosts;
mod instructions;
mod loss_curve;
mod marked;
mod parity;
mod resume_time;
mod tags;
mod workspace;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job on the example recordings: cut, train, generate, measure.
    Demo,
    /// Run everything that continuous integration runs.
    Check,
    /// Check the types of the CUDA features; needs no CUDA.
    CheckCuda,
    /// Time whole jobs, and a peer's side of them in turn.
    Bench(bench::BenchArgs),
    /// Train on the example recordings, and let a peer do the same: losses on the held-out songs side by side.
    LossCurve(loss_curve::LossCurveArgs),
    /// Measure how a base keeps the tempo and the style it is asked for: beats by an independent tracker, styles by a classifier of real renders.
    BaseMarks(base_marks::BaseMarksArgs),
    /// Time from a program's start to the first step, of a fresh and of a resumed run.
    ResumeTime(resume_time::ResumeTimeArgs),
    /// Run models on golden cases of the reference implementations and print how far every output lies from theirs.
    Parity(parity::ParityArgs),
    /// Count the instructions of hot operations and compare with the record (needs valgrind).
    Instructions {
        /// Write the counts down instead.
        #[arg(long)]
        record: bool,
    },
    /// Look for known vulnerabilities among the dependencies (needs the network).
    Advisories,
    /// Print the prompt vocabulary of the corpus as JSON, for `lora-train base`.
    Tags(tags::TagsArgs),
    /// Render music that the project composes itself.
    Corpus(corpus::CorpusArgs),
    /// Render the example recordings.
    Examples(examples::ExamplesArgs),
    /// Train adapters on the held-out families and measure them: the table of README.md.
    Headline(headline::HeadlineArgs),
    /// The same for adapters with one setting changed.
    Ablations(ablations::AblationsArgs),
    /// Encode clips of base and adapters for the page of examples.
    ExampleClips(example_clips::ExampleClipsArgs),
    /// Build the plugin as CLAP and VST3 with its engine: bundle plugin --release.
    Bundle(bundle::BundleArgs),
    /// Put the bundled plugin and its engine where hosts look.
    Install(bundle::InstallArgs),
    /// Try the plugin in real hosts, as far as they are installed.
    Hosts(hosts::HostsArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Demo => demo::run(),
        Command::Check => check::run(),
        Command::CheckCuda => check::cuda(),
        Command::Bench(args) => bench::run(&args),
        Command::LossCurve(args) => loss_curve::run(&args),
        Command::BaseMarks(args) => base_marks::run(&args),
        Command::ResumeTime(args) => resume_time::run(&args),
        Command::Parity(args) => parity::run(&args),
        Command::Instructions { record } => instructions::run(record),
        Command::Advisories => check::advisories(),
        Command::Tags(args) => tags::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Examples(args) => examples::run(&args),
        Command::Headline(args) => headline::run(&args),
        Command::Ablations(args) => ablations::run(&args),
        Command::ExampleClips(args) => example_clips::run(&args),
        Command::Bundle(args) => bundle::bundle(&args),
        Command::Install(args) => bundle::install(&args),
        Command::Hosts(args) => hosts::run(&args),
    }
}
