//! The loop at another tempo than its own.

use crate::support::*;

/// Samples at which something sounds.
fn onsets(channel: &[f32]) -> Vec<usize> {
    (0..channel.len()).filter(|at| channel[*at] > 0.4).collect()
}

#[test]
fn beats_are_the_hosts_to_the_sample() {
    for tempo_bpm in [60.0, 95.0, 119.0, 121.0, 127.3, 180.0, 300.0] {
        for quarters in [4.0, 3.0, 1.0, 3.5] {
            let clip = clicks(RATE_HZ, 120.0, quarters);
            let mut host = Host::with_clip(RATE_HZ, tempo_bpm, &clip);
            let output = host.play_in_blocks(500_000, &mut Random(2));
            let quarter = 60.0 / tempo_bpm * RATE_HZ;
            let mut expected = vec![];
            let mut bar = 0.0;
            while bar * quarter < 499_999.0 {
                let beats = (0..quarters.ceil() as usize).map(|beat| bar + beat as f64);
                expected.extend(beats.map(|beat| (beat * quarter).round() as usize));
                bar += quarters;
            }
            expected.retain(|at| *at < 500_000);
            let found = onsets(&output[0]);
            let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
            assert_eq!(found.len(), expected.len(), "{tempo_bpm} {quarters}");
            let mut pairs = found.iter().zip(&expected);
            assert!(pairs.all(|(a, b)| near(*a, *b)), "{tempo_bpm} {quarters}");
            // Every second quarter lies on a whole sample at these tempos.
            if [60.0, 300.0].contains(&tempo_bpm) && quarters == 4.0 {
                assert_eq!(found, expected);
                assert_eq!(output[0][0], 0.9);
                assert_eq!(output[1][expected[1]], -0.5);
            }
        }
    }
}

#[test]
fn in_a_ramp_each_beat_is_the_hosts() {
    for block in [16, 64, 333, 1024] {
        let clip = clicks(RATE_HZ, 120.0, 4.0);
        let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
        let mut output = [vec![], vec![]];
        let mut expected = vec![];
        let mut at = 0;
        while at < 1_000_000 {
            // Down to 80, up to 160, back, block by block.
            let phase = at as f64 / 1_000_000.0 * std::f64::consts::TAU;
            host.tempo_bpm = 120.0 - 40.0 * phase.sin();
            let per_sample = host.tempo_bpm / (60.0 * RATE_HZ);
            let first = (host.quarters - 0.5 * per_sample).ceil();
            let place = ((first - host.quarters) / per_sample).round();
            if place >= 0.0 && place < block as f64 {
                expected.push(at + place as usize);
            }
            append(&mut output, &host.play(block));
            at += block;
        }
        let found = onsets(&output[0]);
        assert_eq!(found.len(), expected.len(), "blocks of {block}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.abs_diff(*expected) <= 1, "{found} {expected}");
        }
    }
}

#[test]
fn tempo_automation_does_not_click() {
    let clip = sine(RATE_HZ, 120.0, 4.0, 220);
    let natural = largest_jump(&clip.channels[0]);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let mut random = Random(6);
    let mut output = [vec![], vec![]];
    for _ in 0..6000 {
        host.tempo_bpm = 60.0 + random.below(200) as f64;
        append(&mut output, &host.play(64));
    }
    for channel in &output {
        let jump = largest_jump(&channel[200..]);
        assert!(jump < natural + 0.03, "{jump} against {natural}");
    }
}

#[test]
fn back_at_its_own_tempo_it_plays_its_samples_again() {
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    host.play(10_000);
    host.tempo_bpm = 131.0;
    host.play(30_000);
    host.tempo_bpm = 120.0;
    host.play(24_200);
    let from = (host.quarters.rem_euclid(4.0) * 24_000.0).round() as usize;
    let output = host.play(20_000);
    let expected: Vec<f32> = (0..20_000)
        .map(|at| clip.channels[1][(from + at) % 96_000])
        .collect();
    assert_eq!(output[1], expected);
}

#[test]
fn a_clip_made_for_another_rate_keeps_pitch_and_place() {
    let clip = sine(44_100.0, 120.0, 4.0, 880);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    host.play(1000);
    let at = (host.quarters * 24_000.0).round();
    let output = host.play(90_000);
    let step = std::f64::consts::TAU * 440.0 / RATE_HZ;
    for (index, sample) in output[0].iter().enumerate() {
        let expected = 0.5 * (step * (at + index as f64)).sin();
        assert!((f64::from(*sample) - expected).abs() < 1e-3, "{index}");
    }
}
