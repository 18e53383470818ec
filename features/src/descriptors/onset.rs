//! Onset strength: how much the levels of the bands rise from one frame to the next.
//!
//! Boeck and Widmer, "Maximum filter vibrato suppression for onset detection" (2013), without the maximum filter: the
//! defaults of `librosa.onset.onset_strength`.

use std::ops::Range;

/// Mean rise in decibels over the `bands` of each frame of levels `[frames, all_bands]`; the first frame's is zero.
pub fn onset_strength(levels: &[f32], all_bands: usize, bands: Range<usize>) -> Vec<f32> {
    let frames: Vec<&[f32]> = levels.chunks_exact(all_bands.max(1)).collect();
    let bands = bands.start.min(all_bands)..bands.end.min(all_bands);
    let rise = |pair: &[&[f32]]| {
        let differences = pair[1][bands.clone()].iter().zip(&pair[0][bands.clone()]);
        let sum: f32 = differences
            .map(|(now, before)| (now - before).max(0.0))
            .sum();
        sum / bands.len().max(1) as f32
    };
    let first = frames.iter().take(1).map(|_| 0.0);
    first.chain(frames.windows(2).map(rise)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rises_within_the_bands_count() {
        let levels = [0.0, 0.0, 4.0, -3.0, 0.0, 2.0];
        assert_eq!(onset_strength(&levels, 2, 0..2), [0.0, 2.0, 2.5]);
        assert_eq!(onset_strength(&levels, 2, 1..2), [0.0, 0.0, 5.0]);
        assert!(onset_strength(&[], 2, 0..2).is_empty());
    }
}
