//! The settings as a file, each with what it means.

use std::collections::HashMap;

use anyhow::Result;
use clap::Args;
use lora::terminal::print_lines;
use lora::train::{TrainConfig, TrainSettings};

/// Columns of a comment.
const WIDTH: usize = 110;

/// Prints every setting. `given` are those that somebody set, by a flag, a file or a preset: with their values. All others are comments that
/// tell what they are in this run: as settings they would follow into a run on another base, or go before a preset or a saved run.
pub(crate) fn print(given: &TrainSettings, config: &TrainConfig) -> Result<()> {
    let mut values: toml::Table = config.to_toml()?.parse()?;
    // These are no part of a run.
    let device = given.device.map(|device| device.to_string().into());
    let threads = given.threads.map(|threads| (threads as i64).into());
    for (name, value) in [("device", device), ("threads", threads)] {
        values.extend(value.map(|value: toml::Value| (name.to_owned(), value)));
    }
    let given = given.given();
    let meanings = meanings();
    let mut lines = vec![
        "# Settings of lora-train: --config FILE takes them, flags override them.".to_owned(),
        "# A line without # sets what it names; the others tell what holds without them."
            .to_owned(),
    ];
    for name in TrainSettings::NAMES {
        lines.push(String::new());
        let meaning = meanings.get(*name).map_or("", String::as_str);
        lines.extend(wrapped(meaning).map(|line| format!("# {line}")));
        lines.push(match (values.get(*name), given.contains(name)) {
            (Some(value), true) => format!("{name} = {value}"),
            (Some(value), false) => commented(name, value, config),
            (None, _) => format!("# {name} ="),
        });
    }
    print_lines(lines)?;
    Ok(())
}

/// A setting that nobody set. The line is right TOML without its first #.
fn commented(name: &str, value: &toml::Value, config: &TrainConfig) -> String {
    let fitted = ["batch_size", "accumulate", "checkpointing", "weights"];
    let depends_on = match TrainSettings::default_depends_on(name) {
        _ if config.memory.is_some() && fitted.contains(&name) => Some("memory and the base"),
        other => other,
    };
    match depends_on {
        Some(what) => format!("# {name} = {value}  # (default: {value}; depends on {what})"),
        None => format!("# {name} = {value}"),
    }
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
