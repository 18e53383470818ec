//! What a stretched sound must be: as long as asked, at the pitch asked for, its onsets in their
//! places, its channels related as before; and a loop still a loop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::f64::consts::TAU;

use audio::{AudioBuffer, AudioError, Stretch};

const RATE_HZ: u32 = 44_100;
/// What the ear lets pass between a tone and the same tone elsewhere.
const PITCH_CENTS: f64 = 4.5;
const ONSET_MS: f64 = 3.0;
/// Under tones, and with the lag of a closed loop.
const ONSET_AMONG_TONES_MS: f64 = 5.0;
const CHANGES: [(f64, f64); 12] = [
    (0.5, 0.0),
    (0.8, 0.0),
    (0.93, 0.0),
    (1.07, 0.0),
    (1.337, 0.0),
    (2.0, 0.0),
    (1.0, -12.0),
    (1.0, -1.0),
    (1.0, 5.0),
    (1.0, 12.0),
    (0.9, 3.0),
    (1.5, -4.0),
];

fn change(ratio: f64, semitones: f64) -> Stretch {
    Stretch::new(ratio, semitones).unwrap()
}

fn tone(rate_hz: u32, hz: f64, phase: f64, level: f64, frames: usize) -> Vec<f32> {
    let at = |frame: usize| TAU * hz * frame as f64 / f64::from(rate_hz) + phase;
    (0..frames)
        .map(|frame| (level * at(frame).sin()) as f32)
        .collect()
}

fn stereo(rate_hz: u32, left: Vec<f32>, right: Vec<f32>) -> AudioBuffer {
    AudioBuffer::new(rate_hz, vec![left, right]).unwrap()
}

/// Level and phase of `hz` in `samples`, the first of which is frame `from`.
fn partial(samples: &[f32], from: usize, hz: f64, rate_hz: u32) -> (f64, f64) {
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let weight = 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / samples.len() as f64).cos();
        let angle = TAU * hz * (from + n) as f64 / f64::from(rate_hz);
        re += weight * f64::from(sample) * angle.cos();
        im -= weight * f64::from(sample) * angle.sin();
        weights += weight;
    }
    (2.0 * re.hypot(im) / weights, im.atan2(re))
}

/// Turned into -pi to pi.
fn turned(angle: f64) -> f64 {
    angle - TAU * (angle / TAU).round()
}

/// By how many cents the tone in the middle of `samples` is off `hz`.
fn cents_off(samples: &[f32], hz: f64, rate_hz: u32) -> f64 {
    let size = samples.len() / 5;
    let (one, two) = (2 * size, 2 * size + size / 4);
    let phase = |from: usize| partial(&samples[from..from + size], from, hz, rate_hz).1;
    let seconds = (two - one) as f64 / f64::from(rate_hz);
    let off_hz = turned(phase(two) - phase(one)) / TAU / seconds;
    1200.0 * ((hz + off_hz) / hz).log2()
}

/// Bursts of noise, short and sudden, at the given frames.
fn bursts(frames: usize, onsets: &[usize]) -> Vec<f32> {
    let mut samples = vec![0.0; frames];
    for &onset in onsets {
        let mut state = 1_u32;
        for (n, sample) in samples[onset..].iter_mut().take(2000).enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state) / f64::from(u32::MAX) - 0.5;
            *sample = (noise * (-(n as f64) / 150.0).exp()) as f32;
        }
    }
    samples
}

/// The frame near `expected` at which a burst begins.
fn onset_near(samples: &[f32], expected: usize, reach: usize) -> usize {
    let from = expected.saturating_sub(reach);
    let near = &samples[from..samples.len().min(expected + reach)];
    // What changes from sample to sample: noise more than tones.
    let changes: Vec<f32> = near
        .windows(3)
        .map(|at| at[0] - 2.0 * at[1] + at[2])
        .collect();
    let energies: Vec<f32> = changes
        .windows(32)
        .map(|it| it.iter().map(|sample| sample * sample).sum())
        .collect();
    let most = energies.iter().fold(0.0_f32, |most, &it| most.max(it));
    from + 16 + energies.iter().position(|&it| it > 0.35 * most).unwrap()
}

#[test]
fn lengths_are_exact_and_samples_finite_whatever_goes_in() {
    for (ratio, semitones) in CHANGES {
        for frames in [0, 1, 3, 1_000, 22_051] {
            let left = tone(RATE_HZ, 300.0, 0.3, 0.9, frames);
            let silence = vec![0.0; frames];
            let sound = stereo(RATE_HZ, left, silence);
            let stretch = change(ratio, semitones);
            let expected = (frames as f64 * ratio).round() as usize;
            for out in [
                sound.stretched(stretch).unwrap(),
                sound.stretched_loop(stretch).unwrap(),
            ] {
                assert_eq!(out.frames(), expected, "{frames} x {ratio}");
                assert!(out.channels.iter().flatten().all(|it| it.is_finite()));
                assert!(out.channels[1].iter().all(|it| it.abs() < 1e-6));
            }
        }
    }
}

#[test]
fn tones_keep_pitch_level_and_place_between_the_channels() {
    for rate_hz in [44_100, 48_000, 22_050] {
        for (ratio, semitones) in CHANGES {
            for hz in [110.0, 1000.0] {
                let frames = rate_hz as usize;
                let sound = stereo(
                    rate_hz,
                    tone(rate_hz, hz, 0.0, 0.5, frames),
                    tone(rate_hz, hz, 1.0, 0.25, frames),
                );
                let out = sound.stretched(change(ratio, semitones)).unwrap();
                let expected_hz = hz * (semitones / 12.0).exp2();
                let case = format!("{hz} Hz at {rate_hz}, x {ratio}, {semitones} semitones");
                let off = cents_off(&out.channels[0], expected_hz, rate_hz);
                assert!(off.abs() < PITCH_CENTS, "{case}: {off} cents off");
                let middle = out.frames() / 4..3 * out.frames() / 4;
                let found_hz = expected_hz * (off / 1200.0).exp2();
                let [left, right] = [0, 1].map(|channel: usize| {
                    let samples = &out.channels[channel][middle.clone()];
                    partial(samples, 0, found_hz, rate_hz)
                });
                assert!((left.0 - 0.5).abs() < 0.05, "{case}: level {}", left.0);
                assert!((right.0 / left.0 - 0.5).abs() < 0.01, "{case}");
                assert!(turned(right.1 - left.1 - 1.0).abs() < 0.02, "{case}");
            }
        }
    }
}

#[test]
fn a_sound_begins_and_ends_as_loud_as_it_did() {
    for (ratio, semitones) in CHANGES {
        let samples = tone(RATE_HZ, 440.0, 0.0, 0.5, RATE_HZ as usize);
        let sound = AudioBuffer::new(RATE_HZ, vec![samples]).unwrap();
        let out = sound.stretched(change(ratio, semitones)).unwrap();
        let (out, edge) = (&out.channels[0], RATE_HZ as usize / 50);
        for part in [&out[..edge], &out[out.len() - edge..]] {
            let peak = part.iter().fold(0.0_f32, |peak, it| peak.max(it.abs()));
            assert!((0.2..1.0).contains(&peak), "x {ratio}, {semitones}: {peak}");
        }
    }
}

#[test]
fn onsets_lie_where_the_stretch_puts_them() {
    let onsets: Vec<usize> = (0..8).map(|beat| 8_000 + beat * 15_000).collect();
    let sound = AudioBuffer::new(RATE_HZ, vec![bursts(140_000, &onsets)]).unwrap();
    for (ratio, semitones) in CHANGES {
        let out = sound.stretched(change(ratio, semitones)).unwrap();
        for &onset in &onsets {
            let expected = (onset as f64 * ratio).round() as usize;
            let found = onset_near(&out.channels[0], expected, 3_000);
            let late_ms = (found as f64 - expected as f64) / f64::from(RATE_HZ) * 1e3;
            assert!(
                late_ms.abs() < ONSET_MS,
                "x {ratio}, {semitones} semitones: {late_ms} ms late"
            );
        }
    }
}

/// A bar of music in little: three tones that go round without a seam, and four beats, the first
/// on the first frame.
fn bar(frames: usize) -> AudioBuffer {
    let rate = f64::from(RATE_HZ);
    let whole_hz = |hz: f64| (hz * frames as f64 / rate).round() * rate / frames as f64;
    let beats: Vec<usize> = (0..4).map(|beat| beat * frames / 4).collect();
    let channel = |phase: f64| {
        let mut samples = bursts(frames, &beats);
        for hz in [130.8, 329.6, 784.0] {
            let partial = tone(RATE_HZ, whole_hz(hz), phase, 0.2, frames);
            samples.iter_mut().zip(partial).for_each(|(a, b)| *a += b);
        }
        samples
    };
    stereo(RATE_HZ, channel(0.0), channel(0.7))
}

#[test]
fn a_stretched_loop_begins_at_its_beginning_and_has_no_seam() {
    for (frames, changes) in [(44_100, &CHANGES[..6]), (30_503, &CHANGES[6..])] {
        for &(ratio, semitones) in changes {
            let case = format!("{frames} frames, x {ratio}, {semitones} semitones");
            let out = bar(frames)
                .stretched_loop(change(ratio, semitones))
                .unwrap();
            for channel in &out.channels {
                let rounds = channel.repeat(3);
                for beat in 4..8 {
                    let expected = beat * channel.len() / 4;
                    let found = onset_near(&rounds, expected, 2_000);
                    let late_ms = (found as f64 - expected as f64) / f64::from(RATE_HZ) * 1e3;
                    assert!(
                        late_ms.abs() < ONSET_AMONG_TONES_MS,
                        "{case}: {late_ms} ms late"
                    );
                }
            }
        }
    }
}

#[test]
fn the_tones_of_a_loop_go_on_over_its_end() {
    let frames = 30_000;
    let rate = f64::from(RATE_HZ);
    let hz = 180.0 * rate / frames as f64;
    let sound = AudioBuffer::new(RATE_HZ, vec![tone(RATE_HZ, hz, 0.4, 0.5, frames)]).unwrap();
    for (ratio, semitones) in CHANGES {
        let out = sound.stretched_loop(change(ratio, semitones)).unwrap();
        let rounds = out.channels[0].repeat(2);
        // No step and no kink anywhere: a tone's second difference is the tone itself, small.
        let shifted_hz = hz * (semitones / 12.0).exp2();
        let most = 0.5 * (TAU * shifted_hz / rate).powi(2);
        for at in rounds.windows(3) {
            let kink = f64::from(at[0] - 2.0 * at[1] + at[2]).abs();
            assert!(
                kink < 2.0 * most,
                "x {ratio}, {semitones}: {kink} of {most}"
            );
        }
        let window = 400;
        for (at, part) in rounds.windows(window).enumerate().step_by(50) {
            let power = part.iter().map(|it| f64::from(it * it)).sum::<f64>() / window as f64;
            let level = power.sqrt() * 2.0_f64.sqrt();
            assert!(
                (0.3..0.65).contains(&level),
                "x {ratio}, {semitones}: level {level} at {at}"
            );
        }
    }
}

#[test]
fn no_change_changes_nothing_and_the_impossible_is_refused() {
    let sound = bar(20_000);
    let same = change(1.0, 0.0);
    assert_eq!(sound.stretched(same).unwrap(), sound);
    assert_eq!(sound.stretched_loop(same).unwrap(), sound);
    for (ratio, semitones) in [
        (0.49, 0.0),
        (2.01, 0.0),
        (1.0, 12.5),
        (f64::NAN, 0.0),
        (1.0, f64::NAN),
    ] {
        let error = Stretch::new(ratio, semitones).unwrap_err().to_string();
        assert!(error.contains("0.5 to 2 times"), "{error}");
    }
    let three = AudioBuffer::new(RATE_HZ, vec![vec![0.0; 100]; 3]).unwrap();
    let error = three.stretched(change(1.1, 0.0)).unwrap_err();
    assert!(
        matches!(error, AudioError::Stretch { channels: 3, .. }),
        "{error}"
    );
    let hole = AudioBuffer::new(RATE_HZ, vec![vec![f32::NAN; 100]]).unwrap();
    assert!(hole.stretched(change(1.1, 0.0)).is_err());
}
