//! Effects on tracks and on the sum.

mod chorus;
mod delay;
mod distortion;
pub(crate) mod limiter;
pub(crate) mod reverb;
mod wobble;

use crate::dsp::filter::Biquad;
use crate::dsp::sine::Sine;

/// One effect in a chain.
#[derive(Clone, Debug)]
pub(crate) enum Insert {
    LowPass {
        hz: f32,
    },
    HighPass {
        hz: f32,
    },
    Peak {
        hz: f32,
        q: f32,
        gain_db: f32,
    },
    Distortion {
        drive: f32,
        tone_hz: f32,
    },
    Chorus {
        depth_secs: f32,
        hz: f32,
        mix: f32,
    },
    Delay {
        secs: f32,
        feedback: f32,
        mix: f32,
    },
    Tremolo {
        hz: f32,
        depth: f32,
        stereo: bool,
    },
    /// Ducks after every beat, as under a side-chained compressor.
    Pump {
        beat_secs: f32,
        depth: f32,
    },
    /// Tape: slow changes of speed, in parts of the speed.
    Wobble {
        depth: f32,
        hz: f32,
    },
    /// Noise of a record: a level relative to full scale.
    Crackle {
        gain: f32,
        seed: u64,
    },
}

impl Insert {
    /// Applies the effect to both channels in place.
    pub(crate) fn apply(&self, left: &mut [f32], right: &mut [f32], sample_rate_hz: f32) {
        match *self {
            Self::LowPass { hz } => {
                filter(Biquad::low_pass(hz, 0.707, sample_rate_hz), left, right)
            }
            Self::HighPass { hz } => {
                filter(Biquad::high_pass(hz, 0.707, sample_rate_hz), left, right)
            }
            Self::Peak { hz, q, gain_db } => {
                filter(Biquad::peak(hz, q, gain_db, sample_rate_hz), left, right)
            }
            Self::Distortion { drive, tone_hz } => {
                distortion::apply(drive, tone_hz, left, right, sample_rate_hz)
            }
            Self::Chorus {
                depth_secs,
                hz,
                mix,
            } => chorus::apply(depth_secs, hz, mix, left, right, sample_rate_hz),
            Self::Delay {
                secs,
                feedback,
                mix,
            } => delay::apply(secs, feedback, mix, left, right, sample_rate_hz),
            Self::Tremolo { hz, depth, stereo } => {
                tremolo(hz, depth, stereo, left, right, sample_rate_hz)
            }
            Self::Pump { beat_secs, depth } => pump(beat_secs, depth, left, right, sample_rate_hz),
            Self::Wobble { depth, hz } => wobble::apply(depth, hz, left, right, sample_rate_hz),
            Self::Crackle { gain, seed } => {
                wobble::crackle(gain, seed, left, right, sample_rate_hz)
            }
        }
    }
}

fn filter(prototype: Biquad, left: &mut [f32], right: &mut [f32]) {
    for channel in [left, right] {
        let mut section = prototype;
        for sample in channel {
            *sample = section.next(*sample);
        }
    }
}

fn tremolo(
    hz: f32,
    depth: f32,
    stereo: bool,
    left: &mut [f32],
    right: &mut [f32],
    sample_rate_hz: f32,
) {
    let sine = Sine::new();
    let opposite = if stereo { 0.5 } else { 0.0 };
    for (i, (l, r)) in left.iter_mut().zip(right).enumerate() {
        let turns = (f64::from(hz) * i as f64 / f64::from(sample_rate_hz)).fract() as f32;
        *l *= 1.0 - depth * (0.5 + 0.5 * sine.at(turns));
        *r *= 1.0 - depth * (0.5 + 0.5 * sine.at(turns + opposite));
    }
}

fn pump(beat_secs: f32, depth: f32, left: &mut [f32], right: &mut [f32], sample_rate_hz: f32) {
    let beat_frames = f64::from(beat_secs) * f64::from(sample_rate_hz);
    for (i, (l, r)) in left.iter_mut().zip(right).enumerate() {
        let phase = (i as f64 / beat_frames).fract() as f32;
        let gain = 1.0 - depth * (1.0 - phase * 1.4).max(0.0).powi(2);
        *l *= gain;
        *r *= gain;
    }
}
