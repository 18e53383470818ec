//! The clip's quarters, and when the host's next one begins.

use super::clip::LoopClip;

/// A rest of a bar that is shorter than this is none.
const LEAST_QUARTERS: f64 = 1e-6;

/// One quarter of a clip; the last one may be shorter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slice {
    pub(super) index: usize,
    /// First frame.
    pub(super) origin: usize,
    /// Frames.
    pub(super) length: usize,
    pub(super) quarters: f64,
}

impl Slice {
    /// By its index, which counts on around the loop.
    pub(super) fn new(clip: &LoopClip, index: usize) -> Self {
        let count = (clip.quarters - LEAST_QUARTERS).ceil().max(1.0) as usize;
        let index = index % count;
        let frame = |quarter: usize| (quarter as f64 * clip.frames_per_quarter()).round() as usize;
        let (is_last, origin) = (index + 1 == count, frame(index));
        let end = if is_last {
            clip.frames()
        } else {
            frame(index + 1)
        };
        Self {
            index,
            origin: origin.min(clip.frames() - 1),
            length: end.saturating_sub(origin).max(1),
            quarters: if is_last {
                clip.quarters - index as f64
            } else {
                1.0
            },
        }
    }

    /// The one after it.
    pub(super) fn next(self, clip: &LoopClip) -> Self {
        Self::new(clip, self.index + 1)
    }

    /// The one at a position in quarters, and how many quarters of it are over. Half a sample before a beat is on it.
    pub(super) fn at(clip: &LoopClip, quarters: f64, quarters_per_sample: f64) -> (Self, f64) {
        let nudged = (quarters + 0.5 * quarters_per_sample).rem_euclid(clip.quarters);
        let slice = Self::new(clip, nudged as usize);
        let over = nudged - slice.index as f64 - 0.5 * quarters_per_sample;
        (slice, over)
    }
}

/// How the next slice comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approach {
    /// It is not near yet.
    Far,
    /// What sounds arrives there by itself.
    Joins,
    /// It sounds already, from a little before its beginning.
    Sounds,
}

/// The next beat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    /// Where it is, on the count of the looper.
    pub(super) at_quarters: f64,
    /// What begins there.
    pub(super) slice: Slice,
    pub(super) approach: Approach,
}

impl Beat {
    /// Samples until the sample that is nearest to it.
    pub(super) fn samples_from(&self, quarters: f64, quarters_per_sample: f64) -> usize {
        let samples = (self.at_quarters - quarters) / quarters_per_sample;
        (samples - 0.5).ceil().max(0.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(quarters: f64, frames: usize) -> LoopClip {
        LoopClip {
            channels: [vec![0.0; frames], vec![0.0; frames]],
            sample_rate_hz: 48_000.0,
            tempo_bpm: 120.0,
            quarters,
            ..LoopClip::default()
        }
    }

    #[test]
    fn slices_cover_the_loop() {
        for (quarters, frames) in [(4.0, 1001), (3.5, 1000), (0.5, 7), (16.0, 3)] {
            let clip = clip(quarters, frames);
            let count = quarters.ceil() as usize;
            let slices: Vec<_> = (0..count).map(|index| Slice::new(&clip, index)).collect();
            let sum: f64 = slices.iter().map(|slice| slice.quarters).sum();
            assert_eq!(sum, quarters);
            assert_eq!(slices[count - 1].next(&clip), slices[0]);
            if frames > count {
                let last = slices[count - 1];
                assert_eq!(last.origin + last.length, frames);
                for pair in slices.windows(2) {
                    assert_eq!(pair[0].origin + pair[0].length, pair[1].origin);
                }
            }
        }
    }

    #[test]
    fn half_a_sample_before_a_beat_is_on_it() {
        let clip = clip(4.0, 96_000);
        let (slice, over) = Slice::at(&clip, -0.4 / 24_000.0, 1.0 / 24_000.0);
        assert_eq!(slice.index, 0);
        assert!(over < 0.0);
        assert_eq!(Slice::at(&clip, 6.5, 1e-9).0.index, 2);
    }
}
