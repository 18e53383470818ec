//! What was asked for: flags, the settings file, a saved run and a preset, brought together.

use std::path::PathBuf;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use lora::terminal::{Manual, refuse_what_is_read};
use lora::train::{Ensemble, Preset, TrainConfig, TrainSettings, saved_settings};

use crate::base::BaseCommand;

/// Train a style adapter on the pieces that cut-music made.
///
/// Writes the adapter that was best on the held-out songs, and a run folder with the configuration, figures, the loss curves and
/// checkpoints. Ctrl-C saves; --resume goes on. Started by mpirun, its processes train one adapter together. Exit codes: 0 done, 1 error, 2 wrong usage, 130 stopped.
#[derive(Debug, Parser)]
#[command(
    name = "lora-train",
    version,
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// TOML file with any of the settings below; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on with a run that was stopped; --run-dir or --out say which, unless they are the defaults. With --force also if settings, data
    /// or base have changed since, which the adapter's description then names.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Replace the adapter of that name and the run in that run folder.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print all layers of the base with the targets marked, counts and memory, and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print all settings as a file for --config, with what they mean, and stop.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Print the tags the base knows, and stop.
    #[arg(long)]
    pub(crate) list_tags: bool,
    #[command(flatten)]
    pub(crate) manual: Manual,
    /// Settings with a name, below those of flags and file: embedded, diffrhythm-opera (the original LoRA project's, its defects mended) or
    /// diffrhythm-laptop; --print-config shows them for copying.
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,
    #[command(flatten)]
    settings: TrainSettings,
}

/// What it does beside training adapters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Train a base model from scratch: its autoencoder (vae), its transformer (dit), and the file of both (export).
    #[command(subcommand)]
    Base(BaseCommand),
}

impl Arguments {
    /// Whether something is printed and nothing trained.
    pub(crate) fn only_tells(&self) -> bool {
        self.dry_run || self.print_config || self.list_tags || self.manual.is_asked()
    }

    /// Flags over the file over the saved run over the preset, for each of the processes; no defaults yet.
    pub(crate) fn gather(&self, ensemble: &dyn Ensemble) -> Result<TrainSettings> {
        let mut settings = self.settings.clone();
        if let Some(path) = &self.config {
            settings = settings.or(TrainSettings::from_file(path)?);
        }
        if self.resume {
            let mut saved = saved_settings(&settings, ensemble)?;
            if settings.accumulate.is_none() {
                saved = saved.for_each_of(ensemble.size())?;
            }
            settings = settings.or(saved);
        }
        if let Some(preset) = self.preset.clone() {
            settings = settings.or(preset.settings());
        }
        Ok(settings)
    }

    /// Refuses an adapter's name that is the settings file's; what else a run reads, [`Trainer::check_out`](lora::train::Trainer::check_out)
    /// knows.
    pub(crate) fn check_out(&self, config: &TrainConfig) -> Result<()> {
        refuse_what_is_read(&config.out, self.config.iter().map(PathBuf::as_path))
    }

    /// Ends the program as for any wrong usage if there is nothing to train on.
    pub(crate) fn check(&self, config: &TrainConfig) {
        if config.data.as_os_str().is_empty() {
            let advice = "no data to train on: --data names a folder that cut-music made (cut-music RECORDINGS segments, then --data segments)";
            Self::command()
                .error(ErrorKind::MissingRequiredArgument, advice)
                .exit();
        }
    }
}
