//! A clip made ready for playing, off the audio thread.

/// A seamless loop at the host's rate.
#[derive(Debug, Clone, Default)]
pub struct LoopClip {
    /// Names the clip: the same sound at another tempo or rate has the same number.
    pub number: u64,
    /// Left and right, the whole loop.
    pub channels: [Vec<f32>; 2],
    /// The rate it is made ready for, in Hz.
    pub sample_rate_hz: f64,
    /// The tempo at which its samples play, in quarter notes a minute.
    pub tempo_bpm: f64,
    /// Length in quarter notes.
    pub quarters: f64,
    /// Length of a bar in quarter notes; 0 where it has none.
    pub bar_quarters: f64,
}

/// Lengths that a loop can have, in quarter notes.
const QUARTERS: std::ops::RangeInclusive<f64> = 0.0625..=1e6;

impl LoopClip {
    /// Length in frames.
    pub fn frames(&self) -> usize {
        self.channels[0].len()
    }

    /// Whether it can be played at all; one that cannot is as good as none.
    pub fn is_playable(&self) -> bool {
        let is_positive = |value: f64| value.is_finite() && value > 0.0;
        self.frames() > 0
            && self.channels[1].len() == self.frames()
            && is_positive(self.sample_rate_hz)
            && is_positive(self.tempo_bpm)
            && QUARTERS.contains(&self.quarters)
    }

    /// Frames of a quarter note.
    pub(super) fn frames_per_quarter(&self) -> f64 {
        self.frames() as f64 / self.quarters
    }

    /// Frames of this clip to a sample of the host.
    pub(super) fn step(&self, host_rate_hz: f64) -> f64 {
        self.sample_rate_hz / host_rate_hz
    }
}
