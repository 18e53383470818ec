//! Clips made ready for the host.

use audio::AudioBuffer;
use plugin::playback::LoopClip;
use plugin::playback::ready::loop_clip;

use crate::support::*;

fn sound(clip: &LoopClip) -> AudioBuffer {
    let rate_hz = clip.sample_rate_hz as u32;
    AudioBuffer::new(rate_hz, clip.channels.to_vec()).unwrap()
}

fn at_rate(clip: &LoopClip, rate_hz: f64) -> LoopClip {
    let tempo_bpm = clip.tempo_bpm;
    loop_clip(
        &sound(clip),
        7,
        clip.quarters,
        tempo_bpm,
        rate_hz,
        Some(tempo_bpm),
    )
    .unwrap()
}

#[test]
fn at_its_own_rate_nothing_changes() {
    let own = noise(44_100.0, 121.0, 16.0);
    let clip = at_rate(&own, 44_100.0);
    assert_eq!(clip.channels, own.channels);
    assert_eq!((clip.tempo_bpm, clip.number), (121.0, 7));
}

#[test]
fn lengths_are_exact_and_there_is_no_seam() {
    for (from_hz, to_hz, tempo_bpm) in [
        (44_100.0, 48_000.0, 121.0),
        (48_000.0, 44_100.0, 97.3),
        (44_100.0, 192_000.0, 140.0),
        (44_100.0, 8_000.0, 63.0),
        (48_000.0, 47_952.05, 120.0),
        (44_100.0, 11_025.0, 101.0),
    ] {
        let clip = at_rate(&sine(from_hz, tempo_bpm, 4.0, 1000), to_hz);
        let frames = (4.0 * 60.0 / tempo_bpm * to_hz).round();
        assert_eq!(clip.frames(), frames as usize);
        let step = std::f64::consts::TAU * 1000.0 / frames;
        for at in 0..clip.frames() {
            let (sine, cosine) = (step * at as f64).sin_cos();
            assert!((f64::from(clip.channels[0][at]) - 0.5 * sine).abs() < 1e-5);
            assert!((f64::from(clip.channels[1][at]) - 0.5 * cosine).abs() < 1e-5);
        }
    }
}

#[test]
fn what_the_host_cannot_hold_is_removed() {
    let clip = at_rate(&sine(96_000.0, 120.0, 4.0, 60_000), 44_100.0);
    let mut samples = clip.channels.iter().flatten();
    assert!(samples.all(|sample| sample.abs() < 1e-6));
}

#[test]
fn a_clip_of_another_length_has_the_tempo_of_its_length() {
    let mut own = noise(44_100.0, 120.0, 4.0);
    own.tempo_bpm = 100.0;
    let clip = at_rate(&own, 48_000.0);
    assert_eq!((clip.frames(), clip.tempo_bpm.round()), (96_000, 120.0));
}

#[test]
fn at_another_tempo_it_is_as_long_as_the_tempo_asks() {
    let own = sine(44_100.0, 120.0, 4.0, 880);
    let clip = loop_clip(&sound(&own), 1, 4.0, 120.0, 48_000.0, Some(111.0)).unwrap();
    assert_eq!(
        clip.frames(),
        (240.0 / 111.0 * 48_000.0_f64).round() as usize
    );
    assert_eq!(clip.tempo_bpm, 111.0);
}

#[test]
fn what_is_no_number_does_not_spread() {
    let mut own = noise(44_100.0, 120.0, 1.0);
    own.channels[0][7] = f32::NAN;
    let clip = at_rate(&own, 8_000.0);
    let mut samples = clip.channels.iter().flatten();
    assert!(samples.all(|sample| sample.is_finite()));
    own.channels = [vec![], vec![]];
    assert!(!at_rate(&own, 8_000.0).is_playable());
}
