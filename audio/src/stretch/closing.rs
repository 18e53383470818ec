//! Closing a circle: one round of something that goes round almost, but not quite, alike.

mod circle;

use crate::AudioBuffer;

/// By how much a round may be longer or shorter than asked before it is put right, in seconds: an
/// onset may be out of place by so much. Half a period at 333 Hz.
const MOST_LAG_SECS: f64 = 0.0015;
/// The same as a share of the round, which is what pitch may be off by: two and a half cents.
const MOST_LAG_SHARE: f64 = 0.0015;
/// Rounds less alike than this are blended as if they were so alike; a blend of opposites cannot
/// be made as loud as either.
const LEAST_LIKENESS: f64 = -0.75;

/// One round of `frames` frames out of `rounds`, in which a round begins at frame `start` and the
/// next `frames` later. Behind the second must be as much again as a blend and a lag need.
///
/// A stretched tone has no whole number of cycles in a round, so the end of a round does not lead
/// into its own beginning. The circle is cut, and blended over `blend` frames, where one round is
/// most like the next with a slight lag; and put right by that lag as a whole.
pub(super) fn closed(
    rounds: &AudioBuffer,
    start: usize,
    frames: usize,
    blend: usize,
) -> AudioBuffer {
    let cut = Cut::best(rounds, start, frames, blend / 2);
    let likeness = cut.likeness(rounds);
    let channel = |channel: &Vec<f32>| {
        let circle = cut.blended(channel, likeness);
        circle::read_at_length(&circle, start + frames - cut.at, frames)
    };
    AudioBuffer {
        sample_rate_hz: rounds.sample_rate_hz,
        channels: rounds.channels.iter().map(channel).collect(),
    }
}

/// Where a circle is cut, in frames.
struct Cut {
    at: usize,
    /// Until the same place one round later.
    round: usize,
    blend: usize,
}

impl Cut {
    /// The cut whose `2 * half_blend` frames differ least, by the energy of the difference, from
    /// what comes one round later.
    fn best(rounds: &AudioBuffer, start: usize, frames: usize, half_blend: usize) -> Self {
        let blend = 2 * half_blend;
        let (mut at, mut round, mut least) = (start, frames, f32::INFINITY);
        let half_blends = frames.checked_div(half_blend).unwrap_or(0);
        for lagging in rounds_near(frames, rounds.sample_rate_hz) {
            let parts: Vec<f32> = (0..=half_blends)
                .map(|part| start + part * half_blend)
                .map(|part| difference(rounds, part, lagging, half_blend))
                .collect();
            for (part, pair) in parts.windows(2).enumerate() {
                if pair[0] + pair[1] < least {
                    least = pair[0] + pair[1];
                    (at, round) = (start + part * half_blend, lagging);
                }
            }
        }
        Self { at, round, blend }
    }

    /// How alike the blended frames and those one round later are: 1 when they are the same, 0
    /// when they have nothing in common, less when they are opposed.
    fn likeness(&self, rounds: &AudioBuffer) -> f32 {
        let (mut product, mut energy, mut later_energy) = (0.0_f64, 0.0_f64, 0.0_f64);
        for channel in &rounds.channels {
            let later = &channel[self.at + self.round..];
            let blended = channel[self.at..].iter().zip(later).take(self.blend);
            for (one, later) in blended.map(|(&a, &b)| (f64::from(a), f64::from(b))) {
                product += one * later;
                energy += one * one;
                later_energy += later * later;
            }
        }
        let scale = (energy * later_energy).sqrt();
        let likeness = if scale > 0.0 { product / scale } else { 1.0 };
        likeness.clamp(LEAST_LIKENESS, 1.0) as f32
    }

    /// The round from the cut on, its beginning blended with what follows its end, as loud in the
    /// blend as on either side.
    fn blended(&self, channel: &[f32], likeness: f32) -> Vec<f32> {
        let mut circle = channel[self.at..self.at + self.round].to_vec();
        let later = &channel[self.at + self.round..];
        for (step, (sample, &later)) in circle.iter_mut().zip(later).take(self.blend).enumerate() {
            let weight = (step as f32 + 0.5) / self.blend as f32;
            let rest = 1.0 - weight;
            let power = weight * weight + rest * rest + 2.0 * weight * rest * likeness;
            *sample = (*sample * weight + later * rest) / power.sqrt();
        }
        circle
    }
}

/// Lengths of a round worth trying, the one asked for first.
fn rounds_near(frames: usize, sample_rate_hz: u32) -> impl Iterator<Item = usize> {
    let by_time = MOST_LAG_SECS * f64::from(sample_rate_hz);
    let most = by_time.min(MOST_LAG_SHARE * frames as f64) as usize;
    std::iter::once(frames).chain((1..=most).flat_map(move |lag| [frames - lag, frames + lag]))
}

/// Energy of the difference between `frames` frames and those a round later.
fn difference(rounds: &AudioBuffer, at: usize, round: usize, frames: usize) -> f32 {
    let of_channel = |channel: &Vec<f32>| -> f32 {
        let later = &channel[at + round..at + round + frames];
        let pairs = channel[at..at + frames].iter().zip(later);
        pairs.map(|(one, later)| (one - later).powi(2)).sum()
    };
    rounds.channels.iter().map(of_channel).sum()
}
