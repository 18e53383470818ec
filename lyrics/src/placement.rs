//! Tokens onto latent frames, for generation (`get_lrc_token` in the reference's `infer/infer_utils.py`).

use half::f16;

use crate::Vocabulary;

const SAMPLES_PER_SEC: f64 = 44_100.0;
const SAMPLES_PER_FRAME: f64 = 2_048.0;
/// Latent frames per second: 44.1 kHz through a hop of 2048.
pub const FRAMES_PER_SEC: f64 = SAMPLES_PER_SEC / SAMPLES_PER_FRAME;
/// The models of this length were trained without the last line of each song, and are used so.
const FRAMES_WITHOUT_LAST_LINE: usize = 2_048;

/// A line of lyrics as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedTokens {
    /// When it begins, in seconds from the start of the song.
    pub time_secs: f64,
    /// Its tokens; `None` for a line that marks a moment and is not sung. Such a line places nothing, but may be the last.
    pub tokens: Option<Vec<u16>>,
}

/// Which generation of the reference to follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Placement {
    /// DiffRhythm v1.0, and the LoRA project built on it: lines up to the end of the model's frames (95.108 s of 2048).
    V1_0 {
        /// Frames of the model: 2048 or 6144.
        max_frames: usize,
    },
    /// DiffRhythm v1.2: lines up to a duration, and at other lengths than 2048 no frames behind it.
    V1_2 {
        /// Frames of the model: 2048 or 6144.
        max_frames: usize,
        /// The song's duration in seconds: 95 at 2048 frames, up to 285 at 6144.
        max_secs: f64,
    },
}

impl Placement {
    fn max_frames(self) -> usize {
        match self {
            Self::V1_0 { max_frames } | Self::V1_2 { max_frames, .. } => max_frames,
        }
    }

    /// Lines that begin at this time or later are left out.
    fn cutoff_secs(self) -> f64 {
        match self {
            Self::V1_0 { max_frames } => max_frames as f64 / FRAMES_PER_SEC,
            Self::V1_2 { max_secs, .. } => max_secs,
        }
    }

    fn end_frame(self) -> usize {
        match self {
            Self::V1_2 {
                max_frames,
                max_secs,
            } if max_frames != FRAMES_WITHOUT_LAST_LINE => {
                max_frames.min((max_secs * FRAMES_PER_SEC) as usize)
            }
            _ => self.max_frames(),
        }
    }
}

/// Lyrics at frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// A token per frame, `[end_frame]`; 0 where nothing is sung.
    pub tokens: Vec<i64>,
    /// Where the clip begins in its song, as a share of it: always 0 in generation.
    pub start_time: f64,
    /// How much of the model's frames the clip fills.
    pub duration: f64,
    /// Lines that were placed, a cut one included.
    pub placed_lines: usize,
    /// The frame at which each of them begins.
    pub line_frames: Vec<usize>,
}

impl Placed {
    /// The clip's end in frames: the length of [`Placed::tokens`].
    #[must_use]
    pub fn end_frame(&self) -> usize {
        self.tokens.len()
    }

    /// The start time as the reference's models get it, rounded to 16 bits.
    #[must_use]
    pub fn start_time_f16(&self) -> f16 {
        f16::from_f32(self.start_time as f32)
    }

    /// The duration as the reference's models get it, rounded to 16 bits.
    #[must_use]
    pub fn duration_f16(&self) -> f16 {
        f16::from_f32(self.duration as f32)
    }
}

/// Places `lines`, in their order, each at its time or behind the line before it, and cuts them at the end.
///
/// At 2048 frames the last line that begins in time is left out, as the reference leaves it out: its models were trained so.
#[must_use]
pub fn place(lines: &[TimedTokens], placement: &Placement) -> Placed {
    let end_frame = placement.end_frame();
    let in_time: Vec<&TimedTokens> = lines
        .iter()
        .filter(|line| line.time_secs < placement.cutoff_secs())
        .collect();
    let lines = without_last(&in_time, placement.max_frames());
    let (tokens, line_frames) = lay_out(
        lines
            .iter()
            .map(|line| (line.time_secs, line.tokens.as_deref())),
        end_frame,
    );
    Placed {
        tokens,
        start_time: 0.0,
        duration: end_frame as f64 / placement.max_frames().max(1) as f64,
        placed_lines: line_frames.len(),
        line_frames,
    }
}

/// `lines` without the last one where the models were trained so.
pub(crate) fn without_last<T>(lines: &[T], max_frames: usize) -> &[T] {
    match lines {
        [before @ .., _] if max_frames == FRAMES_WITHOUT_LAST_LINE => before,
        _ => lines,
    }
}

/// One after the other, periods inside of a line as commas, a period at its end; and where each line begins that found room.
pub(crate) fn lay_out<'a>(
    lines: impl Iterator<Item = (f64, Option<&'a [u16]>)>,
    end_frame: usize,
) -> (Vec<i64>, Vec<usize>) {
    let mut frames = vec![0; end_frame];
    let (mut free_frame, mut line_frames) = (0, Vec::new());
    for (time_secs, tokens) in lines {
        let Some(tokens) = tokens else { continue };
        let begin = frame_at(time_secs).max(free_frame).min(end_frame);
        let inner = tokens.iter().map(|&token| {
            if token == Vocabulary::PERIOD {
                Vocabulary::COMMA
            } else {
                token
            }
        });
        let room = frames[begin..].iter_mut();
        let used = room
            .zip(inner.chain([Vocabulary::PERIOD]))
            .map(|(frame, token)| *frame = i64::from(token))
            .count();
        free_frame = begin + used;
        if used > 0 {
            line_frames.push(begin);
        }
    }
    (frames, line_frames)
}

/// The frame that sounds at `time_secs`; the first one before the start.
pub(crate) fn frame_at(time_secs: f64) -> usize {
    // In the reference's order of operations: the quotient's last bit decides at whole frames.
    (time_secs * SAMPLES_PER_SEC / SAMPLES_PER_FRAME) as usize
}

/// When a frame begins, in seconds.
pub(crate) fn time_of_frame(frame: usize) -> f64 {
    frame as f64 * SAMPLES_PER_FRAME / SAMPLES_PER_SEC
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(time_secs: f64, tokens: &[u16]) -> TimedTokens {
        TimedTokens {
            time_secs,
            tokens: Some(tokens.to_vec()),
        }
    }

    #[test]
    fn a_mark_without_words_can_be_the_last_line() {
        let song = [line(1.0, &[5, 2, 6]), line(2.0, &[7])];
        let marked = [
            song.as_slice(),
            &[TimedTokens {
                time_secs: 3.0,
                tokens: None,
            }],
        ]
        .concat();
        let settings = Placement::V1_0 { max_frames: 2048 };
        let without = place(&song, &settings);
        assert_eq!(without.tokens[21..26], [5, 1, 6, 2, 0]);
        assert_eq!(without.placed_lines, 1);
        let with = place(&marked, &settings);
        assert_eq!((with.placed_lines, with.line_frames), (2, vec![21, 43]));
        assert_eq!(with.tokens[43..46], [7, 2, 0]);
    }

    #[test]
    fn the_cutoff_is_the_version_s() {
        let song = [line(95.05, &[5]), line(95.06, &[6])];
        assert_eq!(
            place(&song, &Placement::V1_0 { max_frames: 2048 }).placed_lines,
            1
        );
        assert_eq!(
            place(
                &song,
                &Placement::V1_2 {
                    max_frames: 2048,
                    max_secs: 95.0
                }
            )
            .placed_lines,
            0
        );
    }

    proptest! {
        #[test]
        fn lines_never_overlap_nor_pass_the_end(
            song in prop::collection::vec((-10.0..400.0f64, prop::collection::vec(1..=363u16, 0..200)), 0..20),
            max_frames in prop::sample::select(vec![0usize, 1, 64, 2048, 6144]),
            max_secs in 0.0..500.0f64,
        ) {
            let lines: Vec<_> = song.iter().map(|(time, tokens)| line(*time, tokens)).collect();
            for placement in [Placement::V1_0 { max_frames }, Placement::V1_2 { max_frames, max_secs }] {
                let placed = place(&lines, &placement);
                prop_assert!(placed.end_frame() <= max_frames);
                prop_assert!(placed.tokens.iter().all(|token| (0..=363).contains(token)));
                let periods = placed.tokens.iter().filter(|&&token| token == 2).count();
                // Only the one line that the end cuts can lack its period.
                prop_assert!(periods <= placed.placed_lines && placed.placed_lines <= periods + 1);
            }
        }
    }
}
