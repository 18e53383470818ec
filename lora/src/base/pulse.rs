//! The beat grid as text tokens: one token a latent frame says where in the bar the frame begins.
//!
//! Token = 1 + beat in bar * 8 + eighth of the beat; 0 means no grid (the tempo is left to the model).

use super::tags::MOST_BEATS_PER_BAR;

/// Positions told apart within one beat.
pub const PULSES_PER_BEAT: usize = 8;

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
    pub fn tokens(&self, latent_frames: usize, frame_secs: f64) -> Vec<u32> {
        let beats = self.beats_per_bar.clamp(1, MOST_BEATS_PER_BAR);
        let pulses_per_bar = (PULSES_PER_BEAT * beats) as u64;
        // The small offset keeps a frame that begins on a pulse from falling before it by rounding.
        let pulse = |frame: usize| {
            (frame as f64 * frame_secs * self.tempo_bpm / 60.0 * PULSES_PER_BEAT as f64 + 1e-6)
                .floor() as u64
        };
        (0..latent_frames)
            .map(|frame| 1 + (pulse(frame) % pulses_per_bar) as u32)
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
        let tokens = grid.tokens(26, 0.125);
        assert_eq!(&tokens[..9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(&tokens[22..], &[23, 24, 1, 2]);
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
