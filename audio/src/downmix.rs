//! Any channel layout to stereo.

use symphonia::core::audio::{Channels, Position};

/// The gain of each source channel into left and right.
///
/// Mono goes to both sides unchanged, stereo stays as it is. More channels follow ITU-R BS.775-3,
/// annex 4: fronts 1, centre and surrounds 0.7071 (-3 dB), a single rear centre 0.5 to each side,
/// low-frequency effects left out; then each side's gains are scaled to sum to at most 1, so that
/// a downmix never clips. Channels without a known position go to both sides equally.
#[derive(Debug, Clone, PartialEq)]
pub struct StereoGains {
    gains: Vec<[f64; 2]>,
}

const MINUS_3_DB: f64 = std::f64::consts::FRAC_1_SQRT_2;

impl StereoGains {
    /// Gains for a source of `channels` channels without positions.
    #[must_use]
    pub fn unpositioned(channels: usize) -> Self {
        match channels {
            2 => Self {
                gains: vec![[1.0, 0.0], [0.0, 1.0]],
            },
            channels => Self {
                gains: vec![[1.0 / channels.max(1) as f64; 2]; channels],
            },
        }
    }

    /// Gains for a source of these speaker positions.
    pub(crate) fn for_layout(layout: &Channels) -> Self {
        let positions: Vec<Position> = match layout {
            Channels::Positioned(positions) => positions.iter().collect(),
            _ => Vec::new(),
        };
        if positions.len() < 3 {
            return Self::unpositioned(layout.count());
        }
        let mut gains: Vec<[f64; 2]> = positions.into_iter().map(gains_of).collect();
        for side in 0..2 {
            let sum: f64 = gains.iter().map(|gain| gain[side]).sum();
            if sum > 1.0 {
                for gain in &mut gains {
                    gain[side] /= sum;
                }
            }
        }
        Self { gains }
    }

    /// Number of source channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.gains.len()
    }

    /// Whether every sample is carried over as it is (mono and stereo sources).
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.channels() <= 2
    }

    /// Mixes `[channels][frames]` into two channels, replacing their contents.
    ///
    /// Missing source channels count as silent.
    pub fn mix(&self, planes: &[Vec<f64>], stereo: &mut [Vec<f64>; 2]) {
        let frames = planes.first().map_or(0, Vec::len);
        for (side, out) in stereo.iter_mut().enumerate() {
            out.clear();
            if self.is_exact() {
                // Copied, not multiplied and summed: the samples must stay what they are.
                let source = planes.get(side).or(planes.first());
                out.extend_from_slice(source.map_or(&[], Vec::as_slice));
                continue;
            }
            out.resize(frames, 0.0);
            for (plane, gain) in planes.iter().zip(&self.gains) {
                if gain[side] != 0.0 {
                    for (sum, sample) in out.iter_mut().zip(plane) {
                        *sum += sample * gain[side];
                    }
                }
            }
        }
    }
}

fn gains_of(position: Position) -> [f64; 2] {
    const LEFT_FRONTS: Position = Position::FRONT_LEFT
        .union(Position::FRONT_LEFT_CENTER)
        .union(Position::FRONT_LEFT_WIDE);
    const RIGHT_FRONTS: Position = Position::FRONT_RIGHT
        .union(Position::FRONT_RIGHT_CENTER)
        .union(Position::FRONT_RIGHT_WIDE);
    const LEFT_OTHERS: Position = Position::REAR_LEFT
        .union(Position::SIDE_LEFT)
        .union(Position::TOP_FRONT_LEFT)
        .union(Position::TOP_REAR_LEFT)
        .union(Position::TOP_SIDE_LEFT)
        .union(Position::BOTTOM_FRONT_LEFT);
    const RIGHT_OTHERS: Position = Position::REAR_RIGHT
        .union(Position::SIDE_RIGHT)
        .union(Position::TOP_FRONT_RIGHT)
        .union(Position::TOP_REAR_RIGHT)
        .union(Position::TOP_SIDE_RIGHT)
        .union(Position::BOTTOM_FRONT_RIGHT);
    const CENTRES: Position = Position::FRONT_CENTER
        .union(Position::TOP_CENTER)
        .union(Position::TOP_FRONT_CENTER)
        .union(Position::BOTTOM_FRONT_CENTER);
    const REAR_CENTRES: Position = Position::REAR_CENTER.union(Position::TOP_REAR_CENTER);
    [
        (LEFT_FRONTS, [1.0, 0.0]),
        (RIGHT_FRONTS, [0.0, 1.0]),
        (LEFT_OTHERS, [MINUS_3_DB, 0.0]),
        (RIGHT_OTHERS, [0.0, MINUS_3_DB]),
        (CENTRES, [MINUS_3_DB, MINUS_3_DB]),
        (REAR_CENTRES, [0.5, 0.5]),
    ]
    .into_iter()
    .find(|(group, _)| group.contains(position))
    .map_or([0.0, 0.0], |(_, gains)| gains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(gains: &StereoGains, planes: &[Vec<f64>]) -> [Vec<f64>; 2] {
        let mut stereo = [vec![9.0], vec![9.0]];
        gains.mix(planes, &mut stereo);
        stereo
    }

    #[test]
    fn mono_and_stereo_are_carried_over() {
        let mono = StereoGains::unpositioned(1);
        assert_eq!(
            mixed(&mono, &[vec![0.1, -0.3]]),
            [vec![0.1, -0.3], vec![0.1, -0.3]]
        );
        let stereo = StereoGains::unpositioned(2);
        assert_eq!(
            mixed(&stereo, &[vec![0.1], vec![0.7]]),
            [vec![0.1], vec![0.7]]
        );
        assert!(mono.is_exact() && stereo.is_exact());
    }

    #[test]
    fn five_one_keeps_sides_apart_and_never_clips() {
        let layout = Position::FRONT_LEFT
            | Position::FRONT_RIGHT
            | Position::FRONT_CENTER
            | Position::LFE1
            | Position::REAR_LEFT
            | Position::REAR_RIGHT;
        let gains = StereoGains::for_layout(&Channels::Positioned(layout));
        assert_eq!(gains.channels(), 6);
        let one_hot = |hot: usize| -> [f64; 2] {
            let planes: Vec<_> = (0..6)
                .map(|c| vec![f64::from(u8::from(c == hot))])
                .collect();
            let [left, right] = mixed(&gains, &planes);
            [left[0], right[0]]
        };
        let unit = 1.0 / (1.0 + 2.0 * MINUS_3_DB);
        assert!((one_hot(0)[0] - unit).abs() < 1e-12 && one_hot(0)[1] == 0.0);
        assert!(one_hot(1)[0] == 0.0 && (one_hot(1)[1] - unit).abs() < 1e-12);
        assert!((one_hot(2)[0] - one_hot(2)[1]).abs() < 1e-12);
        assert_eq!(one_hot(3), [0.0, 0.0], "effects channel is left out");
        assert!((one_hot(4)[0] - unit * MINUS_3_DB).abs() < 1e-12 && one_hot(4)[1] == 0.0);
        let [left, right] = mixed(&gains, &vec![vec![1.0]; 6]);
        assert!(left[0] <= 1.0 + 1e-12 && right[0] <= 1.0 + 1e-12);
    }
}
