//! What is saved with a host's project: everything that makes the clips again, and the clips that were kept.

mod reading;

use std::path::PathBuf;

use protocol::recipe::{EMBEDDED, MOST_ADAPTERS};
use protocol::{ClipFile, Recipe, SourceRole};
use serde::{Deserialize, Serialize};

pub use reading::SavedProject;

/// Variations side by side.
pub const VARIATIONS: usize = 8;
/// Pads that are held, after the variations in [`Project::slots`]: A and B.
pub const PADS: usize = 2;
/// All slots that hold a clip.
pub const SLOTS: usize = VARIATIONS + PADS;
/// Slot of pad A; B follows.
pub const FIRST_PAD: usize = VARIATIONS;

/// Version of this structure in projects.
pub const PROJECT_VERSION: u32 = 1;

/// What is saved beside the parameters. What a newer version wrote and this one does not know is kept as it is, and so is what cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Project {
    /// [`PROJECT_VERSION`] of the plugin that saved it.
    pub version: u32,
    /// Name of the base, as [`protocol::BaseChoice`] has it.
    pub base: String,
    /// The chosen adapters by their slot; strengths are parameters.
    pub adapters: [Option<ChosenAdapter>; MOST_ADAPTERS],
    /// Tags or words.
    pub prompt: String,
    /// Sound that was brought.
    pub source: Option<ChosenSource>,
    /// Eight variations, then the two pads.
    pub slots: [Option<Variation>; SLOTS],
    /// Clips that were asked for in this project: what an unlocked seed counts up by.
    pub clips_asked: u64,
    /// Size of the editor's window in logical pixels.
    pub editor_size: (u32, u32),
    /// Set by whoever works with the project; one that was just restored has none.
    #[serde(skip)]
    pub is_known: bool,
    /// What could not be read, by its place.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub unreadable: serde_json::Map<String, serde_json::Value>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// An adapter of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenAdapter {
    /// Where it was last.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// What identifies it on another machine.
    pub sha256: Option<String>,
}

/// Sound that was brought, and what for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChosenSource {
    /// A sound file.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// Style, or a start to vary.
    pub role: SourceRole,
}

/// A clip that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// What people call it.
    pub name: String,
    /// What makes it again.
    pub recipe: Recipe,
    /// Its name in the cache.
    pub key: String,
    /// Its length at its own rate.
    pub frames: u64,
    /// Its own rate.
    pub sample_rate_hz: u32,
    /// Whether it is kept: new clips take other slots, and its sound is saved in the project.
    pub is_kept: bool,
    /// The cached file's bytes in base64, for clips that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            version: PROJECT_VERSION,
            base: EMBEDDED.to_owned(),
            adapters: Default::default(),
            prompt: String::new(),
            source: None,
            slots: Default::default(),
            clips_asked: 0,
            editor_size: (1080, 720),
            is_known: false,
            unreadable: serde_json::Map::new(),
            unknown: serde_json::Map::new(),
        }
    }
}

impl Project {
    /// The same without the clips' sound, which only saving needs.
    pub fn without_sound(&self) -> Self {
        Self {
            slots: self.slots.each_ref().map(|slot| {
                slot.as_ref().map(|variation| Variation {
                    sound: None,
                    name: variation.name.clone(),
                    recipe: variation.recipe.clone(),
                    key: variation.key.clone(),
                    ..*variation
                })
            }),
            base: self.base.clone(),
            adapters: self.adapters.clone(),
            prompt: self.prompt.clone(),
            source: self.source.clone(),
            unreadable: serde_json::Map::new(),
            unknown: serde_json::Map::new(),
            ..*self
        }
    }
}

impl Variation {
    /// Of a clip that the engine made.
    pub fn of_clip(name: String, recipe: Recipe, clip: &ClipFile) -> Self {
        Self {
            name,
            recipe,
            key: clip.key.clone(),
            frames: clip.frames,
            sample_rate_hz: clip.sample_rate_hz,
            is_kept: false,
            sound: None,
        }
    }
}
