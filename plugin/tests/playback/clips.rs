//! Clips that come, change and go while they play.

use std::sync::atomic::{AtomicBool, Ordering};

use plugin::playback::limiter::CEILING;
use plugin::playback::{LoopClip, exchange};

use crate::support::*;

/// A tone of 440 Hz that goes on through every whole number of quarters.
fn tone(number: u64, tempo_bpm: f64) -> LoopClip {
    let periods = (4.0 * 60.0 / tempo_bpm * 440.0_f64).round() as usize;
    LoopClip {
        number,
        ..sine(RATE_HZ, tempo_bpm, 4.0, periods)
    }
}

#[test]
fn another_slot_comes_in_at_the_same_place_within_20_ms() {
    let mut random = Random(5);
    let first = noise(RATE_HZ, 120.0, 4.0);
    let second = clip_of(RATE_HZ, 120.0, 8.0, |_| [random.sample(), random.sample()]);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &first);
    host.give(
        1,
        &LoopClip {
            number: 2,
            ..second.clone()
        },
    );
    host.quarters = 4.0;
    host.play(30_000);
    host.settings.slot = 1;
    let output = host.play(20_000);
    let from = 96_000 + 30_000;
    for channel in 0..2 {
        let own = &second.channels[channel][from..from + 20_000];
        assert_eq!(output[channel][960..], own[960..]);
        assert!(output[channel][..900].iter().zip(own).any(|(a, b)| a != b));
    }
}

#[test]
fn changes_do_not_click() {
    let natural = largest_jump(&tone(1, 120.0).channels[0]);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &tone(1, 120.0));
    let mut output = [vec![], vec![]];
    let mut random = Random(2);
    for number in 0..60 {
        match number % 4 {
            0 => host.give(0, &tone(number, 120.0)),
            1 => host.give(0, &tone(1, 120.0 + random.below(9) as f64)),
            2 => host.sender.send(0, None).unwrap(),
            _ => host.settings.slot = random.below(3),
        }
        let samples = 100 + random.below(3000);
        append(&mut output, &host.play(samples));
    }
    for channel in &output {
        let jump = largest_jump(&channel[200..]);
        assert!(jump < natural + 0.03, "{jump} against {natural}");
    }
}

#[test]
fn the_same_clip_at_the_hosts_new_tempo_takes_over_in_place() {
    let mut host = Host::with_clip(RATE_HZ, 100.0, &clicks(RATE_HZ, 120.0, 4.0));
    host.play(50_000);
    let stretched = clicks(RATE_HZ, 100.0, 4.0);
    host.give(0, &stretched);
    let output = host.play(115_200 - 50_000);
    let own = &stretched.channels[0][50_000..];
    assert_eq!(output[0][480..], own[480..]);
    // The old one goes back once its fade is over.
    assert_eq!(host.sender.collect(), 1);
}

#[test]
fn bad_clips_are_as_good_as_none() {
    let good = noise(RATE_HZ, 120.0, 4.0);
    let mut host = Host::new(RATE_HZ, 120.0);
    let bad = [
        LoopClip::default(),
        LoopClip {
            quarters: 0.0,
            ..good.clone()
        },
        LoopClip {
            quarters: 1e-9,
            ..good.clone()
        },
        LoopClip {
            tempo_bpm: f64::NAN,
            ..good.clone()
        },
        LoopClip {
            sample_rate_hz: -1.0,
            ..good.clone()
        },
        LoopClip {
            channels: [vec![0.5; 9], vec![0.5; 8]],
            ..good.clone()
        },
    ];
    for clip in &bad {
        host.give(0, clip);
        assert_eq!(host.play(1000)[0], vec![0.0; 1000]);
    }
    // One frame is enough.
    let tiny = LoopClip {
        channels: [vec![0.5], vec![-0.5]],
        ..good
    };
    host.give(0, &tiny);
    for tempo_bpm in [120.0, 90.0] {
        host.tempo_bpm = tempo_bpm;
        host.play(3000);
        assert_eq!(host.play(1000)[0], vec![0.5; 1000]);
    }
}

#[test]
fn either_end_may_go_first() {
    let clip = Box::new(noise(RATE_HZ, 120.0, 1.0));
    let (mut sender, receiver) = exchange();
    sender.send(0, Some(clip.clone())).unwrap();
    drop(receiver);
    assert!(sender.is_abandoned());
    assert!(sender.send(0, Some(clip.clone())).is_err());
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    host.play(100);
    drop(std::mem::replace(&mut host.sender, exchange().0));
    assert_eq!(host.play(100)[0], clip.channels[0][100..200]);
}

#[test]
fn a_sender_finds_no_room_while_the_audio_thread_rests() {
    let mut host = Host::new(RATE_HZ, 120.0);
    let clip = noise(RATE_HZ, 120.0, 0.25);
    let mut sent = 0;
    while host.sender.send(3, Some(Box::new(clip.clone()))).is_ok() {
        sent += 1;
        assert!(sent < 1000);
    }
    // Nothing is lost: all but the last one come back.
    host.play(64);
    host.play(64);
    assert_eq!(host.sender.collect(), sent - 1);
}

#[test]
fn a_storm_of_changes_loses_nothing() {
    const SWAPS: usize = 100_000;
    let mut host = Host::new(RATE_HZ, 120.0);
    host.settings.gain = 0.9;
    let mut sender = std::mem::replace(&mut host.sender, exchange().0);
    let is_over = AtomicBool::new(false);
    let (mut lowest, mut highest) = (0.0_f32, 0.0_f32);
    let (sent, mut sender) = std::thread::scope(|scope| {
        let conductor = scope.spawn(|| {
            let mut sent = 0;
            let mut random = Random(1);
            for swap in 0..SWAPS {
                let slot = random.below(10);
                let clip = (swap % 5 > 0).then(|| {
                    Box::new(LoopClip {
                        number: swap as u64 % 3,
                        channels: [vec![0.5; 480], vec![-0.5; 480]],
                        sample_rate_hz: RATE_HZ,
                        tempo_bpm: 6000.0,
                        quarters: 1.0,
                        bar_quarters: 1.0,
                    })
                });
                sent += u64::from(clip.is_some());
                let mut waiting = clip;
                loop {
                    match sender.send(slot, waiting) {
                        Ok(()) => break,
                        Err(clip) => waiting = clip,
                    }
                    std::thread::yield_now();
                }
            }
            is_over.store(true, Ordering::Release);
            (sent, sender)
        });
        let mut random = Random(2);
        // Judged afterwards: a panic here would leave the other thread waiting for ever.
        while !is_over.load(Ordering::Acquire) {
            host.settings.slot = random.below(10);
            let output = host.play(32);
            lowest = output[0].iter().copied().fold(lowest, f32::min);
            highest = output[0].iter().copied().fold(highest, f32::max);
        }
        conductor.join().unwrap()
    });
    host.play(64);
    for slot in 0..10 {
        while sender.send(slot, None).is_err() {
            host.play(64);
        }
    }
    host.play(48_000);
    for _ in 0..4 {
        host.play(64);
        sender.collect();
    }
    assert_eq!(sender.freed_clips(), sent);
    assert!(
        lowest > -1e-3 && highest <= CEILING,
        "{lowest} to {highest}"
    );
}
