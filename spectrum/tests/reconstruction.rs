//! The inverse undoes the transform, and stretches equal the whole.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use proptest::prelude::*;
use spectrum::{Edge, Spectrogram, Stft};

fn noise(samples: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..samples).map(|_| next()).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn inverse_undoes_forward(
        samples in 1usize..6000,
        size in prop::sample::select(vec![64usize, 100, 512, 2048]),
        overlap in prop::sample::select(vec![2usize, 4, 8]),
        zeros in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let signal = noise(samples, seed);
        let edge = if zeros { Edge::Zeros } else { Edge::Reflect };
        let stft = Stft::new(size, size / overlap).unwrap().with_edge(edge);
        let spectrogram = stft.forward(&signal).unwrap();
        prop_assert_eq!(spectrogram.frames(), stft.frames(samples));
        let again = stft.inverse(&spectrogram, samples).unwrap();
        // At half overlap the squared windows nearly cancel beside the last frame, which magnifies rounding.
        prop_assert!(largest_difference(&signal, &again) < 1e-3, "{}", largest_difference(&signal, &again));
    }
}

/// 2048/512 is what the embedded model uses: errors there stay at the rounding of single precision.
#[test]
fn the_models_transform_is_exact() {
    for samples in [2048, 12 * 2048, 44_100] {
        let signal = noise(samples, 7);
        let stft = Stft::new(2048, 512).unwrap();
        let again = stft
            .inverse(&stft.forward(&signal).unwrap(), samples)
            .unwrap();
        assert!(largest_difference(&signal, &again) < 3e-6);
    }
}

#[test]
fn stretches_equal_the_whole() {
    let signal = noise(20_000, 3);
    let stft = Stft::new(2048, 512).unwrap();
    let whole = stft.forward(&signal).unwrap();
    let mut part = Spectrogram::zeros(7, stft.bins());
    for first_frame in [0, 1, 15, whole.frames() - 7] {
        stft.forward_into(&signal, first_frame, part.values_mut())
            .unwrap();
        assert_eq!(part.frame(0), whole.frame(first_frame));
        assert_eq!(part.frame(6), whole.frame(first_frame + 6));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let signal = noise(30_000, 5);
    let stft = Stft::new(1024, 256).unwrap();
    let run = || {
        stft.inverse(&stft.forward(&signal).unwrap(), signal.len())
            .unwrap()
    };
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap()
        .install(run);
    assert_eq!(alone, run());
}
