//! The beat grid as text tokens: one token a latent frame says where in the bar the frame begins.
//!
//! Token = 1 + beat in bar * pulses a beat + pulse of the beat; 0 means no grid (the tempo is left to the model).

use super::tags::MOST_BEATS_PER_BAR;

/// Most positions that a base may tell apart within one beat: finer than a frame of any.
pub(crate) const MOST_PULSES_PER_BEAT: usize = 96;

/// The token of a moment, in seconds after a downbeat or before it.
pub(crate) fn token(
    seconds: f64,
    tempo_bpm: f64,
    beats_per_bar: usize,
    pulses_per_beat: usize,
) -> u32 {
    let pulses_per_bar = (pulses_per_beat * beats_per_bar.clamp(1, MOST_BEATS_PER_BAR)) as i64;
    // The small offset keeps a frame that begins on a pulse from falling before it by rounding.
    let pulse = (seconds * tempo_bpm / 60.0 * pulses_per_beat as f64 + 1e-6).floor() as i64;
    1 + pulse.rem_euclid(pulses_per_bar) as u32
}

/// A steady grid with its first downbeat at the start of the clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PulseGrid {
    /// Beats a minute.
    pub tempo_bpm: f64,
    /// Beats in a bar, 1 to 6.
    pub beats_per_bar: usize,
}

impl PulseGrid {
    /// One token for each latent frame; `frame_secs` is a latent frame's length in seconds.
    pub fn tokens(
        &self,
        latent_frames: usize,
        frame_secs: f64,
        pulses_per_beat: usize,
    ) -> Vec<u32> {
        (0..latent_frames)
            .map(|frame| {
                let seconds = frame as f64 * frame_secs;
                token(seconds, self.tempo_bpm, self.beats_per_bar, pulses_per_beat)
            })
            .collect()
    }

    /// Length of this many bars in seconds.
    pub fn bars_secs(&self, bars: usize) -> f64 {
        bars as f64 * self.beats_per_bar as f64 * 60.0 / self.tempo_bpm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_through_the_bar_and_start_again() {
        // At 60 beats a minute and 8 latent frames a second, each frame is one pulse.
        let grid = PulseGrid {
            tempo_bpm: 60.0,
            beats_per_bar: 3,
        };
        let tokens = grid.tokens(26, 0.125, 8);
        assert_eq!(&tokens[..9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(&tokens[22..], &[23, 24, 1, 2]);
        assert_eq!(token(-0.125, 60.0, 3, 8), 24, "before the first downbeat");
        assert_eq!(token(2.0, 90.0, 4, 24), 1 + 3 * 24);
    }

    #[test]
    fn bars_take_their_time() {
        let grid = PulseGrid {
            tempo_bpm: 120.0,
            beats_per_bar: 4,
        };
        assert_eq!(grid.bars_secs(4), 8.0);
    }
}
