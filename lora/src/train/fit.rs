//! Settings that fit into a memory: what changes nothing first, what changes little next.

use std::fmt;
use std::str::FromStr;

use nn::WeightPrecision;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::config::{BaseDefaults, Checkpointing, TrainConfig, TrainSettings};
use super::plan::plan;
use crate::base::Outline;
use crate::error::LoraError;

/// A size of memory, written `8GB`, `6.5GiB` or `900MB`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemorySize {
    /// In bytes.
    pub bytes: usize,
}

/// Units, the longer names first.
const UNITS: [(&str, f64); 6] = [
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("G", 1e9),
    ("M", 1e6),
];

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let size =
            unit.and_then(|(number, bytes)| Some(number.trim().parse::<f64>().ok()? * bytes));
        match size {
            Some(bytes) if (1e6..1e15).contains(&bytes) => Ok(Self {
                bytes: bytes as usize,
            }),
            _ => Err("expected a size such as 8GB, 6.5GiB or 900MB".to_owned()),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}MB", self.bytes as f64 / 1e6)
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Settings that fit, and what was chosen so that they do.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// With what was left open filled in.
    pub settings: TrainSettings,
    /// A line each, for people.
    pub changes: Vec<String>,
}

/// Chooses among the settings that are left open: batches in parts, whose gradients are added up, and gradient checkpoints, which change
/// nothing but the time; then base weights of fewer bits.
///
/// # Errors
/// [`LoraError::Setting`] when nothing fits, with the least that is needed.
pub fn fit(
    base: &Outline,
    settings: &TrainSettings,
    memory: MemorySize,
) -> Result<Fitted, LoraError> {
    let defaults = BaseDefaults::of(base);
    let asked = settings.clone().resolve(defaults)?;
    let mut least = usize::MAX;
    for candidate in candidates(settings, &asked) {
        let settings = settings.clone().or(candidate);
        let config = settings.clone().resolve(defaults)?;
        let needed = plan(base, &config).memory_bytes;
        least = least.min(needed);
        if needed <= memory.bytes {
            let changes = changes(&asked, &config);
            return Ok(Fitted { settings, changes });
        }
    }
    Err(LoraError::Setting {
        setting: "memory",
        value: memory.to_string(),
        expected: format!(
            "is less than any open setting fits into; the least is about {} MB, and shorter crops (--crop-secs {}) or another base need less",
            least / 1_000_000 + 1,
            asked.crop_secs / 2.0
        ),
    })
}

/// What may be tried, the best first.
fn candidates(settings: &TrainSettings, asked: &TrainConfig) -> Vec<TrainSettings> {
    let lighter = [
        WeightPrecision::Bf16,
        WeightPrecision::Int8,
        WeightPrecision::Nf4,
    ];
    let lighter = lighter
        .into_iter()
        .filter(|precision| precision.bytes(1 << 10) < asked.weights.bytes(1 << 10));
    let mut precisions = vec![asked.weights];
    if settings.weights.is_none() {
        precisions.extend(lighter);
    }
    let checkpointing = match settings.checkpointing {
        Some(asked) => vec![asked],
        None => vec![
            Checkpointing::OFF,
            Checkpointing::Share(0.5),
            Checkpointing::ON,
        ],
    };
    let parts_are_open = settings.batch_size.is_none() && settings.accumulate.is_none();
    let parts = match parts_are_open {
        true => (1..=asked.batch_size)
            .filter(|parts| asked.batch_size.is_multiple_of(*parts))
            .collect(),
        false => vec![1],
    };
    let mut candidates = Vec::new();
    for &weights in &precisions {
        for &parts in &parts {
            for &checkpointing in &checkpointing {
                candidates.push(TrainSettings {
                    weights: Some(weights),
                    checkpointing: Some(checkpointing),
                    batch_size: Some(asked.batch_size / parts),
                    accumulate: Some(asked.accumulate * parts),
                    ..TrainSettings::default()
                });
            }
        }
    }
    candidates
}

fn changes(asked: &TrainConfig, chosen: &TrainConfig) -> Vec<String> {
    let mut changes = Vec::new();
    if chosen.weights != asked.weights {
        let spelled = toml::Value::try_from(chosen.weights).ok();
        let spelled = spelled.as_ref().and_then(toml::Value::as_str);
        changes.push(format!("--weights {}", spelled.unwrap_or_default()));
    }
    if chosen.batch_size != asked.batch_size {
        changes.push(format!(
            "--batch-size {} --accumulate {} (the same step in parts)",
            chosen.batch_size, chosen.accumulate
        ));
    }
    changes.push(format!("--checkpointing {}", chosen.checkpointing));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::KnownModel;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("8GB", 8_000_000_000),
            ("1.5GiB", 1_610_612_736),
            ("900 MB", 900_000_000),
        ] {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!(size.bytes, bytes, "{text}");
            assert_eq!(size.to_string().parse::<MemorySize>().unwrap(), size);
        }
        for bad in ["8", "GB", "-1GB", "8TB", "1e99GB", "0.1MB"] {
            assert!(bad.parse::<MemorySize>().is_err(), "{bad}");
        }
    }

    fn fitted(memory: &str, settings: TrainSettings) -> Result<TrainConfig, LoraError> {
        let known = KnownModel::named("diffrhythm-base").unwrap();
        let base = Outline::of_known(known, None, None).unwrap();
        let fitted = fit(&base, &settings, memory.parse().unwrap())?;
        let config = fitted.settings.resolve(BaseDefaults::of(&base)).unwrap();
        assert!(plan(&base, &config).memory_bytes <= memory.parse::<MemorySize>().unwrap().bytes);
        Ok(config)
    }

    #[test]
    fn the_mildest_choice_is_taken_and_the_step_stays_the_same() {
        let mut last = usize::MAX;
        for memory in ["1000GB", "60GB", "20GB", "8GB", "4GB"] {
            let config = fitted(memory, TrainSettings::default()).unwrap();
            assert_eq!(config.batch_size * config.accumulate, 8, "{memory}");
            assert!(config.batch_size <= last, "{memory}");
            last = config.batch_size;
        }
        let large = fitted("1000GB", TrainSettings::default()).unwrap();
        assert_eq!(
            (large.batch_size, large.checkpointing),
            (8, Checkpointing::OFF)
        );
    }

    #[test]
    fn what_was_asked_for_is_kept_or_refused() {
        let asked = TrainSettings {
            checkpointing: Some(Checkpointing::OFF),
            batch_size: Some(8),
            ..TrainSettings::default()
        };
        let error = fitted("8GB", asked).unwrap_err().to_string();
        assert!(
            error.contains("--memory") && error.contains("8000MB"),
            "{error}"
        );
    }
}
