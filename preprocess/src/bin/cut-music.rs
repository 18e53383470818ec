//! Cuts recordings into pieces to train on; see `preprocess::cli`.

fn main() -> std::process::ExitCode {
    preprocess::cli::main()
}
