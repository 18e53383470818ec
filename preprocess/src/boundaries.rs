//! Where to cut.
//!
//! Over all ways to divide a stretch into pieces of allowed length, the one with the quietest
//! cuts is found by dynamic programming over steps of 20 ms. A cut costs its level against the
//! stretch's mean, in units of 10 dB; a piece costs up to [`LENGTH_COST`] for being far from the
//! middle of the allowed lengths, which keeps equal signals from getting pieces of odd lengths.

use std::ops::Range;

use crate::analysis::energy::Envelope;

/// Cost of a piece of the least or the greatest length, against none in the middle.
const LENGTH_COST: f64 = 0.5;
/// Reward of a silent cut: deeper silence than 40 dB below the mean is not better.
const QUIETEST: f64 = -4.0;
/// Cost of a cut in the loudest place.
const LOUDEST: f64 = 2.0;
/// Cost of a last piece below the least length, more the shorter it is: only when nothing else
/// is possible.
const SHORT_COST: f64 = 1e9;

/// Divides `stretch` into touching pieces of `min_frames..=max_frames` each; only the last may be
/// shorter, and only where the length allows no other division. The stretch starts on a step of
/// the envelope.
pub(crate) fn divide(
    envelope: &Envelope,
    stretch: &Range<u64>,
    min_frames: u64,
    max_frames: u64,
) -> Vec<Range<u64>> {
    let hop = envelope.hop_frames;
    let (min_hops, max_hops) = (min_frames.div_ceil(hop).max(1), max_frames / hop);
    if min_hops > max_hops {
        return divide_evenly(stretch, max_frames);
    }
    let length = stretch.end - stretch.start;
    let allowed = Allowed {
        min_frames,
        max_frames,
        hop,
        length,
    };
    let cuts = quietest_cuts(
        envelope,
        stretch,
        &allowed,
        min_hops as usize,
        max_hops as usize,
    );
    at_frames(
        stretch,
        cuts.into_iter().map(|cut| stretch.start + cut as u64 * hop),
    )
}

/// Divides `stretch` at the frames that lie inside it.
pub(crate) fn at_frames(stretch: &Range<u64>, cuts: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    let mut start = stretch.start;
    for cut in cuts.filter(|cut| stretch.start < *cut && *cut < stretch.end) {
        if cut > start {
            pieces.push(start..cut);
            start = cut;
        }
    }
    if start < stretch.end {
        pieces.push(start..stretch.end);
    }
    pieces
}

/// Pieces of one length, where least and greatest leave no step between them.
fn divide_evenly(stretch: &Range<u64>, frames: u64) -> Vec<Range<u64>> {
    let step = usize::try_from(frames.max(1)).unwrap_or(usize::MAX);
    at_frames(stretch, (stretch.start..stretch.end).step_by(step))
}

struct Allowed {
    min_frames: u64,
    max_frames: u64,
    hop: u64,
    /// Frames of the stretch.
    length: u64,
}

impl Allowed {
    fn length_cost(&self, frames: u64) -> f64 {
        let half = (self.max_frames - self.min_frames) as f64 / 2.0;
        if half == 0.0 {
            return 0.0;
        }
        let distance = (frames as f64 - self.min_frames as f64 - half) / half;
        LENGTH_COST * distance * distance
    }

    /// Cost of the piece from step `from` to the end; `None` when it is too long.
    fn last_cost(&self, from: usize) -> Option<f64> {
        let frames = self.length - from as u64 * self.hop;
        if frames > self.max_frames {
            None
        } else if frames < self.min_frames {
            Some(SHORT_COST * (2.0 - frames as f64 / self.min_frames as f64))
        } else {
            Some(self.length_cost(frames))
        }
    }
}

/// Steps (from the stretch's start) to cut at.
fn quietest_cuts(
    envelope: &Envelope,
    stretch: &Range<u64>,
    allowed: &Allowed,
    min_hops: usize,
    max_hops: usize,
) -> Vec<usize> {
    let first = (stretch.start / allowed.hop) as usize;
    // Steps strictly inside: a cut at the very end would leave an empty piece.
    let hops = ((allowed.length.max(1) - 1) / allowed.hop) as usize;
    let mean = envelope.mean_energy(first, first + hops + 1);
    let length_costs: Vec<f64> = (min_hops..=max_hops.min(hops.max(min_hops)))
        .map(|count| allowed.length_cost(count as u64 * allowed.hop))
        .collect();
    let mut best = vec![f64::INFINITY; hops + 1];
    let mut before = vec![0; hops + 1];
    best[0] = 0.0;
    for step in min_hops..=hops {
        let cut_cost = loudness_cost(envelope.energy_around(first + step), mean);
        for (extra, length_cost) in length_costs.iter().enumerate() {
            let Some(from) = step.checked_sub(min_hops + extra) else {
                break;
            };
            let cost = best[from] + length_cost + cut_cost;
            if cost < best[step] {
                (best[step], before[step]) = (cost, from);
            }
        }
    }
    let total = |step: &usize| allowed.last_cost(*step).map(|cost| best[*step] + cost);
    let last = (0..=hops)
        .filter_map(|step| total(&step).map(|cost| (step, cost)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let mut cuts = Vec::new();
    let mut step = last.map_or(0, |(step, _)| step);
    while step > 0 {
        cuts.push(step);
        step = before[step];
    }
    cuts.reverse();
    cuts
}

fn loudness_cost(energy: f64, mean: f64) -> f64 {
    const FLOOR: f64 = 1e-10;
    ((energy + FLOOR) / (mean + FLOOR))
        .log10()
        .clamp(QUIETEST, LOUDEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(energies: Vec<f32>, hop_frames: u64, missing: u64) -> Envelope {
        Envelope {
            hop_frames,
            frames: energies.len() as u64 * hop_frames - missing,
            energies,
        }
    }

    #[test]
    fn cuts_fall_into_the_pauses() {
        // A pause of 0.2 s every 8 s.
        let energies: Vec<f32> = (0..2400)
            .map(|hop| if hop % 400 >= 390 { 0.0 } else { 0.1 })
            .collect();
        let envelope = envelope(energies, 882, 0);
        let pieces = divide(&envelope, &(0..envelope.frames), 6 * 44_100, 12 * 44_100);
        assert_eq!(pieces.len(), 6);
        for piece in &pieces[1..] {
            let hop = piece.start / 882 % 400;
            assert!(hop >= 390, "cut at step {hop} of 400");
        }
    }

    #[test]
    fn a_rest_is_kept_and_as_long_as_it_can_be() {
        let envelope = envelope(vec![0.1; 550], 882, 0); // 11 s
        let pieces = divide(&envelope, &(0..envelope.frames), 6 * 44_100, 10 * 44_100);
        assert_eq!(pieces, [0..264_600, 264_600..485_100]);
    }

    #[test]
    fn equal_least_and_greatest_give_equal_pieces() {
        let envelope = envelope(vec![0.1; 100], 882, 0);
        assert_eq!(
            divide(&envelope, &(0..envelope.frames), 40_001, 40_001),
            [0..40_001, 40_001..80_002, 80_002..88_200]
        );
    }

    proptest! {
        #[test]
        fn pieces_are_in_order_touch_and_keep_the_limits(
            energies in prop::collection::vec(prop_oneof![Just(0.0_f32), 0.0_f32..1.0], 1..600),
            hop in 1_u64..50,
            missing in 0_u64..50,
            min in 1_u64..3000,
            extra in 0_u64..3000,
            start_hop in 0_usize..20,
        ) {
            let missing = missing % hop;
            let envelope = envelope(energies, hop, missing);
            let start = (start_hop as u64 * hop).min((envelope.frames - 1) / hop * hop);
            let stretch = start..envelope.frames;
            let max = min + extra;
            let pieces = divide(&envelope, &stretch, min, max);

            prop_assert_eq!(pieces.first().map(|p| p.start), Some(stretch.start));
            prop_assert_eq!(pieces.last().map(|p| p.end), Some(stretch.end));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            let (last, others) = pieces.split_last().unwrap();
            // Without a whole step between the limits, pieces have the greatest length.
            prop_assert!(others.iter().all(|p| (min..=max).contains(&(p.end - p.start))));
            prop_assert!((1..=max).contains(&(last.end - last.start)));
            if max >= 2 * min + 2 * hop && stretch.end - stretch.start >= min {
                prop_assert!(last.end - last.start >= min, "a rest where none is needed");
            }
        }
    }
}
