//! Every setting of a training run: defaults of the base, then the configuration file, then flags; resolved once, printed and saved.
//!
//! - `settings`: the list, with names, meanings and defaults
//! - `choices`: values that are neither numbers nor texts
//! - `defaults`: what depends on the base or on the adapter's name
//! - `ranges`: what values are possible
//! - `file`: settings in a TOML file, and the one that a run keeps

mod choices;
mod defaults;
mod file;
mod ranges;
mod settings;

use std::path::PathBuf;

use nn::{TrainedMethod, TrainedOptions};

use crate::adapter::{Targets, pattern_matches};
use crate::error::LoraError;
use crate::models::{EMBEDDED_NAME, ModelChoice};
use crate::train::data::Augmentations;

pub use choices::{
    AdapterMethod, Checkpointing, LossWeighting, PatternValue, RankScale, TimeSampling,
};
pub use defaults::BaseDefaults;
pub use file::saved_settings;
pub(super) use file::{CONFIG_FILE, changed_settings};
pub(super) use ranges::MOST_STEPS;
pub use settings::{TrainConfig, TrainSettings};

impl TrainSettings {
    /// The base these settings ask for.
    pub fn model_choice(&self) -> ModelChoice<'_> {
        ModelChoice {
            model: self.model.as_deref().unwrap_or(EMBEDDED_NAME),
            autoencoder: self.vae.as_deref(),
            causal: self.causal,
        }
    }

    /// Settings of `self`, and of `lower` where `self` has none. A length in steps here also overrides a length in epochs there, and the
    /// other way round.
    pub fn or(self, mut lower: Self) -> Self {
        if self.steps.is_some() {
            lower.epochs = None;
        }
        if self.epochs.is_some() {
            lower.steps = None;
        }
        self.filled_from(lower)
    }

    /// Threads to compute on, checked; none leaves the choice to the program.
    ///
    /// # Errors
    /// [`LoraError::Setting`] when they are out of their range.
    pub fn checked_threads(&self) -> Result<Option<usize>, LoraError> {
        self.validate_machine()?;
        Ok(self.threads)
    }

    /// The settings of each of the processes that go on with a run whose saved settings these are.
    ///
    /// # Errors
    /// [`LoraError::Setting`] when so many processes cannot divide its step evenly.
    pub fn for_each_of(mut self, processes: usize) -> Result<Self, LoraError> {
        self.accumulate = match self.accumulate {
            Some(parts) => Some(divided(parts, processes)?),
            None => None,
        };
        Ok(self)
    }

    /// What the default of the setting of this name depends on; none where it is always the same.
    pub fn default_depends_on(name: &str) -> Option<&'static str> {
        defaults::depends_on(name)
    }

    /// Fills in the defaults and checks every range.
    pub fn resolve(mut self, base: BaseDefaults) -> Result<TrainConfig, LoraError> {
        self.validate_machine()?;
        if self.steps.is_some() {
            self.epochs = None;
        }
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| PathBuf::from(defaults::DEFAULT_OUT));
        let method = self.method.unwrap_or_default();
        let config = self.completed(&settings::Context { base, out, method });
        config.validate()?;
        Ok(config)
    }
}

impl TrainConfig {
    /// The base of this run.
    pub fn model_choice(&self) -> ModelChoice<'_> {
        ModelChoice {
            model: &self.model,
            autoencoder: self.vae.as_deref(),
            causal: self.causal,
        }
    }

    /// The layers to adapt.
    pub fn targets(&self) -> Targets {
        Targets {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }

    /// The forms in which the pieces are seen.
    pub fn augmentations(&self) -> Augmentations {
        Augmentations {
            kinds: self.augment.clone(),
            tempos: self.augment_tempo.clone(),
            semitones: self.augment_pitch.clone(),
        }
    }

    /// The run that `processes` make together, each with these settings: every one adds its parts to a step. What is saved is what one
    /// process alone would need for the same steps.
    ///
    /// # Errors
    /// [`LoraError::Setting`] when these are too many parts.
    pub fn of_all(mut self, processes: usize) -> Result<Self, LoraError> {
        self.accumulate = self.accumulate.saturating_mul(processes);
        self.validate()?;
        Ok(self)
    }

    /// Whether so many processes can divide a step evenly.
    ///
    /// # Errors
    /// [`LoraError::Setting`] when they cannot.
    pub(super) fn check_divides(&self, processes: usize) -> Result<(), LoraError> {
        divided(self.accumulate, processes).map(|_| ())
    }

    /// What is trained on this layer.
    pub fn layer_options(&self, layer: &str) -> TrainedOptions {
        TrainedOptions {
            method: match self.method {
                AdapterMethod::Lora => TrainedMethod::Lora,
                AdapterMethod::Dora => TrainedMethod::Dora,
                AdapterMethod::Lokr => TrainedMethod::Lokr {
                    factor: self.lokr_factor,
                    decompose_both: self.lokr_decompose_both,
                },
            },
            rank: first_match(&self.rank_pattern, layer).unwrap_or(self.rank),
            alpha: first_match(&self.alpha_pattern, layer).unwrap_or(self.alpha),
            rank_stabilised: self.rank_scale == RankScale::SqrtRank,
            // The reference has dropout in its settings and leaves it out in its forward pass.
            dropout: if self.reference_defects {
                0.0
            } else {
                self.dropout
            },
        }
    }
}

/// Parts of a step for each of the processes.
fn divided(parts: usize, processes: usize) -> Result<usize, LoraError> {
    match parts.is_multiple_of(processes) {
        true => Ok(parts / processes),
        false => Err(LoraError::Setting {
            setting: "accumulate",
            value: format!("{parts} in all"),
            expected: format!(
                "{processes} processes cannot divide the {parts} batches of this run's step evenly; start as many as divide {parts}"
            ),
        }),
    }
}

fn first_match<T: Copy>(patterns: &[PatternValue<T>], layer: &str) -> Option<T> {
    let matching = |pattern: &&PatternValue<T>| pattern_matches(&pattern.pattern, layer);
    patterns.iter().find(matching).map(|pattern| pattern.value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::BaseModel;
    use crate::base::Outline;

    fn resolve(settings: TrainSettings) -> Result<TrainConfig, LoraError> {
        settings.resolve(BaseDefaults::EMBEDDED)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = resolve(TrainSettings::default()).unwrap();
        assert_eq!((config.rank, config.alpha, config.dropout), (8, 16.0, 0.25));
        assert_eq!(
            (config.patience_epochs, config.minimum_improvement),
            (200, 0.01)
        );
        assert_eq!(
            (config.out.as_path(), config.run_dir.as_path()),
            (Path::new("style.safetensors"), Path::new("runs/style"))
        );
        assert_eq!(config.learning_rate, 2e-3);
    }

    #[test]
    fn the_base_brings_its_own_rate() {
        let device = candle_core::Device::Cpu;
        let tiny = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/tiny-base.safetensors"
        );
        let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/base/lorelei-base.safetensors");
        for (model, rate) in [(EMBEDDED_NAME, 2e-3), (embedded, 2e-3), (tiny, 2e-4)] {
            let mut base = BaseModel::open(model, &device).unwrap();
            let config = TrainSettings::default()
                .resolve(BaseDefaults::of(&Outline::of(&mut base)))
                .unwrap();
            assert_eq!(config.learning_rate, rate, "{model}");
        }
    }

    #[test]
    fn flags_override_the_file() {
        let flags = TrainSettings {
            rank: Some(4),
            steps: Some(10),
            ..Default::default()
        };
        let file = TrainSettings {
            rank: Some(16),
            epochs: Some(7),
            seed: Some(3),
            ..Default::default()
        };
        let config = resolve(flags.or(file)).unwrap();
        assert_eq!(
            (config.rank, config.steps, config.epochs, config.seed),
            (4, 10, None, 3)
        );
    }

    #[test]
    fn unknown_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "rank = 4\nlerning_rate = 1e-3\n").unwrap();
        let error = TrainSettings::from_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("run.toml")
                && error
                    .contains("line 2: unknown setting lerning_rate; did you mean learning_rate?"),
            "{error}"
        );
    }

    #[test]
    fn ranges_are_checked_and_named() {
        let huge = usize::MAX;
        type SetCount = fn(&mut TrainSettings, usize);
        type Set = fn(&mut TrainSettings);
        let counts: [(&str, &str, SetCount); 7] = [
            ("--steps", "1000000000", |s, n| s.steps = Some(n)),
            ("--epochs", "1000000000", |s, n| s.epochs = Some(n)),
            ("--batch-size", "4096", |s, n| s.batch_size = Some(n)),
            ("--rank", "4096", |s, n| s.rank = Some(n)),
            ("--patience-epochs", "1000000000", |s, n| {
                s.patience_epochs = Some(n);
            }),
            ("--checkpoint-steps", "1000000000", |s, n| {
                s.checkpoint_steps = Some(n);
            }),
            ("--warm-up-steps", "1000000000", |s, n| {
                s.warm_up_steps = Some(n);
            }),
        ];
        for (flag, limit, change) in counts {
            for value in [huge, 1 << 62, limit.parse::<usize>().unwrap() + 1] {
                let mut settings = TrainSettings::default();
                change(&mut settings, value);
                let error = resolve(settings).unwrap_err().to_string();
                assert!(error.contains(flag) && error.contains(limit), "{error}");
            }
        }
        let numbers: [(&str, Set); 12] = [
            // Without the weighting it would be passed over.
            ("--min-snr-gamma", |s| s.min_snr_gamma = Some(5.0)),
            ("--augment-tempo", |s| {
                s.augment_tempo = Some(vec![0.9, 2.1])
            }),
            ("--augment-tempo", |s| {
                s.augment_tempo = Some(vec![f64::NAN])
            }),
            // The piece as it is, and a form twice.
            ("--augment-tempo", |s| s.augment_tempo = Some(vec![1.0])),
            ("--augment-tempo", |s| {
                s.augment_tempo = Some(vec![0.9, 0.9])
            }),
            ("--augment-pitch", |s| s.augment_pitch = Some(vec![-13])),
            ("--augment-pitch", |s| s.augment_pitch = Some(vec![0])),
            ("--dropout", |s| s.dropout = Some(1.0)),
            ("--rank", |s| s.rank = Some(0)),
            ("--learning-rate", |s| s.learning_rate = Some(f64::NAN)),
            ("--include", |s| s.include = Some(vec![])),
            // TOML has no larger whole numbers, and the configuration is kept as TOML.
            ("--seed", |s| s.seed = Some(u64::MAX)),
        ];
        for (flag, change) in numbers {
            let mut settings = TrainSettings::default();
            change(&mut settings);
            let error = resolve(settings).unwrap_err().to_string();
            assert!(error.contains(flag), "{error}");
        }
    }

    /// What is kept is what one process needs, and as many go on with it as divide it.
    #[test]
    fn processes_multiply_the_parts_of_a_step() {
        let each = resolve(TrainSettings {
            accumulate: Some(3),
            ..Default::default()
        })
        .unwrap();
        let run = each.of_all(4).unwrap();
        assert_eq!(run.accumulate, 12);
        for (processes, parts) in [(1, Some(12)), (4, Some(3)), (6, Some(2)), (5, None)] {
            let settings = TrainSettings::from(run.clone()).for_each_of(processes);
            let found = settings.map(|settings| settings.accumulate);
            assert_eq!(found.ok().flatten(), parts, "{processes}");
            assert_eq!(run.check_divides(processes).is_ok(), parts.is_some());
        }
        assert!(run.of_all(1000).is_err());
    }

    /// The file that a run keeps can be given back as it is.
    #[test]
    fn resolved_configuration_survives_toml() {
        let config = resolve(TrainSettings {
            epochs: Some(5),
            rank_pattern: Some(vec!["to_q=16".parse().unwrap()]),
            checkpointing: Some(Checkpointing::Share(0.5)),
            ..Default::default()
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        let read = TrainSettings::from_file(&path).unwrap();
        assert_eq!(resolve(read.clone()).unwrap(), config);
        // The length in steps is that of the epochs, and stands beside them.
        assert_eq!((read.epochs, read.steps), (Some(5), None));
    }
}
