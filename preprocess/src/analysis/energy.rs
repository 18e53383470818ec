//! How loud a recording is, 50 times a second: where it can be cut unheard.

use super::Analysis;

/// Steps per second.
const HOPS_PER_SEC: u32 = 50;

/// Mean square of both channels over steps of 20 ms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Envelope {
    /// Frames of a step.
    pub(crate) hop_frames: u64,
    /// Mean square of each step; the last may be shorter.
    pub(crate) energies: Vec<f32>,
    /// Frames in all.
    pub(crate) frames: u64,
}

impl Envelope {
    /// Steps on each side of a cut that would be heard.
    const SIDE_HOPS: usize = 2;

    /// Mean square around the start of a step.
    pub(crate) fn energy_around(&self, hop: usize) -> f64 {
        let start = hop.saturating_sub(Self::SIDE_HOPS);
        let end = (hop + Self::SIDE_HOPS).min(self.energies.len());
        mean(self.energies.get(start..end).unwrap_or(&[]))
    }

    /// Mean square of the steps `start..end`.
    pub(crate) fn mean_energy(&self, start: usize, end: usize) -> f64 {
        let end = end.min(self.energies.len());
        mean(self.energies.get(start..end).unwrap_or(&[]))
    }
}

fn mean(energies: &[f32]) -> f64 {
    let sum: f64 = energies.iter().map(|&energy| f64::from(energy)).sum();
    sum / energies.len().max(1) as f64
}

/// Collects an [`Envelope`].
#[derive(Debug)]
pub(crate) struct Energy {
    envelope: Envelope,
    sum: f64,
    in_hop: u64,
}

impl Energy {
    pub(crate) fn new(sample_rate_hz: u32) -> Self {
        Self {
            envelope: Envelope {
                hop_frames: u64::from((sample_rate_hz / HOPS_PER_SEC).max(1)),
                energies: Vec::new(),
                frames: 0,
            },
            sum: 0.0,
            in_hop: 0,
        }
    }

    fn close_hop(&mut self) {
        self.envelope
            .energies
            .push((self.sum / (2.0 * self.in_hop as f64)) as f32);
        (self.sum, self.in_hop) = (0.0, 0);
    }
}

impl Analysis for Energy {
    type Outcome = Envelope;

    fn block(&mut self, [mut left, mut right]: [&[f64]; 2]) -> Result<(), audio::AudioError> {
        self.envelope.frames += left.len() as u64;
        while !left.is_empty() {
            let room =
                usize::try_from(self.envelope.hop_frames - self.in_hop).unwrap_or(usize::MAX);
            let take = room.min(left.len());
            let (head, tail) = (left.split_at(take), right.split_at(take));
            self.sum += head
                .0
                .iter()
                .zip(tail.0)
                .map(|(l, r)| l * l + r * r)
                .sum::<f64>();
            self.in_hop += take as u64;
            (left, right) = (head.1, tail.1);
            if self.in_hop == self.envelope.hop_frames {
                self.close_hop();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Envelope {
        if self.in_hop > 0 {
            self.close_hop();
        }
        self.envelope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_give_the_same_envelope() {
        let left: Vec<f64> = (0..2500).map(|n| f64::from(n) / 2500.0).collect();
        let right = vec![0.5; 2500];
        let envelope = |size: usize| {
            let mut energy = Energy::new(50_000);
            for (l, r) in left.chunks(size).zip(right.chunks(size)) {
                energy.block([l, r]).unwrap();
            }
            energy.finish()
        };
        let whole = envelope(2500);
        assert_eq!(
            (whole.hop_frames, whole.frames, whole.energies.len()),
            (1000, 2500, 3)
        );
        for size in [1, 7, 999, 1000, 1001] {
            let parts = envelope(size);
            assert_eq!(parts.frames, whole.frames);
            for (a, b) in parts.energies.iter().zip(&whole.energies) {
                assert!((a - b).abs() < 1e-6);
            }
        }
    }
}
