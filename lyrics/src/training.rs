//! Tokens onto latent frames, for training (`get_triple` in the reference's `dataset/dataset.py`).

use crate::TimedTokens;
use crate::placement::{FRAMES_PER_SEC, frame_at, lay_out, time_of_frame, without_last};

/// Which stretch of a song is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingWindow {
    /// Frames of the model: 2048 or 6144.
    pub max_frames: usize,
    /// Latent frames of the whole song.
    pub song_frames: usize,
    /// Where the stretch begins in the song; the reference draws it from 0 to `song_frames - max_frames`.
    pub start_frame: usize,
}

/// Lyrics at the frames of a training stretch.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedForTraining {
    /// A token per frame, `[max_frames]`.
    pub tokens: Vec<i64>,
    /// Latent frames that count, from the stretch's start to the beginning of its last line.
    pub valid_frames: usize,
    /// Where the stretch begins, as a share of the song.
    pub start_time: f64,
}

/// Places the lines that begin within the window; the song is heard up to where its last line begins.
///
/// `None` where no line begins within the window: the reference then trains on another song.
#[must_use]
pub fn place_for_training(
    lines: &[TimedTokens],
    window: &TrainingWindow,
) -> Option<PlacedForTraining> {
    let start_secs = time_of_frame(window.start_frame);
    let cutoff_secs = window.max_frames as f64 / FRAMES_PER_SEC;
    let in_window: Vec<(f64, Option<&[u16]>)> = lines
        .iter()
        .map(|line| (line.time_secs - start_secs, line.tokens.as_deref()))
        .filter(|&(time_secs, _)| time_secs >= 0.0 && time_secs < cutoff_secs)
        .collect();
    let &(end_secs, _) = in_window.last()?;
    let sung = without_last(&in_window, window.max_frames);
    let (tokens, _) = lay_out(sung.iter().copied(), window.max_frames);
    let remaining = window.song_frames.saturating_sub(window.start_frame);
    Some(PlacedForTraining {
        tokens,
        valid_frames: frame_at(end_secs).min(remaining),
        start_time: window.start_frame as f64 / window.song_frames.max(1) as f64,
    })
}
