//! Defaults that depend on the base, and names made from the adapter's.

use std::path::{Path, PathBuf};

use nn::WeightPrecision;

use crate::base::Outline;

/// The adapter's file if none is named.
pub(super) const DEFAULT_OUT: &str = "style.safetensors";

/// What a base brings as its own defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseDefaults {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Optimizer steps.
    pub steps: usize,
    /// Length of a crop in seconds.
    pub crop_secs: f64,
    /// Steps between previews.
    pub preview_steps: usize,
    /// What the base's weights are kept in.
    pub weights: WeightPrecision,
}

impl BaseDefaults {
    /// The embedded base is small: the rate of the large released models (2e-4) leaves it where it was.
    pub const EMBEDDED: Self = Self {
        learning_rate: 2e-3,
        steps: 300,
        crop_secs: 6.0,
        preview_steps: 100,
        weights: WeightPrecision::F32,
    };
    /// Bases of the released models' size, which the embedded base's rate would throw off their course.
    pub const OTHER: Self = Self {
        learning_rate: 2e-4,
        steps: 300,
        crop_secs: 6.0,
        preview_steps: 100,
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
                // A song takes minutes to make.
                preview_steps: 0,
                weights: base.precision,
                ..Self::OTHER
            },
        }
    }
}

/// What the default of a setting depends on, in the words of a configuration file; none where it is always the same.
pub(super) fn depends_on(setting: &str) -> Option<&'static str> {
    match setting {
        "learning_rate" | "steps" | "crop_secs" | "preview_steps" | "weights" => Some("the base"),
        "dropout" => Some("method"),
        "run_dir" | "trigger_words" => Some("out"),
        _ => None,
    }
}

/// The run's folder if none is named.
pub(super) fn default_run_dir(out: &Path) -> PathBuf {
    Path::new("runs").join(adapter_name(out))
}

/// An adapter's name: its file's, without folder and ending.
pub(super) fn adapter_name(out: &Path) -> String {
    out.file_stem().map_or_else(
        || "style".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
