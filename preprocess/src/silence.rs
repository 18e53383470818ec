//! Stretches of a recording that are worth keeping.

use std::ops::Range;

use crate::analysis::energy::Envelope;

/// Mean square below which a step is silent: -60 dBFS.
const SILENT_ENERGY: f32 = 1e-6;
/// Mean square below which there is nothing but the noise of 16-bit dither: -90 dBFS.
const EMPTY_ENERGY: f32 = 1e-9;
/// Silence between sounds that is long enough to be left out, in steps (1 s).
const LONG_HOPS: usize = 50;
/// Silence kept on each side of a sound, in steps (100 ms): attacks and decays stay whole.
const KEPT_HOPS: usize = 5;

/// Whether nothing is heard in a recording, however loud it is played.
pub(crate) fn is_empty(envelope: &Envelope) -> bool {
    let mut energies = envelope.energies.iter();
    energies.all(|&energy| energy < EMPTY_ENERGY)
}

/// The stretches left when leading, trailing and long silence is taken out, in frames.
///
/// They start on a step of the envelope, are in order and do not touch.
pub(crate) fn sounding_stretches(envelope: &Envelope) -> Vec<Range<u64>> {
    let hops = envelope.energies.len();
    let is_sound = |hop: &usize| {
        envelope
            .energies
            .get(*hop)
            .is_some_and(|&energy| energy >= SILENT_ENERGY)
    };
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for hop in (0..hops).filter(is_sound) {
        match stretches.last_mut() {
            Some(last) if hop - last.end < LONG_HOPS => last.end = hop + 1,
            _ => stretches.push(hop..hop + 1),
        }
    }
    stretches
        .into_iter()
        .map(|stretch| {
            let start = stretch.start.saturating_sub(KEPT_HOPS);
            let end = (stretch.end + KEPT_HOPS).min(hops);
            let end_frame = (end as u64 * envelope.hop_frames).min(envelope.frames);
            start as u64 * envelope.hop_frames..end_frame
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_and_long_gaps_go_short_gaps_stay() {
        // 2 s silent, 1 s sound, 0.5 s silent, 1 s sound, 2 s silent, 1 s sound, 2 s silent.
        let mut energies = vec![0.0; 100];
        for (level, hops) in [
            (0.1, 50),
            (0.0, 25),
            (0.1, 50),
            (0.0, 100),
            (0.1, 50),
            (0.0, 100),
        ] {
            energies.extend(vec![level; hops]);
        }
        let envelope = Envelope {
            hop_frames: 10,
            frames: energies.len() as u64 * 10 - 3,
            energies,
        };
        assert_eq!(sounding_stretches(&envelope), [950..2300, 3200..3800]);
    }

    #[test]
    fn nothing_but_silence_leaves_nothing() {
        let envelope = Envelope {
            hop_frames: 10,
            frames: 1000,
            energies: vec![0.0; 100],
        };
        assert!(sounding_stretches(&envelope).is_empty());
    }
}
