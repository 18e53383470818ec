//! Clips that were measured, as a file keeps them.

use features::ClipMeasurement;
use serde::{Deserialize, Serialize};

/// A folder of clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    pub(crate) clips: Vec<MeasuredClip>,
}

/// One clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasuredClip {
    /// What pairs it with clips of other folders: the end of its name, such as `seed7`.
    pub(crate) place: String,
    pub(crate) measurement: ClipMeasurement,
    /// To the nearest stretch of a training piece; none where nothing happens in the clip, or no training pieces were given.
    pub(crate) similarity: Option<f64>,
}

impl Measured {
    /// The highest similarity to a training piece.
    pub(crate) fn highest_similarity(&self) -> f64 {
        let similarities = self.clips.iter().filter_map(|clip| clip.similarity);
        similarities.fold(0.0, f64::max)
    }

    /// How many clips are nearer to a training piece than this.
    pub(crate) fn clips_above(&self, similarity: f64) -> usize {
        let similarities = self.clips.iter().filter_map(|clip| clip.similarity);
        similarities.filter(|value| *value > similarity).count()
    }
}

/// How they are measured.
pub(super) mod measure {
    use std::collections::BTreeMap;
    use std::path::Path;

    use anyhow::Result;
    use eval::{ClipSet, TrainingPieces};

    use super::{Measured, MeasuredClip};

    /// Changed when clips are measured in another way.
    pub(crate) const LAYOUT: u32 = 1;
    pub(crate) const FILE: &str = "measured.json";

    pub(crate) fn clips(folder: &Path, pieces: Option<&Path>) -> Result<Measured> {
        let set = ClipSet::measure(folder, &|| ())?;
        for skipped in &set.skipped {
            eprintln!("left out: {}", skipped.reason);
        }
        let pieces = pieces.map(TrainingPieces::read).transpose()?;
        let nearest = pieces.map(|pieces| pieces.nearest(&set));
        let similarities: BTreeMap<String, f64> = nearest
            .into_iter()
            .flatten()
            .map(|stretch| (stretch.clip, stretch.similarity))
            .collect();
        let clips = set.clips.into_iter().map(|clip| MeasuredClip {
            place: place(&clip.name),
            similarity: similarities.get(&clip.name).copied(),
            measurement: clip.measurement,
        });
        Ok(Measured {
            clips: clips.collect(),
        })
    }

    fn place(name: &str) -> String {
        name.rsplit('-').next().unwrap_or(name).to_owned()
    }
}
