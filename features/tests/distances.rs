//! What the distances promise: nothing between a set and itself, symmetry, and that another style and noise are worse.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::f64::consts::TAU;

use audio::AudioBuffer;
use features::{
    Bootstrap, ClipMeasurement, FeatureStatistics, NamedClip, ReferenceSet, SAMPLE_RATE_HZ,
    comparison, measure,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SECS: usize = 4;

#[derive(Clone, Copy)]
enum Style {
    /// Plucked notes of a pentatonic scale at irregular times.
    Plucked,
    /// A steady sawtooth bass with noise on each beat.
    Bass,
}

fn clip(style: Style, seed: u64) -> AudioBuffer {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut channels = vec![vec![0.0f32; SECS * SAMPLE_RATE_HZ as usize]; 2];
    let mut start_secs = 0.0;
    while start_secs < SECS as f64 {
        let (scale, root_hz, step_secs): (&[i32], f64, f64) = match style {
            Style::Plucked => (
                &[0, 2, 4, 7, 9, 12, 14],
                220.0,
                [0.125, 0.25, 0.25, 0.5][generator.random_range(0..4)],
            ),
            Style::Bass => (&[0, 0, 3, 5, 7], 55.0, 0.25),
        };
        let semitone = scale[generator.random_range(0..scale.len())];
        let frequency_hz = root_hz * 2f64.powf(f64::from(semitone) / 12.0);
        let pan = generator.random_range(0.4..0.6);
        let start = (start_secs * f64::from(SAMPLE_RATE_HZ)) as usize;
        for n in 0..(0.4 * f64::from(SAMPLE_RATE_HZ)) as usize {
            let secs = n as f64 / f64::from(SAMPLE_RATE_HZ);
            let phase = frequency_hz * secs;
            let sample = match style {
                Style::Plucked => {
                    ((TAU * phase).sin() + 0.4 * (TAU * 2.0 * phase).sin()) * (-7.0 * secs).exp()
                }
                Style::Bass => {
                    let hit = generator.random_range(-0.5..0.5) * (-60.0 * secs).exp();
                    (2.0 * phase.fract() - 1.0) * (-3.0 * secs).exp() + hit
                }
            };
            for (channel, gain) in channels.iter_mut().zip([pan, 1.0 - pan]) {
                if let Some(value) = channel.get_mut(start + n) {
                    *value += (0.2 * gain * sample) as f32;
                }
            }
        }
        start_secs += step_secs;
    }
    AudioBuffer {
        sample_rate_hz: SAMPLE_RATE_HZ,
        channels,
    }
}

fn noise(seed: u64) -> AudioBuffer {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut channel = || {
        (0..SECS * SAMPLE_RATE_HZ as usize)
            .map(|_| generator.random_range(-0.3..0.3))
            .collect()
    };
    let channels = vec![channel(), channel()];
    AudioBuffer {
        sample_rate_hz: SAMPLE_RATE_HZ,
        channels,
    }
}

fn set(make: impl Fn(u64) -> AudioBuffer, seeds: std::ops::Range<u64>) -> Vec<ClipMeasurement> {
    seeds.map(|seed| measure(&make(seed)).unwrap()).collect()
}

fn named(clips: Vec<ClipMeasurement>) -> Vec<NamedClip> {
    let name = |(index, measurement)| NamedClip {
        name: format!("clip-{index}"),
        measurement,
    };
    clips.into_iter().enumerate().map(name).collect()
}

#[test]
fn a_set_has_no_distance_to_itself_and_afd_is_symmetric() {
    let statistics = FeatureStatistics::current().unwrap();
    let plucked = set(|seed| clip(Style::Plucked, seed), 0..3);
    let bass = set(|seed| clip(Style::Bass, seed), 0..3);
    let of = |a: &[ClipMeasurement], b: &[ClipMeasurement]| {
        ReferenceSet::new(a, &statistics)
            .unwrap()
            .feature_distance(b)
    };
    assert!(of(&plucked, &plucked) < 1e-12);
    assert!((of(&plucked, &bass) - of(&bass, &plucked)).abs() < 1e-12);
    let single = ReferenceSet::new(&plucked[..1], &statistics).unwrap();
    assert_eq!(single.spectral_distance(&plucked[..1]), 0.0);
}

#[test]
fn another_style_and_noise_score_worse() {
    let statistics = FeatureStatistics::current().unwrap();
    for (style, other) in [(Style::Plucked, Style::Bass), (Style::Bass, Style::Plucked)] {
        let reference =
            ReferenceSet::new(&set(|seed| clip(style, seed), 0..5), &statistics).unwrap();
        let same = set(|seed| clip(style, seed), 10..15);
        for far in [set(|seed| clip(other, seed), 20..25), set(noise, 0..2)] {
            assert!(reference.feature_distance(&far) > 2.0 * reference.feature_distance(&same));
            assert!(reference.spectral_distance(&far) > 2.0 * reference.spectral_distance(&same));
        }
    }
}

#[test]
fn loudness_length_and_channel_order_matter_little() {
    let statistics = FeatureStatistics::current().unwrap();
    let reference =
        ReferenceSet::new(&set(|seed| clip(Style::Plucked, seed), 0..4), &statistics).unwrap();
    let whole = measure(&clip(Style::Plucked, 7)).unwrap();
    let mut quiet = clip(Style::Plucked, 7);
    quiet
        .channels
        .iter_mut()
        .flatten()
        .for_each(|sample| *sample *= 0.05);
    let mut swapped = clip(Style::Plucked, 7);
    swapped.channels.swap(0, 1);
    let mut twice = clip(Style::Plucked, 7);
    twice
        .channels
        .iter_mut()
        .for_each(|channel| channel.extend_from_within(..));
    let afd = |clip: &ClipMeasurement| reference.feature_distance([clip]);
    let spectral = |clip: &ClipMeasurement| reference.spectral_distance([clip]);
    for (what, other, tolerance) in [
        ("quiet", quiet, 1e-3),
        ("swapped", swapped, 1e-6),
        ("twice", twice, 0.05),
    ] {
        let other = measure(&other).unwrap();
        assert!(
            (afd(&other) - afd(&whole)).abs() < tolerance,
            "{what}: {} {}",
            afd(&other),
            afd(&whole)
        );
        let relative = spectral(&other) / spectral(&whole) - 1.0;
        assert!(
            relative.abs() < tolerance,
            "{what}: {} {}",
            spectral(&other),
            spectral(&whole)
        );
    }
}

#[test]
fn a_better_candidate_has_an_interval_below_zero_and_an_equal_one_has_not() {
    let statistics = FeatureStatistics::current().unwrap();
    let reference = named(set(|seed| clip(Style::Plucked, seed), 0..6));
    let better = named(set(|seed| clip(Style::Plucked, seed), 10..16));
    let alike = named(set(|seed| clip(Style::Plucked, seed), 30..36));
    let worse = named(set(|seed| clip(Style::Bass, seed), 20..26));
    let compare = |candidate: &[NamedClip], baseline: &[NamedClip]| {
        comparison::compare(
            &reference,
            candidate,
            Some(baseline),
            &statistics,
            &Bootstrap::default(),
        )
        .unwrap()
    };
    let clear = compare(&better, &worse);
    let difference = clear.difference.unwrap();
    assert!(
        difference.paired
            && difference.afd.excludes_zero
            && difference.spectral_distance.excludes_zero
    );
    assert!(difference.afd.difference.high.unwrap() < 0.0);
    assert!((-100.0..-30.0).contains(&difference.afd.relative_percent.value));
    assert!(clear.reference.afd.unwrap() < clear.baseline.unwrap().afd.value / 2.0);
    assert!(
        !compare(&better, &alike)
            .difference
            .unwrap()
            .afd
            .excludes_zero
    );
}
