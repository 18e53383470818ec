//! What shells and `man` want to know of a program, on standard output.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// The flags that every program has for shells and `man`.
#[derive(Debug, Args)]
pub struct Manual {
    /// Print what a shell needs to complete the flags, and stop.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
    /// Print the manual page, and stop.
    #[arg(long, exclusive = true)]
    man_page: bool,
}

impl Manual {
    /// Whether one of them was given.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.man_page || self.completions.is_some()
    }

    /// Prints what was asked for about a program; whether anything was.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, command: Command) -> io::Result<bool> {
        match self.completions {
            Some(shell) => print_completions(shell, command)?,
            None if self.man_page => print_man_page(command)?,
            None => return Ok(false),
        }
        Ok(true)
    }
}

/// What a shell needs to complete the flags, for its set-up to read.
fn print_completions(shell: Shell, mut command: Command) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    io::stdout().write_all(&text)
}

/// The manual page in troff, for `man -l`; subcommands have their parts in it.
fn print_man_page(mut command: Command) -> io::Result<()> {
    // Gives subcommands their whole names.
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    for subcommand in subcommands {
        if subcommand.get_name() == "help" {
            continue;
        }
        let name = subcommand.get_bin_name().unwrap_or_default().to_uppercase();
        let part = Man::new(subcommand);
        writeln!(text, ".SH \"{name}\"")?;
        part.render_description_section(&mut text)?;
        part.render_synopsis_section(&mut text)?;
        part.render_options_section(&mut text)?;
    }
    io::stdout().write_all(&text)
}
