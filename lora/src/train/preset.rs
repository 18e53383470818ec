//! Settings with a name, as files that can be copied: `lora/presets/NAME.toml`.

use std::str::FromStr;

use super::config::TrainSettings;

/// The files, which are part of the program.
const PRESETS: [(&str, &str); 3] = [
    ("embedded", include_str!("../../presets/embedded.toml")),
    (
        "diffrhythm-opera",
        include_str!("../../presets/diffrhythm-opera.toml"),
    ),
    (
        "diffrhythm-laptop",
        include_str!("../../presets/diffrhythm-laptop.toml"),
    ),
];

/// A named set of settings; flags and files go before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    settings: TrainSettings,
}

impl Preset {
    /// The names of all presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The settings.
    pub fn settings(self) -> TrainSettings {
        self.settings
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((_, file)) = PRESETS.iter().find(|(name, _)| *name == text) else {
            let names: Vec<&str> = Self::names().collect();
            return Err(format!("expected {}", names.join(", ")));
        };
        let settings = TrainSettings::from_text(file)?;
        Ok(Self { settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::ORIGINAL_TARGETS;
    use crate::train::BaseDefaults;

    #[test]
    fn every_preset_is_a_run() {
        for name in Preset::names() {
            let preset: Preset = name.parse().unwrap();
            preset.settings().resolve(BaseDefaults::OTHER).unwrap();
        }
        assert!(
            "opera"
                .parse::<Preset>()
                .unwrap_err()
                .contains("diffrhythm-opera")
        );
    }

    #[test]
    fn the_opera_has_the_originals_settings() {
        let preset: Preset = "diffrhythm-opera".parse().unwrap();
        let config = preset.settings().resolve(BaseDefaults::OTHER).unwrap();
        assert_eq!(config.include, ORIGINAL_TARGETS);
        assert_eq!((config.rank, config.alpha, config.dropout), (8, 16.0, 0.25));
        assert_eq!((config.learning_rate, config.final_rate_ratio), (2e-4, 0.1));
        assert_eq!((config.batch_size, config.patience_epochs), (6, 200));
        assert!(!config.reference_defects && config.pad_to_model);
    }

    /// The file says what happens without it.
    #[test]
    fn the_embedded_preset_is_the_default() {
        let preset: Preset = "embedded".parse().unwrap();
        let without = TrainSettings::default().resolve(BaseDefaults::EMBEDDED);
        let with = preset.settings().resolve(BaseDefaults::EMBEDDED);
        assert_eq!(with.unwrap(), without.unwrap());
    }
}
