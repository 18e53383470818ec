//! Which part of a sound is listened to.

use std::borrow::Cow;

use crate::EmbedError;

/// The window from the middle of a sound that DiffRhythm takes its style from: `infer_utils.py` rounds the middle down to
/// a whole second.
///
/// # Errors
/// [`EmbedError::TooShort`] when the sound is shorter than the window.
pub fn middle(
    samples: &[f32],
    sample_rate_hz: u32,
    window_secs: f64,
) -> Result<&[f32], EmbedError> {
    let rate = f64::from(sample_rate_hz);
    let actual_secs = samples.len() as f64 / rate;
    let window = (window_secs * rate).round() as usize;
    let middle_secs = (actual_secs / 2.0).floor();
    let start = ((middle_secs - window_secs / 2.0) * rate).max(0.0) as usize;
    samples
        .get(start..start.saturating_add(window))
        .ok_or(EmbedError::TooShort {
            actual_secs,
            needed_secs: window_secs,
        })
}

/// The stretches of `length` samples that are embedded one by one (`_get_all_clips`). What is left over at the end is
/// filled up from the start of the sound; a sound of less than half a clip is too short for that and makes a shorter one.
pub(crate) fn clips(samples: &[f32], length: usize) -> Vec<Cow<'_, [f32]>> {
    let whole = samples.chunks_exact(length);
    let rest = whole.remainder();
    let mut clips: Vec<Cow<'_, [f32]>> = whole.map(Cow::Borrowed).collect();
    if !rest.is_empty() {
        let missing = (length - rest.len()).min(samples.len());
        clips.push(Cow::Owned([rest, &samples[..missing]].concat()));
    }
    clips
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_middle_starts_at_a_whole_second() {
        let start = |length: usize, window: f64| {
            let samples: Vec<f32> = (0..length).map(|n| n as f32).collect();
            let found = middle(&samples, 100, window).unwrap();
            assert_eq!(found.len() as f64, window * 100.0);
            found[0] as usize
        };
        // 10.99 s: the middle is second 5; 13 s: 6; 60 s: 30.
        assert_eq!(
            [
                start(1000, 10.0),
                start(1099, 10.0),
                start(1300, 10.0),
                start(6000, 10.0)
            ],
            [0, 0, 100, 2500]
        );
        // Before the start there is nothing.
        assert_eq!(start(150, 1.0), 0);
    }

    #[test]
    fn too_short_says_how_long_it_must_be() {
        let message = middle(&[0.0; 999], 100, 10.0).unwrap_err().to_string();
        assert!(
            message.contains("9.99 s") && message.contains("10 s"),
            "{message}"
        );
        assert!(middle(&[], 100, 10.0).is_err());
    }

    proptest! {
        #[test]
        fn the_middle_fits_every_length(length in 0usize..5000, window_secs in 1u32..12) {
            let samples = vec![0.0; length];
            let found = middle(&samples, 100, f64::from(window_secs));
            prop_assert_eq!(found.is_ok(), length >= 100 * window_secs as usize);
        }

        #[test]
        fn clips_hold_every_sample_once_and_are_filled_from_the_start(length in 1usize..50, clip in 1usize..20) {
            let samples: Vec<f32> = (0..length).map(|n| n as f32).collect();
            let all = clips(&samples, clip).concat();
            prop_assert_eq!(&all[..length], samples.as_slice());
            let filled = all.len() - length;
            prop_assert_eq!(&all[length..], &samples[..filled]);
            prop_assert!(all.len().is_multiple_of(clip) || all.len() == 2 * length);
        }
    }
}
