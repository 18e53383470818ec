//! Measured quality of phase reconstruction on synthetic music.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::f32::consts::TAU;

use spectrum::phase::{FastGriffinLim, gradient_heap, reconstruct, spectral_convergence};
use spectrum::{Complex32, Spectrogram, Stft};

const SAMPLE_RATE_HZ: f32 = 44_100.0;

/// Notes with harmonics and decay, a glide, clicks and a little noise.
fn music(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let note = |time: f32, start: f32, pitch_hz: f32| {
        let age = time - start;
        if age < 0.0 {
            return 0.0;
        }
        let tone = |k: f32| (TAU * k * pitch_hz * age).sin() / k * (-age * (2.0 + k)).exp();
        (1..12).map(|k| tone(k as f32)).sum::<f32>()
    };
    (0..samples)
        .map(|n| {
            let time = n as f32 / SAMPLE_RATE_HZ;
            let notes: f32 = [(0.1, 220.0), (0.35, 277.2), (0.6, 329.6), (0.9, 440.0)]
                .iter()
                .map(|&(start, pitch_hz)| note(time, start, pitch_hz))
                .sum();
            let glide = (TAU * (400.0 * time + 300.0 * time * time)).sin();
            let click = if n % 22_050 < 40 { 0.5 } else { 0.0 };
            0.3 * notes + 0.2 * glide + click + 0.003 * noise()
        })
        .collect()
}

fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

struct Case {
    stft: Stft,
    magnitudes: Vec<f32>,
    samples: usize,
}

fn case() -> Case {
    let samples = 32 * 2048;
    let stft = Stft::new(2048, 512).unwrap();
    // As the autoencoder does it: four frames to 2048 samples, without the one past the end.
    let mut spectrogram = Spectrogram::zeros(samples / 512, stft.bins());
    stft.forward_into(&music(samples), 0, spectrogram.values_mut())
        .unwrap();
    Case {
        magnitudes: spectrogram.magnitudes(),
        stft,
        samples,
    }
}

impl Case {
    fn convergence_db(&self, spectrogram: &Spectrogram) -> f64 {
        decibels(
            spectral_convergence(&self.stft, &self.magnitudes, spectrogram, self.samples).unwrap(),
        )
    }

    fn reconstructed_db(&self, iterations: usize) -> f64 {
        self.convergence_db(
            &reconstruct(&self.stft, &self.magnitudes, self.samples, iterations).unwrap(),
        )
    }
}

/// Measured: start alone -17.9 dB, 8 iterations -26.2 dB, 16 -26.7 dB. About a decibel of room is left.
#[test]
fn the_gradient_start_converges() {
    let case = case();
    let [start, eight, sixteen] = [0, 8, 16].map(|iterations| case.reconstructed_db(iterations));
    assert!(
        start < -17.0 && eight < -25.0 && sixteen < -25.5,
        "{start:.1} {eight:.1} {sixteen:.1}"
    );
}

/// What the start is for: a few iterations from it beat many from zero phases.
#[test]
fn the_start_saves_iterations() {
    let case = case();
    let zero_phase = case
        .magnitudes
        .iter()
        .map(|&magnitude| Complex32::new(magnitude, 0.0))
        .collect();
    let start = Spectrogram::from_values(case.stft.bins(), zero_phase).unwrap();
    let many = FastGriffinLim {
        iterations: 48,
        momentum: 0.99,
    };
    let from_zero = case.convergence_db(
        &many
            .refine(&case.stft, &case.magnitudes, start, case.samples)
            .unwrap(),
    );
    let few = case.reconstructed_db(12);
    assert!(few < from_zero);
}

#[test]
fn magnitudes_are_kept_and_runs_are_equal() {
    let case = case();
    let once = reconstruct(&case.stft, &case.magnitudes, case.samples, 3).unwrap();
    let twice = reconstruct(&case.stft, &case.magnitudes, case.samples, 3).unwrap();
    assert_eq!(once, twice);
    for (value, &magnitude) in once.values().iter().zip(&case.magnitudes) {
        assert!((value.norm() - magnitude).abs() <= 1e-4 * magnitude + 1e-12);
    }
}

#[test]
fn phases_of_silence_stay_finite() {
    let stft = Stft::new(512, 128).unwrap();
    let spectrogram = reconstruct(&stft, &vec![0.0; 8 * 257], 1024, 4).unwrap();
    assert!(
        spectrogram
            .values()
            .iter()
            .all(|value| *value == Complex32::ZERO)
    );
    assert!(
        !gradient_heap(&stft, &vec![1e-30; 8 * 257])
            .unwrap()
            .iter()
            .any(|phase| phase.is_nan())
    );
}
