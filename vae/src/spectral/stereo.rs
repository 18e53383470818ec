//! Parametric stereo: how one spectrum is spread over two channels.

use spectrum::Complex32;

/// Exponent of the band edges' growth: narrow bands below, wide ones above, like the ear's.
const EDGE_GROWTH: f64 = 4.5;
/// Bins that turn the same way when a band is made incoherent. Much wider than a partial's peak (four bins with a Hann
/// window), since peaks cut by a change of direction lose level: 4 bins cost twice the error in coherence. Narrow enough
/// that no register leans to one side.
const GROUP_BINS: usize = 16;
/// Keep quotients of silent bands finite.
const SMALLEST_TOTAL: f32 = 1e-30;
const SMALLEST_PRODUCT: f32 = 1e-15;

/// `bands + 1` edges in bins, `bins (e^(4.5 i / bands) - 1) / (e^4.5 - 1)` rounded, each band at least one bin wide.
pub fn stereo_band_edges(bands: usize, bins: usize) -> Vec<usize> {
    let mut edges = vec![0];
    for band in 1..=bands {
        let position = band as f64 / bands as f64;
        let share = ((EDGE_GROWTH * position).exp() - 1.0) / (EDGE_GROWTH.exp() - 1.0);
        // Half to even, as Python rounds.
        let edge = (bins as f64 * share).round_ties_even() as usize;
        edges.push(edge.max(edges[band - 1] + 1));
    }
    edges[bands] = bins;
    edges
}

/// Powers of one band, summed over bins and frames.
#[derive(Debug, Clone, Copy, Default)]
struct BandPower {
    left: f32,
    right: f32,
    /// Real part of left times the conjugate of right.
    cross: f32,
}

/// Level difference in -1 (right only) to 1 (left only) and coherence in -1 to 1 of each band, over all the frames
/// (`[frames, bins]`): `out` takes the level differences, then the coherences.
pub(crate) fn measure(
    edges: &[usize],
    floor: f32,
    left: &[Complex32],
    right: &[Complex32],
    out: &mut [f32],
) {
    let bins = edges[edges.len() - 1];
    let (levels, coherences) = out.split_at_mut(edges.len() - 1);
    for (band, (level, coherence)) in levels.iter_mut().zip(coherences).enumerate() {
        let mut power = BandPower::default();
        for (left, right) in left.chunks_exact(bins).zip(right.chunks_exact(bins)) {
            let range = edges[band]..edges[band + 1];
            add_frame(&mut power, &left[range.clone()], &right[range]);
        }
        (*level, *coherence) = parameters(power, floor);
    }
}

fn add_frame(power: &mut BandPower, left: &[Complex32], right: &[Complex32]) {
    for (left, right) in left.iter().zip(right) {
        power.left += left.norm_sqr();
        power.right += right.norm_sqr();
        power.cross += left.re * right.re + left.im * right.im;
    }
}

fn parameters(power: BandPower, floor: f32) -> (f32, f32) {
    let total = power.left + power.right;
    if total <= floor {
        return (0.0, 1.0);
    }
    let level = (power.left - power.right) / total.max(SMALLEST_TOTAL);
    let coherence = power.cross / (power.left * power.right).sqrt().max(SMALLEST_PRODUCT);
    (level, coherence.clamp(-1.0, 1.0))
}

/// Per bin what turns the common spectrum into the left and into the right one.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub(crate) left: Vec<Complex32>,
    pub(crate) right: Vec<Complex32>,
}

impl Spread {
    /// From the parameters of one latent frame, level differences first; values outside -1 to 1 are clamped.
    ///
    /// Gains keep the power: their squares add to two. Turning both channels apart by twice half the coherence's angle
    /// gives that coherence; neighbouring groups of bins turn against each other, so that nothing moves to one side.
    pub(crate) fn new(edges: &[usize], parameters: &[f32]) -> Self {
        let bands = edges.len() - 1;
        let bins = edges[bands];
        let mut spread = Self {
            left: Vec::with_capacity(bins),
            right: Vec::with_capacity(bins),
        };
        for (band, range) in edges.windows(2).enumerate() {
            let level = parameters[band].clamp(-1.0, 1.0);
            let coherence = parameters[bands + band].clamp(-1.0, 1.0);
            let (gain_left, gain_right) = ((1.0 + level).sqrt(), (1.0 - level).sqrt());
            let angle = coherence.acos() / 2.0;
            for bin in range[0]..range[1] {
                let turned = Complex32::from_polar(
                    1.0,
                    if (bin / GROUP_BINS).is_multiple_of(2) {
                        angle
                    } else {
                        -angle
                    },
                );
                spread.left.push(turned * gain_left);
                spread.right.push(turned.conj() * gain_right);
            }
        }
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_the_references() {
        let expected = [
            0, 2, 5, 9, 13, 18, 24, 31, 40, 51, 64, 79, 98, 120, 147, 180, 220, 267, 325, 394, 478,
            579, 701, 848, 1025,
        ];
        assert_eq!(stereo_band_edges(24, 1025), expected);
    }

    /// Whatever is measured comes back from what is made of it.
    #[test]
    fn spread_and_measure_are_inverse() {
        let edges = stereo_band_edges(6, 129);
        let common: Vec<Complex32> = (0..129 * 2)
            .map(|n| Complex32::from_polar(1.0 + (n % 7) as f32, n as f32))
            .collect();
        let parameters = [
            0.0, 0.5, -0.9, 1.0, -1.0, 0.2, 1.0, 0.3, -0.4, 1.0, 1.0, -1.0,
        ];
        let spread = Spread::new(&edges, &parameters);
        let turn = |side: &[Complex32]| -> Vec<Complex32> {
            common
                .iter()
                .enumerate()
                .map(|(n, value)| value * side[n % 129])
                .collect()
        };
        let mut found = [0.0; 12];
        measure(
            &edges,
            1e-9,
            &turn(&spread.left),
            &turn(&spread.right),
            &mut found,
        );
        for (index, (found, wanted)) in found.iter().zip(parameters).enumerate() {
            // A band of one channel has no coherence to measure.
            if !(9..11).contains(&index) {
                assert!((found - wanted).abs() < 1e-4, "{index}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn silence_is_centred_and_coherent() {
        let mut out = [9.0; 4];
        let silence = vec![Complex32::ZERO; 33];
        measure(
            &stereo_band_edges(2, 33),
            1e-9,
            &silence,
            &silence,
            &mut out,
        );
        assert_eq!(out, [0.0, 0.0, 1.0, 1.0]);
    }
}
