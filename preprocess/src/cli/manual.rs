//! What shells and `man` want to know of the command; the programs of `lora`, which this crate does not know, have the same two flags.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

const COMPLETIONS: &str = "completions";
const MAN_PAGE: &str = "man-page";

/// The command with both flags, each of which stands alone.
#[must_use]
pub fn with_flags(command: Command) -> Command {
    command
        .arg(
            Arg::new(COMPLETIONS)
                .long(COMPLETIONS)
                .value_name("SHELL")
                .value_parser(value_parser!(Shell))
                .exclusive(true)
                .help("Print what a shell needs to complete the flags, and stop"),
        )
        .arg(
            Arg::new(MAN_PAGE)
                .long(MAN_PAGE)
                .action(ArgAction::SetTrue)
                .exclusive(true)
                .help("Print the manual page, and stop"),
        )
}

/// Prints what they ask for; whether one of them was given.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(matches: &ArgMatches, mut command: Command) -> io::Result<bool> {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>(COMPLETIONS) {
        let name = command.get_name().to_owned();
        clap_complete::generate(*shell, &mut command, name, &mut text);
    } else if matches.get_flag(MAN_PAGE) {
        Man::new(command).render(&mut text)?;
    } else {
        return Ok(false);
    }
    io::stdout().write_all(&text)?;
    Ok(true)
}
