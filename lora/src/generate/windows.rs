//! Which stretches a long clip is made in.

use std::ops::Range;

/// Latent frames of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Shorter ones are outside of what the base was trained at.
    pub(super) shortest: usize,
    /// Longer ones too.
    pub(super) longest: usize,
}

/// Crops that the embedded base was trained at (`LENGTHS` of `base_training/transformer/batch.rs`; the first one's longest had 258).
pub(super) const OWN: Limits = Limits {
    shortest: 130,
    longest: 258,
};

/// Known frames before what a window makes. In training 10 to 70 % of a crop were known.
const BEFORE: usize = 96;
/// Known frames behind what closes the loop.
pub(super) const BEHIND: usize = 64;
/// Share of a short clip that is made with its beginning in view, again.
const CLOSING_SHARE: f64 = 0.4;

/// The windows of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    /// Frames of the first one, which begins with the clip and may be longer than it.
    pub(super) first: usize,
    /// How many of them the clip keeps.
    pub(super) kept: usize,
    /// What is made one after the other behind those.
    pub(super) further: Vec<Range<usize>>,
    /// What is made last, up to the clip's end.
    pub(super) closing: Range<usize>,
}

impl Windows {
    /// For a clip of so many frames.
    pub(super) fn of(frames: usize, limits: Limits) -> Self {
        let frames = frames.max(1);
        let most_closing = limits.longest.saturating_sub(BEFORE + BEHIND).max(1);
        let closing = (frames as f64 * CLOSING_SHARE).ceil() as usize;
        let opened = frames - closing.clamp(1, most_closing);
        let kept = opened.min(limits.longest);
        let rest = opened - kept;
        let count = rest.div_ceil(limits.longest.saturating_sub(BEFORE).max(1));
        let bound = |number: usize| kept + rest * number / count.max(1);
        Self {
            // As much again is heard as the loop's context, where the clip is short.
            first: frames.clamp(limits.shortest, limits.longest),
            kept,
            further: (0..count)
                .map(|number| bound(number)..bound(number + 1))
                .collect(),
            closing: opened..frames,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.further.len() + 2
    }
}

/// Where the known frames begin that a window sees before those from `start` on.
pub(super) fn context_from(start: usize) -> usize {
    start.saturating_sub(BEFORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_one_another_to_the_end_and_stay_within_their_limits() {
        for frames in (1..600).chain([690, 2_000, 12_919]) {
            let windows = Windows::of(frames, OWN);
            let mut at = windows.kept;
            assert!(windows.kept <= windows.first && windows.first <= OWN.longest);
            for range in &windows.further {
                assert_eq!(range.start, at);
                assert!(range.end - context_from(range.start) <= OWN.longest);
                at = range.end;
            }
            assert_eq!(windows.closing.start, at, "{frames}");
            assert_eq!(windows.closing.end, frames);
            assert!(!windows.closing.is_empty());
            let closing = windows.closing.end + BEHIND - context_from(windows.closing.start);
            assert!(closing <= OWN.longest, "{frames}");
        }
    }
}
