//! Samples in a circle, read at another length.

use std::f64::consts::PI;

/// Samples that an interpolated one is made of.
const TAPS: usize = 32;
/// Places between two samples for which weights are computed; those between are interpolated.
const PLACES: usize = 512;

/// A circle read once round from sample `begin` on, in `frames` steps; the length changes by little,
/// so nothing is removed that the steps could not hold.
pub(super) fn read_at_length(circle: &[f32], begin: usize, frames: usize) -> Vec<f32> {
    if circle.len() == frames {
        let around = circle.iter().cycle().skip(begin % frames.max(1));
        return around.take(frames).copied().collect();
    }
    let weights = weights();
    let step = circle.len() as f64 / frames as f64;
    let sample = |frame: usize| {
        let at = begin as f64 + frame as f64 * step;
        let place = at.fract() * PLACES as f64;
        let (row, between) = (place as usize, place.fract());
        let first = at as usize + circle.len() - (TAPS / 2 - 1) % circle.len();
        let pairs = weights[row].iter().zip(&weights[row + 1]);
        let sum: f64 = pairs
            .enumerate()
            .map(|(tap, (here, next))| {
                let weight = here + (next - here) * between;
                weight * f64::from(circle[(first + tap) % circle.len()])
            })
            .sum();
        sum as f32
    };
    (0..frames).map(sample).collect()
}

/// Weights of the taps for each place: sinc under a Hann window.
fn weights() -> Vec<[f64; TAPS]> {
    let weight = |place: usize, tap: usize| {
        let away = tap as f64 - (TAPS / 2 - 1) as f64 - place as f64 / PLACES as f64;
        let window = 0.5 + 0.5 * (2.0 * PI * away / TAPS as f64).cos();
        if away == 0.0 {
            1.0
        } else {
            window * (PI * away).sin() / (PI * away)
        }
    };
    (0..=PLACES)
        .map(|place| std::array::from_fn(|tap| weight(place, tap)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(cycles: f64, frames: usize) -> Vec<f32> {
        let at = |frame: usize| 2.0 * PI * cycles * frame as f64 / frames as f64;
        (0..frames).map(|frame| at(frame).sin() as f32).collect()
    }

    #[test]
    fn a_circle_of_tones_is_the_same_circle_at_another_length() {
        for cycles in [3.0, 300.0] {
            let read = read_at_length(&tone(cycles, 1000), 0, 997);
            for (read, expected) in read.iter().zip(tone(cycles, 997)) {
                assert!((read - expected).abs() < 2e-3, "{read} {expected}");
            }
        }
    }

    #[test]
    fn it_may_begin_anywhere_and_be_short() {
        assert_eq!(read_at_length(&[1.0, 2.0, 3.0], 5, 3), [3.0, 1.0, 2.0]);
        assert_eq!(read_at_length(&[0.5; 5], 2, 4).len(), 4);
    }
}
