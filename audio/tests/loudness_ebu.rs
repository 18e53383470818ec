//! The meter against the signals of EBU Tech 3341 (version 4, table 1): cases 1 to 5 for
//! integrated loudness, 15 to 19 for true peak.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use audio::loudness::{Measure, Meter, to_db};

const RATE_HZ: u32 = 48_000;

/// A stereo 1 kHz sine: (peak level in dBFS, seconds) in sequence.
fn sequence(parts: &[(f64, f64)], rate_hz: u32) -> Vec<f64> {
    let step = std::f64::consts::TAU * 1000.0 / f64::from(rate_hz);
    let mut samples = Vec::new();
    for (level_db, secs) in parts {
        let amplitude = 10.0_f64.powf(level_db / 20.0);
        for _ in 0..(secs * f64::from(rate_hz)).round() as usize {
            samples.push(amplitude * (step * samples.len() as f64).sin());
        }
    }
    samples
}

fn integrated(samples: &[f64], rate_hz: u32) -> f64 {
    let mut meter = Meter::new(2, rate_hz, Measure::Loudness).unwrap();
    for block in samples.chunks(1152) {
        meter.add(&[block, block]).unwrap();
    }
    meter.integrated_lufs().unwrap()
}

#[test]
fn integrated_loudness_cases_1_to_5() {
    let cases: [(&[(f64, f64)], f64); 5] = [
        (&[(-23.0, 20.0)], -23.0),
        (&[(-33.0, 20.0)], -33.0),
        (&[(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)], -23.0),
        (
            &[
                (-72.0, 10.0),
                (-36.0, 10.0),
                (-23.0, 60.0),
                (-36.0, 10.0),
                (-72.0, 10.0),
            ],
            -23.0,
        ),
        (&[(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
    ];
    for (number, (parts, expected)) in (1..).zip(cases) {
        for rate_hz in [RATE_HZ, 44_100] {
            let lufs = integrated(&sequence(parts, rate_hz), rate_hz);
            assert!(
                (lufs - expected).abs() <= 0.1,
                "case {number} at {rate_hz} Hz: {lufs} LUFS"
            );
        }
    }
}

#[test]
fn true_peak_cases_15_to_19() {
    // Fraction of the rate, phase in degrees, amplitude, expected dBTP (+0.2 / -0.4).
    let cases = [
        (4.0, 0.0, 0.50, -6.0),
        (4.0, 45.0, 0.50, -6.0),
        (6.0, 60.0, 0.50, -6.0),
        (8.0, 67.5, 0.50, -6.0),
        (4.0, 45.0, 1.41, 3.0),
    ];
    for (number, (fraction, phase, amplitude, expected)) in (15..).zip(cases) {
        let samples: Vec<f64> = (0..RATE_HZ)
            .map(|n| {
                let angle =
                    std::f64::consts::TAU * f64::from(n) / fraction + f64::to_radians(phase);
                // Faded in and out over 0.1 s: a tone that starts at once has true peaks of its own.
                let fade = f64::from(n.min(RATE_HZ - 1 - n)) / (0.1 * f64::from(RATE_HZ));
                amplitude * angle.sin() * fade.min(1.0)
            })
            .collect();
        for silent_side in [0, 1] {
            // One side at a time: the peak must be found in either channel.
            let silence = vec![0.0; samples.len()];
            let mut planes = [samples.as_slice(), samples.as_slice()];
            planes[silent_side] = &silence;
            let mut meter = Meter::new(2, RATE_HZ, Measure::LoudnessAndTruePeak).unwrap();
            meter.add(&planes).unwrap();
            let error = to_db(meter.true_peak()) - expected;
            assert!(
                (-0.4..=0.2).contains(&error),
                "case {number}: off by {error} dB"
            );
        }
    }
}
