//! Mel spectrograms of the sets side by side.

use std::path::Path;

use features::log_mel::{LogMel, MelParameters};
use features::measure::{read, spectrogram};
use features::{FeatureError, HOP, SAMPLE_RATE_HZ};
use plot::{HeatMap, HeatMapGrid};

use crate::clip_set::ClipSet;
use crate::error::EvalError;
use crate::report::Sets;

/// Clips shown of each set.
const CLIPS: usize = 4;
/// Seconds shown of each clip.
const LONGEST_SECS: f64 = 10.0;
/// Levels from here to black, in decibels relative to a full-scale sine, at −23 LUFS.
const LEVELS_DB: (f64, f64) = (-80.0, -15.0);
const TICKS: [(f64, &str); 5] = [
    (100.0, "100"),
    (500.0, "500"),
    (2000.0, "2k"),
    (5000.0, "5k"),
    (10_000.0, "10k"),
];

/// Writes a PNG with one column for each set and a few clips in each, evenly chosen by name.
///
/// # Errors
/// When the picture cannot be written.
pub fn write(path: &Path, sets: &Sets) -> Result<(), EvalError> {
    let mel = LogMel::new(MelParameters::measuring()).map_err(FeatureError::from)?;
    let mut grid = HeatMapGrid::new(
        "Mel spectrograms, clips at −23 LUFS".replace('−', "-"),
        LEVELS_DB,
    )
    .x_label("time in s")
    .y_label("frequency in Hz")
    .value_label("level in dB");
    for (frequency_hz, text) in TICKS {
        grid = grid.y_mark(mel.axis_fraction(frequency_hz), text);
    }
    for (role, set) in sets.named() {
        grid = grid.column(role, maps(set));
    }
    Ok(grid.write(path)?)
}

fn maps(set: &ClipSet) -> Vec<HeatMap> {
    let shown = set.clips.len().min(CLIPS);
    let chosen = (0..shown).map(|index| index * set.clips.len() / shown);
    // Every clip was measured a moment ago; one that is gone now leaves its place empty.
    chosen
        .filter_map(|index| map(&set.clips[index].name, &set.paths[index]))
        .collect()
}

fn map(name: &str, path: &Path) -> Option<HeatMap> {
    let mut clip = read(path).ok()?;
    let longest = (LONGEST_SECS * f64::from(SAMPLE_RATE_HZ)) as usize;
    let levels = spectrogram(&clip).ok()?;
    clip.channels
        .iter_mut()
        .for_each(|channel| channel.truncate(longest));
    let frames = clip.frames() / HOP + 1;
    let values = levels.iter().take(frames).flatten().copied().collect();
    Some(HeatMap::new(
        name,
        values,
        levels.bands,
        clip.duration_secs(),
    ))
}
