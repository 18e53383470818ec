//! A recording's own loudness, for the pieces that are too short to have one.

use audio::AudioError;
use audio::loudness::{Measure, Meter};

use super::Analysis;

/// Measures a whole recording.
pub(crate) struct SongLoudness {
    meter: Meter,
}

impl SongLoudness {
    pub(crate) fn new(sample_rate_hz: u32) -> Result<Self, AudioError> {
        let meter = Meter::new(2, sample_rate_hz, Measure::Loudness)?;
        Ok(Self { meter })
    }
}

impl Analysis for SongLoudness {
    /// Integrated loudness in LUFS.
    type Outcome = Option<f64>;

    fn block(&mut self, stereo: [&[f64]; 2]) -> Result<(), AudioError> {
        self.meter.add(&stereo)
    }

    fn finish(self) -> Option<f64> {
        self.meter.integrated_lufs()
    }
}
