//! Every setting of a training run: defaults of the base, then the configuration file, then flags; resolved once, printed and saved.

use std::path::{Path, PathBuf};

use nn::WeightPrecision;
use serde::{Deserialize, Serialize};

use crate::adapter::Targets;
use crate::base::Outline;
use crate::error::LoraError;
use crate::models::{EMBEDDED_NAME, ModelChoice};

/// The resolved configuration inside the run folder.
pub(super) const CONFIG_FILE: &str = "config.toml";
const DEFAULT_OUT: &str = "style.safetensors";

/// Optimizer steps, and what is counted in them or in epochs: years of training, and far from where products of counts wrap.
pub(super) const MOST_STEPS: u64 = 1_000_000_000;
/// Crops in one step; more do not fit a machine's memory.
const MOST_CROPS: u64 = 4096;
/// Above the width of any layer, where a low-rank change would be none.
const HIGHEST_RANK: u64 = 4096;

/// What a user may set, in a TOML file or by flags of the same names. Unset means the default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct TrainSettings {
    /// Base model: `embedded`, a released model's name (lora-infer --list-models shows them), or a path [default: embedded].
    #[cfg_attr(feature = "cli", arg(long))]
    pub model: Option<String>,
    /// The released model's autoencoder, a file or its folder, if it is not beside the model.
    #[cfg_attr(feature = "cli", arg(long, value_name = "PATH"))]
    pub vae: Option<PathBuf>,
    /// Whether the released model's attention is causal, if its name does not tell.
    #[cfg_attr(feature = "cli", arg(long, value_name = "BOOL"))]
    pub causal: Option<bool>,
    /// Where the adapter goes [default: style.safetensors].
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub out: Option<PathBuf>,
    /// Folder for metrics, curves, configuration and checkpoint [default: runs/NAME after the adapter's name].
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub run_dir: Option<PathBuf>,
    /// Passes over the training pieces; --steps wins if both are set.
    #[cfg_attr(feature = "cli", arg(long))]
    pub epochs: Option<usize>,
    /// Optimizer steps [default: 300].
    #[cfg_attr(feature = "cli", arg(long))]
    pub steps: Option<usize>,
    /// Crops in one step [default: 8].
    #[cfg_attr(feature = "cli", arg(long))]
    pub batch_size: Option<usize>,
    /// Seed of initial weights, order, crops, noise and dropout, up to 2^63 - 1 [default: 0].
    #[cfg_attr(feature = "cli", arg(long))]
    pub seed: Option<u64>,
    /// Rank of the adapter [default: 8].
    #[cfg_attr(feature = "cli", arg(long))]
    pub rank: Option<usize>,
    /// The adapter's output is scaled by alpha / rank [default: 16].
    #[cfg_attr(feature = "cli", arg(long))]
    pub alpha: Option<f64>,
    /// Dropout on the adapter's input while training, 0 to below 1 [default: 0.25].
    #[cfg_attr(feature = "cli", arg(long))]
    pub dropout: Option<f64>,
    /// Layers to adapt, patterns over their names [default: attention projections, time networks, final norm, output].
    #[cfg_attr(
        feature = "cli",
        arg(long, value_delimiter = ',', value_name = "PATTERN")
    )]
    pub include: Option<Vec<String>>,
    /// Layers to leave alone all the same.
    #[cfg_attr(
        feature = "cli",
        arg(long, value_delimiter = ',', value_name = "PATTERN")
    )]
    pub exclude: Option<Vec<String>>,
    /// Peak learning rate [default: 2e-3 for the embedded base, 2e-4 for others].
    #[cfg_attr(feature = "cli", arg(long))]
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay [default: 0.01].
    #[cfg_attr(feature = "cli", arg(long))]
    pub weight_decay: Option<f64>,
    /// Steps of linear warm-up [default: 20].
    #[cfg_attr(feature = "cli", arg(long))]
    pub warm_up_steps: Option<usize>,
    /// The cosine schedule ends at this share of the peak rate [default: 0.1].
    #[cfg_attr(feature = "cli", arg(long))]
    pub final_rate_ratio: Option<f64>,
    /// Largest global norm of the gradient; 0 turns clipping off [default: 1].
    #[cfg_attr(feature = "cli", arg(long))]
    pub gradient_clip: Option<f64>,
    /// Length of a training crop in seconds [default: 6].
    #[cfg_attr(feature = "cli", arg(long))]
    pub crop_secs: Option<f64>,
    /// Share of crops trained without their style, for guidance [default: 0.15].
    #[cfg_attr(feature = "cli", arg(long))]
    pub style_drop: Option<f64>,
    /// Share of crops trained without their lyrics, for guidance [default: 0.15].
    #[cfg_attr(feature = "cli", arg(long))]
    pub text_drop: Option<f64>,
    /// Stop after this many epochs without improvement on the held-out songs [default: 200].
    #[cfg_attr(feature = "cli", arg(long))]
    pub patience_epochs: Option<usize>,
    /// An improvement counts from this share of the best validation loss [default: 0.01].
    #[cfg_attr(feature = "cli", arg(long))]
    pub minimum_improvement: Option<f64>,
    /// Words that call the style, kept in the adapter's metadata [default: the adapter's name].
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', value_name = "WORD"))]
    pub trigger_words: Option<Vec<String>>,
    /// Steps between checkpoints [default: 50].
    #[cfg_attr(feature = "cli", arg(long))]
    pub checkpoint_steps: Option<usize>,
    /// Keep the base's weights in f32, f16, bf16 or int8: less memory; the adapter itself is trained in f32 [default: f32, or the 16 bits
    /// of a released model's file].
    #[cfg_attr(feature = "cli", arg(long, value_name = "PRECISION"))]
    pub weights: Option<WeightPrecision>,
    /// Keep only what enters each block and compute it again on the way back: less memory, a third more time, the same
    /// result to the last bit. `auto` does it where it saves a gigabyte or more [default: auto].
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "WHEN"))]
    pub checkpointing: Option<Checkpointing>,
    /// Train as the original LoRA project does where it errs: dropout is not executed, the rate climbs back in the second half, early
    /// stopping watches the training loss, a batch drops its conditions together. For comparison with it [default: false].
    #[cfg_attr(feature = "cli", arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true"))]
    pub reference_defects: Option<bool>,
}

/// Whether blocks run as gradient checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Checkpointing {
    /// Where it saves much memory.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What a base brings as its own defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseDefaults {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Optimizer steps.
    pub steps: usize,
    /// Length of a crop in seconds.
    pub crop_secs: f64,
    /// What the base's weights are kept in.
    pub weights: WeightPrecision,
}

impl BaseDefaults {
    /// The embedded base is small: the rate of the large released models (2e-4) leaves it where it was.
    pub const EMBEDDED: Self = Self {
        learning_rate: 2e-3,
        steps: 300,
        crop_secs: 6.0,
        weights: WeightPrecision::F32,
    };
    /// Bases of the released models' size, which the embedded base's rate would throw off their course.
    pub const OTHER: Self = Self {
        learning_rate: 2e-4,
        steps: 300,
        crop_secs: 6.0,
        weights: WeightPrecision::F32,
    };

    /// The defaults of this base. The embedded one is known by its bytes, so that it is the same when it is opened from a file.
    /// Song models are trained on crops as long as what they make.
    pub fn of(base: &Outline) -> Self {
        match (base.is_embedded, base.is_for_songs) {
            (true, _) => Self::EMBEDDED,
            (false, false) => Self::OTHER,
            (false, true) => Self {
                crop_secs: base.most_secs(),
                weights: base.precision,
                ..Self::OTHER
            },
        }
    }
}

/// The resolved configuration of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Base model.
    pub model: String,
    /// The released model's autoencoder, where it is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<PathBuf>,
    /// Whether attention is causal, where the name does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causal: Option<bool>,
    /// The prepared folder.
    pub data: PathBuf,
    /// The adapter's file.
    pub out: PathBuf,
    /// The run's folder.
    pub run_dir: PathBuf,
    /// Optimizer steps.
    pub steps: usize,
    /// Passes over the data, if the length was given so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Crops in one step.
    pub batch_size: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Rank.
    pub rank: usize,
    /// Alpha; the scale is alpha / rank.
    pub alpha: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Steps of warm-up.
    pub warm_up_steps: usize,
    /// Last rate as a share of the peak.
    pub final_rate_ratio: f64,
    /// Largest gradient norm, 0 for none.
    pub gradient_clip: f64,
    /// Crop length in seconds.
    pub crop_secs: f64,
    /// Share of crops without style.
    pub style_drop: f64,
    /// Share of crops without lyrics.
    #[serde(default = "default_text_drop")]
    pub text_drop: f64,
    /// Epochs without improvement before stopping.
    pub patience_epochs: usize,
    /// Least improvement, as a share.
    pub minimum_improvement: f64,
    /// Words that call the style.
    pub trigger_words: Vec<String>,
    /// Steps between checkpoints.
    pub checkpoint_steps: usize,
    /// What the base's weights are kept in.
    #[serde(default)]
    pub weights: WeightPrecision,
    /// Whether blocks run as gradient checkpoints.
    #[serde(default)]
    pub checkpointing: Checkpointing,
    /// Whether to train as the original project does where it errs.
    #[serde(default)]
    pub reference_defects: bool,
    /// Layers to adapt.
    pub targets: Targets,
}

fn default_text_drop() -> f64 {
    0.15
}

impl TrainSettings {
    /// Reads a TOML file; an unknown key is an error that names it and its line.
    pub fn from_file(path: &Path) -> Result<Self, LoraError> {
        let text = std::fs::read_to_string(path).map_err(LoraError::file(path))?;
        toml::from_str(&text).map_err(|error| LoraError::BadFile {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })
    }

    /// The base these settings ask for.
    pub fn model_choice(&self) -> ModelChoice<'_> {
        ModelChoice {
            model: self.model.as_deref().unwrap_or(EMBEDDED_NAME),
            autoencoder: self.vae.as_deref(),
            causal: self.causal,
        }
    }

    /// Settings of `self`, and of `lower` where `self` has none.
    pub fn or(self, lower: Self) -> Self {
        Self {
            model: self.model.or(lower.model),
            vae: self.vae.or(lower.vae),
            causal: self.causal.or(lower.causal),
            out: self.out.or(lower.out),
            run_dir: self.run_dir.or(lower.run_dir),
            // A length in steps on the command line also overrides a length in epochs from the file.
            epochs: if self.steps.is_some() {
                self.epochs
            } else {
                self.epochs.or(lower.epochs)
            },
            steps: if self.epochs.is_some() {
                self.steps
            } else {
                self.steps.or(lower.steps)
            },
            batch_size: self.batch_size.or(lower.batch_size),
            seed: self.seed.or(lower.seed),
            rank: self.rank.or(lower.rank),
            alpha: self.alpha.or(lower.alpha),
            dropout: self.dropout.or(lower.dropout),
            include: self.include.or(lower.include),
            exclude: self.exclude.or(lower.exclude),
            learning_rate: self.learning_rate.or(lower.learning_rate),
            weight_decay: self.weight_decay.or(lower.weight_decay),
            warm_up_steps: self.warm_up_steps.or(lower.warm_up_steps),
            final_rate_ratio: self.final_rate_ratio.or(lower.final_rate_ratio),
            gradient_clip: self.gradient_clip.or(lower.gradient_clip),
            crop_secs: self.crop_secs.or(lower.crop_secs),
            style_drop: self.style_drop.or(lower.style_drop),
            text_drop: self.text_drop.or(lower.text_drop),
            patience_epochs: self.patience_epochs.or(lower.patience_epochs),
            minimum_improvement: self.minimum_improvement.or(lower.minimum_improvement),
            trigger_words: self.trigger_words.or(lower.trigger_words),
            checkpoint_steps: self.checkpoint_steps.or(lower.checkpoint_steps),
            weights: self.weights.or(lower.weights),
            checkpointing: self.checkpointing.or(lower.checkpointing),
            reference_defects: self.reference_defects.or(lower.reference_defects),
        }
    }

    /// Fills in the defaults and checks every range.
    pub fn resolve(self, data: PathBuf, defaults: BaseDefaults) -> Result<TrainConfig, LoraError> {
        let out = self.out.unwrap_or_else(|| PathBuf::from(DEFAULT_OUT));
        let targets = Targets {
            include: self.include.unwrap_or(Targets::default().include),
            exclude: self.exclude.unwrap_or_default(),
        };
        let config = TrainConfig {
            model: self.model.unwrap_or_else(|| EMBEDDED_NAME.to_owned()),
            vae: self.vae,
            causal: self.causal,
            data,
            run_dir: self.run_dir.unwrap_or_else(|| default_run_dir(&out)),
            steps: self.steps.unwrap_or(defaults.steps),
            epochs: if self.steps.is_some() {
                None
            } else {
                self.epochs
            },
            batch_size: self.batch_size.unwrap_or(8),
            seed: self.seed.unwrap_or(0),
            rank: self.rank.unwrap_or(8),
            alpha: self.alpha.unwrap_or(16.0),
            dropout: self.dropout.unwrap_or(0.25),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(0.01),
            warm_up_steps: self.warm_up_steps.unwrap_or(20),
            final_rate_ratio: self.final_rate_ratio.unwrap_or(0.1),
            gradient_clip: self.gradient_clip.unwrap_or(1.0),
            crop_secs: self.crop_secs.unwrap_or(defaults.crop_secs),
            style_drop: self.style_drop.unwrap_or(0.15),
            text_drop: self.text_drop.unwrap_or(default_text_drop()),
            patience_epochs: self.patience_epochs.unwrap_or(200),
            minimum_improvement: self.minimum_improvement.unwrap_or(0.01),
            trigger_words: self
                .trigger_words
                .unwrap_or_else(|| vec![adapter_name(&out)]),
            checkpoint_steps: self.checkpoint_steps.unwrap_or(50),
            weights: self.weights.unwrap_or(defaults.weights),
            checkpointing: self.checkpointing.unwrap_or_default(),
            reference_defects: self.reference_defects.unwrap_or_default(),
            targets,
            out,
        };
        config.validate()?;
        Ok(config)
    }
}

impl From<TrainConfig> for TrainSettings {
    fn from(config: TrainConfig) -> Self {
        Self {
            model: Some(config.model),
            vae: config.vae,
            causal: config.causal,
            out: Some(config.out),
            run_dir: Some(config.run_dir),
            epochs: config.epochs,
            steps: config.epochs.is_none().then_some(config.steps),
            batch_size: Some(config.batch_size),
            seed: Some(config.seed),
            rank: Some(config.rank),
            alpha: Some(config.alpha),
            dropout: Some(config.dropout),
            include: Some(config.targets.include),
            exclude: Some(config.targets.exclude),
            learning_rate: Some(config.learning_rate),
            weight_decay: Some(config.weight_decay),
            warm_up_steps: Some(config.warm_up_steps),
            final_rate_ratio: Some(config.final_rate_ratio),
            gradient_clip: Some(config.gradient_clip),
            crop_secs: Some(config.crop_secs),
            style_drop: Some(config.style_drop),
            text_drop: Some(config.text_drop),
            patience_epochs: Some(config.patience_epochs),
            minimum_improvement: Some(config.minimum_improvement),
            trigger_words: Some(config.trigger_words),
            checkpoint_steps: Some(config.checkpoint_steps),
            weights: Some(config.weights),
            checkpointing: Some(config.checkpointing),
            reference_defects: Some(config.reference_defects),
        }
    }
}

/// The configuration that a run folder keeps; the folder is the one these settings name.
pub fn saved_config(settings: &TrainSettings) -> Result<TrainConfig, LoraError> {
    let out = settings
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(DEFAULT_OUT));
    let run_dir = settings
        .run_dir
        .clone()
        .unwrap_or_else(|| default_run_dir(&out));
    let path = run_dir.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| LoraError::BadFile {
        path: path.clone(),
        problem: format!("{source}; there is no run to resume here (--run-dir names another)"),
    })?;
    toml::from_str(&text).map_err(|error| LoraError::BadFile {
        path,
        problem: format!(
            "the run's configuration is damaged or of another version: {}; begin again with --force",
            error.to_string().trim_end()
        ),
    })
}

fn default_run_dir(out: &Path) -> PathBuf {
    Path::new("runs").join(adapter_name(out))
}

fn adapter_name(out: &Path) -> String {
    out.file_stem().map_or_else(
        || "style".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
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

    /// Dropout as it is executed.
    pub(super) fn executed_dropout(&self) -> f64 {
        match self.reference_defects {
            true => 0.0,
            false => self.dropout,
        }
    }

    fn validate(&self) -> Result<(), LoraError> {
        for (setting, value) in [
            ("steps", self.steps),
            ("epochs", self.epochs.unwrap_or(1)),
            ("patience_epochs", self.patience_epochs),
            ("checkpoint_steps", self.checkpoint_steps),
        ] {
            count_within(setting, value as u64, 1, MOST_STEPS)?;
        }
        count_within("warm_up_steps", self.warm_up_steps as u64, 0, MOST_STEPS)?;
        count_within("batch_size", self.batch_size as u64, 1, MOST_CROPS)?;
        count_within("rank", self.rank as u64, 1, HIGHEST_RANK)?;
        count_within("seed", self.seed, 0, i64::MAX as u64)?;
        within("alpha", self.alpha, 1e-6, 1e6)?;
        within("dropout", self.dropout, 0.0, 0.99)?;
        within("learning_rate", self.learning_rate, 1e-9, 1.0)?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        within("final_rate_ratio", self.final_rate_ratio, 0.0, 1.0)?;
        within("gradient_clip", self.gradient_clip, 0.0, 1e6)?;
        within("crop_secs", self.crop_secs, 0.1, 600.0)?;
        within("style_drop", self.style_drop, 0.0, 1.0)?;
        within("text_drop", self.text_drop, 0.0, 1.0)?;
        within("minimum_improvement", self.minimum_improvement, 0.0, 1.0)?;
        if self.targets.include.is_empty() {
            let expected = "at least one pattern, such as self_attn.q_proj".to_owned();
            return Err(LoraError::Setting {
                setting: "include",
                value: "nothing".to_owned(),
                expected,
            });
        }
        Ok(())
    }
}

fn count_within(setting: &'static str, value: u64, low: u64, high: u64) -> Result<(), LoraError> {
    if !(low..=high).contains(&value) {
        return Err(LoraError::Setting {
            setting,
            value: value.to_string(),
            expected: format!("must be from {low} to {high}"),
        });
    }
    Ok(())
}

fn within(setting: &'static str, value: f64, low: f64, high: f64) -> Result<(), LoraError> {
    if !(low..=high).contains(&value) {
        return Err(LoraError::Setting {
            setting,
            value: value.to_string(),
            expected: format!("must be from {low} to {high}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BaseModel;

    fn resolve(settings: TrainSettings) -> Result<TrainConfig, LoraError> {
        settings.resolve("segments".into(), BaseDefaults::EMBEDDED)
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
        let embedded = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/base/lorelei-base-1.safetensors"
        );
        for (model, rate) in [(EMBEDDED_NAME, 2e-3), (embedded, 2e-3), (tiny, 2e-4)] {
            let mut base = BaseModel::open(model, &device).unwrap();
            let config = TrainSettings::default()
                .resolve("segments".into(), BaseDefaults::of(&Outline::of(&mut base)))
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
                && error.contains("lerning_rate")
                && error.contains("line 2"),
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
        let numbers: [(&str, Set); 5] = [
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

    #[test]
    fn resolved_configuration_survives_toml() {
        let config = resolve(TrainSettings {
            epochs: Some(5),
            ..Default::default()
        })
        .unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<TrainConfig>(&text).unwrap(), config);
    }
}
