//! Notes.

use plugin::parameters::PlayMode;
use plugin::playback::NoteEvent::{self, Choke, Off, On};

use crate::support::*;

fn sampler(clip: &plugin::playback::LoopClip) -> Host {
    let mut host = Host::with_clip(clip.sample_rate_hz, 120.0, clip);
    host.settings.mode = PlayMode::Notes;
    host.is_playing = false;
    host
}

fn on(offset: usize, key: u8) -> NoteEvent {
    On {
        offset,
        key,
        velocity: 1.0,
    }
}

fn play(host: &mut Host, samples: usize, events: &[NoteEvent]) -> [Vec<f32>; 2] {
    let block = host.block();
    host.play_block(samples, &block, events)
}

#[test]
fn a_note_begins_on_its_sample_with_the_clips_own() {
    let clip = noise(RATE_HZ, 120.0, 1.0);
    for offset in [0, 1, 127, 128, 300, 511] {
        let mut host = sampler(&clip);
        let mut output = play(&mut host, 512, &[on(offset, 60)]);
        append(&mut output, &play(&mut host, 48_000, &[]));
        for channel in 0..2 {
            assert_eq!(output[channel][..offset], vec![0.0; offset]);
            let expected = clip.channels[channel].iter().cycle();
            let heard = output[channel][offset..].iter();
            assert!(heard.zip(expected).all(|(heard, own)| heard == own));
        }
    }
}

#[test]
fn keys_are_pitches() {
    // 1 kHz, a whole number of periods.
    let clip = sine(RATE_HZ, 120.0, 4.0, 2000);
    for key in [12_u8, 36, 48, 53, 55, 59, 61, 67, 72, 79, 84, 96] {
        let hz = 1000.0 * ((f64::from(key) - 60.0) / 12.0).exp2();
        let mut host = sampler(&clip);
        // A quiet one, because a cosine that begins at once touches the ceiling.
        host.settings.gain = 0.5;
        play(&mut host, 1000, &[on(0, key)]);
        let output = play(&mut host, 48_000, &[]);
        for channel in &output {
            let (amplitude, rest_db) = fit_sine(channel, hz, RATE_HZ);
            eprintln!("key {key}: {hz:.2} Hz, amplitude {amplitude:.5}, rest {rest_db:.1} dB");
            assert!((amplitude - 0.25).abs() < 0.001, "key {key}: {amplitude}");
            assert!(rest_db < -80.0, "key {key}: {rest_db} dB");
        }
    }
}

#[test]
fn what_would_fold_back_is_low() {
    // A high tone that a key far above lifts beyond half the rate: nothing of it should be heard.
    for (hz, key) in [
        (15_000.0, 72),
        (20_000.0, 67),
        (10_000.0, 84),
        (14_000.0, 84),
    ] {
        let clip = sine(RATE_HZ, 120.0, 4.0, (hz * 2.0) as usize);
        let mut host = sampler(&clip);
        play(&mut host, 1000, &[on(0, key)]);
        let output = play(&mut host, 48_000, &[]);
        let power: f32 = output[0].iter().map(|sample| sample * sample).sum();
        let level_db = 10.0 * (2.0 * power / 48_000.0 / 0.25).log10();
        eprintln!("{hz} Hz, key {key}: {level_db:.1} dB");
        assert!(level_db < -50.0, "{hz} Hz, key {key}: {level_db} dB");
    }
}

#[test]
fn velocity_release_and_choke() {
    let clip = clip_of(RATE_HZ, 120.0, 1.0, |_| [0.5, -0.5]);
    let mut host = sampler(&clip);
    let soft = On {
        offset: 0,
        key: 60,
        velocity: 0.5,
    };
    let output = play(&mut host, 1000, &[soft]);
    assert_eq!((output[0][999], output[1][999]), (0.125, -0.125));
    // 10 ms of release.
    let output = play(
        &mut host,
        1000,
        &[Off {
            offset: 100,
            key: 60,
        }],
    );
    assert_eq!(output[0][100], 0.125);
    assert!(output[0][400] > 0.01);
    assert_eq!(output[0][100 + 481], 0.0);
    // Two of them stay below the ceiling.
    host.settings.gain = 0.8;
    let output = play(
        &mut host,
        6000,
        &[
            on(0, 60),
            on(0, 64),
            Choke {
                offset: 500,
                key: 60,
            },
        ],
    );
    assert!((output[0][499] - output[0][5999]).abs() > 0.3);
    assert!((output[0][5999] - 0.4).abs() < 1e-3);
    assert!(largest_jump(&output[0]) < 0.02);
}

#[test]
fn attack_rises_and_a_note_loops_while_it_is_held() {
    let clip = clip_of(RATE_HZ, 120.0, 0.25, |_| [0.5, 0.5]);
    let mut host = sampler(&clip);
    host.settings.attack_secs = 0.5;
    let output = play(&mut host, 30_000, &[on(0, 60)]);
    assert!((output[0][12_000] - 0.25).abs() < 1e-3);
    assert!(largest_jump(&output[0]) < 1e-4);
    assert_eq!(output[0][29_999], 0.5);
}

#[test]
fn stolen_notes_do_not_click() {
    let clip = sine(RATE_HZ, 120.0, 4.0, 220);
    let mut host = sampler(&clip);
    // Quiet, so that the limiter has nothing to do.
    host.settings.gain = 0.05;
    host.settings.attack_secs = 0.005;
    let mut output = [vec![], vec![]];
    let mut random = Random(11);
    for _ in 0..600 {
        let key = 40 + random.below(30) as u8;
        let block = 1 + random.below(200);
        let events = [on(random.below(block), key), on(block, key + 1)];
        append(&mut output, &play(&mut host, block, &events));
    }
    for channel in &output {
        let jump = largest_jump(channel);
        assert!(jump < 0.03, "{jump}");
        assert!(channel.iter().any(|sample| sample.abs() > 0.05));
    }
    let block = 600 * 100;
    let all_off: Vec<_> = (0..128).map(|key| Off { offset: 0, key }).collect();
    let output = play(&mut host, block, &all_off);
    assert!(output[0][2000..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_held_note_goes_on_with_its_clip_when_the_slot_has_another() {
    let clip = clip_of(RATE_HZ, 120.0, 1.0, |_| [0.5, 0.25]);
    let mut host = sampler(&clip);
    play(&mut host, 1000, &[on(0, 60)]);
    host.give(0, &clip_of(RATE_HZ, 120.0, 1.0, |_| [-0.1, -0.1]));
    let output = play(&mut host, 1000, &[]);
    assert_eq!(output, [vec![0.5; 1000], vec![0.25; 1000]]);
    assert_eq!(host.sender.collect(), 0);
    play(&mut host, 1000, &[Off { offset: 0, key: 60 }]);
    assert_eq!(host.sender.collect(), 1);
    let output = play(&mut host, 1000, &[on(0, 60)]);
    assert!((output[0][999] + 0.1).abs() < 1e-6);
}

#[test]
fn loop_mode_takes_notes_and_does_nothing_with_them() {
    let clip = noise(RATE_HZ, 120.0, 1.0);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let block = host.block();
    let events = [on(0, 72), Off { offset: 9, key: 72 }, on(90_000, 1)];
    let output = host.play_block(24_000, &block, &events);
    assert_eq!(output, clip.channels);
    // From notes to loop: the notes fade out.
    host.settings.mode = PlayMode::Notes;
    play(&mut host, 5000, &[on(0, 60)]);
    host.settings.mode = PlayMode::Loop;
    host.is_playing = false;
    let output = host.play(5000);
    assert!(output[0][1000..].iter().all(|sample| *sample == 0.0));
}
