//! The settings as a file, each with what it means.

use std::collections::HashMap;

use anyhow::Result;
use clap::Args;
use lora::terminal::print_lines;
use lora::train::{TrainConfig, TrainSettings};

/// Columns of a comment.
const WIDTH: usize = 110;

/// Prints every setting with its value, or without one in a comment.
pub(crate) fn print(config: &TrainConfig) -> Result<()> {
    let values: toml::Table = config.to_toml()?.parse()?;
    let meanings = meanings();
    let mut lines =
        vec!["# Settings of lora-train: --config FILE takes them, flags override them.".to_owned()];
    for name in TrainSettings::NAMES {
        lines.push(String::new());
        let meaning = meanings.get(*name).map_or("", String::as_str);
        lines.extend(wrapped(meaning).map(|line| format!("# {line}")));
        lines.push(match values.get(*name) {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} ="),
        });
    }
    print_lines(lines)?;
    Ok(())
}

/// What `--help` says of each setting.
fn meanings() -> HashMap<String, String> {
    let command = TrainSettings::augment_args(clap::Command::new("settings"));
    let meaning = |argument: &clap::Arg| {
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        (argument.get_id().to_string(), help)
    };
    command.get_arguments().map(meaning).collect()
}

fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}
