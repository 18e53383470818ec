//! The loop at its own tempo.

use plugin::playback::limiter::CEILING;
use plugin::playback::{Block, Player, exchange};

use crate::support::*;

/// What the clip gives from a frame on.
fn expected(channel: &[f32], from: usize, samples: usize) -> Vec<f32> {
    let around = channel.iter().cycle().skip(from % channel.len());
    around.take(samples).copied().collect()
}

#[test]
fn the_clips_own_samples_whatever_the_blocks() {
    for seed in 0..20 {
        let clip = noise(RATE_HZ, 120.0, 4.0);
        let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
        host.quarters = 4.0 * seed as f64;
        let samples = 300_000;
        let output = host.play_in_blocks(samples, &mut Random(seed));
        for channel in 0..2 {
            let expected = expected(&clip.channels[channel], 0, samples);
            assert!(bits(&output[channel]) == bits(&expected), "seed {seed}");
        }
    }
}

#[test]
fn odd_rates_and_lengths_repeat_on_the_hosts_bars() {
    for rate_hz in [8_000.0, 11_025.0, 44_100.0, 88_200.0, 192_000.0] {
        for tempo_bpm in [120.0, 121.0, 97.3, 61.7, 240.0] {
            let clip = clicks(rate_hz, tempo_bpm, 4.0);
            let mut host = Host::with_clip(rate_hz, tempo_bpm, &clip);
            let bar = 240.0 / tempo_bpm * rate_hz;
            let output = host.play_in_blocks((bar * 12.0) as usize, &mut Random(5));
            let found: Vec<usize> = (0..output[0].len())
                .filter(|at| output[0][*at] > 0.4)
                .collect();
            for beat in 0..47 {
                let place = f64::from(beat) * bar / 4.0;
                assert!(
                    found.iter().any(|at| (*at as f64 - place).abs() <= 1.5),
                    "{rate_hz} Hz, {tempo_bpm}: beat {beat} at {place}"
                );
            }
        }
    }
}

#[test]
fn hours_later_the_beat_is_where_the_host_has_it() {
    let (rate_hz, tempo_bpm) = (44_100.0, 121.0);
    let clip = clicks(rate_hz, tempo_bpm, 4.0);
    let mut host = Host::with_clip(rate_hz, tempo_bpm, &clip);
    let per_sample = tempo_bpm / (60.0 * rate_hz);
    // Three hours in big steps, the position computed anew each time, as hosts do.
    let (block, blocks) = (8192, 58_000);
    let mut at = 0_usize;
    let mut seen = 0;
    for _ in 0..blocks {
        host.quarters = at as f64 * per_sample;
        let output = host.play(block);
        for (offset, sample) in output[0].iter().enumerate() {
            if *sample > 0.4 {
                let beat = (at + offset) as f64 * per_sample;
                let off = (beat - beat.round()) / per_sample;
                assert!(off.abs() <= 2.0, "{off} samples off at {beat}");
                seen += 1;
            }
        }
        at += block;
    }
    let beats = at as f64 * per_sample;
    assert!(
        (f64::from(seen) - beats).abs() < beats * 0.01,
        "{seen} of {beats}"
    );
}

#[test]
fn rounded_positions_do_not_disturb() {
    let clip = noise(RATE_HZ, 120.0, 16.0);
    for ticks in [480.0, 960.0, 1920.0] {
        let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
        let mut output = [vec![], vec![]];
        let mut samples = 0;
        while samples < 480_000 {
            let quarters = samples as f64 / 24_000.0;
            host.quarters = (quarters * ticks).floor() / ticks;
            append(&mut output, &host.play(256));
            samples += 256;
        }
        for channel in 0..2 {
            let channel_expected = expected(&clip.channels[channel], 0, samples);
            let differing = (0..samples)
                .filter(|at| output[channel][*at] != channel_expected[*at])
                .count();
            assert_eq!(differing, 0, "{ticks}");
        }
    }
}

#[test]
fn jumps_are_followed_without_clicks() {
    // 110 Hz: what a neighbour may differ by is small, so that a click shows.
    let clip = sine(RATE_HZ, 120.0, 4.0, 220);
    let natural = largest_jump(&clip.channels[0]);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let mut random = Random(3);
    let mut output = [vec![], vec![]];
    for _ in 0..400 {
        host.quarters = random.below(64_000) as f64 / 1000.0;
        let block = 1 + random.below(700);
        append(&mut output, &host.play(block));
    }
    for channel in &output {
        let jump = largest_jump(channel);
        assert!(jump < natural + 0.03, "{jump} against {natural}");
    }
    // After a jump onto a bar the clip sounds from there.
    host.quarters = 8.0;
    let settled = host.play(48_000);
    assert_eq!(settled[0][1000..48_000], clip.channels[0][1000..48_000]);
}

#[test]
fn a_jump_by_whole_loops_is_none() {
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let mut output = host.play(48_000);
    host.quarters += 8.0;
    append(&mut output, &host.play(48_000));
    assert_eq!(output, clip.channels);
}

#[test]
fn the_transport_starts_and_stops_without_clicks() {
    let clip = sine(RATE_HZ, 120.0, 4.0, 220);
    let natural = largest_jump(&clip.channels[1]);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let mut output = [vec![0.0], vec![0.0]];
    for (is_playing, quarters) in [(true, 1.3), (false, 2.0), (true, 2.0), (false, 0.0)] {
        (host.is_playing, host.quarters) = (is_playing, quarters);
        append(&mut output, &host.play(3000));
    }
    for channel in &output {
        assert!(largest_jump(channel) < natural + 0.02);
        // 3 ms after it stopped there is silence.
        assert!(
            channel[3001 + 145..6001]
                .iter()
                .all(|sample| *sample == 0.0)
        );
        assert!(channel[1000..2000].iter().any(|sample| sample.abs() > 0.4));
    }
}

#[test]
fn a_start_on_the_beat_keeps_its_attack() {
    let clip = clicks(RATE_HZ, 120.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    host.quarters = 3.0;
    let output = host.play(24_100);
    assert_eq!((output[0][0], output[1][0]), (0.5, -0.5));
    assert_eq!((output[0][24_000], output[1][24_000]), (0.9, -0.9));
}

#[test]
fn audition_plays_from_the_beginning_while_the_transport_stands() {
    let clip = noise(RATE_HZ, 133.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 90.0, &clip);
    (host.is_playing, host.quarters) = (false, 17.3);
    assert_eq!(host.play(1000)[0], vec![0.0; 1000]);
    host.settings.audition = true;
    let mut output = [vec![], vec![]];
    for _ in 0..100 {
        append(&mut output, &host.play(700));
    }
    assert_eq!(output[0], clip.channels[0][..70_000]);
    assert_eq!(output[1], clip.channels[1][..70_000]);
    assert!(
        host.player
            .position()
            .get()
            .is_some_and(|(slot, share)| slot == 0 && share > 0.5)
    );
    host.settings.audition = false;
    host.play(2000);
    assert_eq!(host.player.position().get(), None);
    assert_eq!(host.play(100)[1], vec![0.0; 100]);
}

#[test]
fn without_a_position_or_a_tempo_it_counts_itself() {
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let nothings = [None, Some(f64::NAN), Some(f64::INFINITY)];
    for position_quarters in nothings {
        for tempo_bpm in [None, Some(f64::NAN), Some(0.0), Some(-120.0), Some(1e9)] {
            let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
            let block = Block {
                is_playing: true,
                tempo_bpm,
                position_quarters,
                position_samples: None,
                bar: None,
            };
            let mut output = [vec![], vec![]];
            while output[0].len() < 96_000 {
                append(&mut output, &host.play_block(375, &block, &[]));
            }
            assert_eq!(output, clip.channels, "{block:?}");
        }
    }
}

#[test]
fn a_looped_sine_has_no_seam() {
    let clip = sine(44_100.0, 125.0, 4.0, 500);
    let natural = largest_jump(&clip.channels[0]).max(largest_jump(&clip.channels[1]));
    let mut host = Host::with_clip(44_100.0, 125.0, &clip);
    host.play(1000);
    let output = host.play_in_blocks(400_000, &mut Random(9));
    for channel in &output {
        assert!(largest_jump(channel) <= natural * 1.001);
    }
}

#[test]
fn gain_is_smooth_and_the_ceiling_holds() {
    let clip = sine(RATE_HZ, 120.0, 4.0, 220);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    let mut output = [vec![], vec![]];
    for gain in [0.1, 1.5, 0.0, 1.0, f32::NAN, 0.3] {
        host.settings.gain = gain;
        append(&mut output, &host.play(5000));
    }
    for channel in &output {
        assert!(largest_jump(&channel[200..]) < 0.03);
    }
    host.settings.gain = 1e20;
    let output = host.play(48_000);
    for channel in &output {
        assert!(channel.iter().all(|sample| sample.abs() <= CEILING));
        assert!(channel.iter().any(|sample| sample.abs() > 0.9));
    }
}

#[test]
fn what_is_no_number_never_leaves() {
    let mut random = Random(4);
    let clip = clip_of(RATE_HZ, 120.0, 4.0, |frame| match frame % 50 {
        0 => [f32::NAN, f32::INFINITY],
        1 => [1e38, -1e38],
        2 => [f32::MIN_POSITIVE / 3.0, f32::NEG_INFINITY],
        _ => [random.sample(), random.sample()],
    });
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    for tempo_bpm in [120.0, 100.0, 140.0] {
        host.tempo_bpm = tempo_bpm;
        let output = host.play_in_blocks(100_000, &mut Random(1));
        let mut samples = output.iter().flatten();
        assert!(samples.all(|sample| sample.abs() <= CEILING));
    }
}

#[test]
fn mono_is_the_mean_and_blocks_may_be_empty_or_long() {
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
    assert_eq!(host.play(0)[0].len(), 0);
    let mut mono = vec![9.0; 96_000];
    let block = host.block();
    host.player.process_mono(&mut mono, &block, [], &SETTINGS);
    for (at, sample) in mono.iter().enumerate() {
        let mean = 0.5 * (clip.channels[0][at] + clip.channels[1][at]);
        assert_eq!(*sample, mean);
    }
}

#[test]
fn nonsense_of_the_host_does_no_harm() {
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let numbers = [
        f64::NAN,
        f64::INFINITY,
        -1e300,
        -5.5,
        0.0,
        1e-300,
        7.25,
        119.9,
        1e8,
        1e300,
    ];
    for rate_hz in [f64::NAN, 0.0, -1.0, 8_000.0, 192_000.0, f64::INFINITY] {
        let (mut sender, receiver) = exchange();
        let mut player = Player::new(rate_hz, receiver);
        sender.send(0, Some(Box::new(clip.clone()))).unwrap();
        sender.send(77, Some(Box::new(clip.clone()))).unwrap();
        let mut random = Random(8);
        for _ in 0..2000 {
            let block = Block {
                is_playing: random.below(4) > 0,
                tempo_bpm: Some(numbers[random.below(10)]),
                position_quarters: Some(numbers[random.below(10)]),
                position_samples: [None, Some(i64::MIN), Some(12_345)][random.below(3)],
                bar: (random.below(2) == 0).then(|| plugin::playback::Bar {
                    start_quarters: numbers[random.below(10)],
                    quarters: numbers[random.below(10)],
                }),
            };
            let settings = plugin::playback::Settings {
                slot: [0, 0, 1, 77, usize::MAX][random.below(5)],
                audition: random.below(2) == 0,
                ..SETTINGS
            };
            let samples = random.below(300);
            let (mut left, mut right) = (vec![9.0; samples], vec![9.0; samples + 3]);
            player.process([&mut left, &mut right], &block, [], &settings);
            assert!(left.iter().all(|sample| sample.abs() <= CEILING));
        }
    }
}

#[test]
fn a_host_that_rounds_to_ticks_is_followed_to_the_sample() {
    // As Ardour exports: it processes a few samples, goes back to the beginning, and says its position in ticks.
    let clip = noise(44_100.0, 120.0, 4.0);
    let mut host = Host::with_clip(44_100.0, 120.0, &clip);
    // Quiet, so that going back does not wake the limiter.
    host.settings.gain = 0.25;
    let block = |position: i64| Block {
        is_playing: true,
        tempo_bpm: Some(120.0),
        position_quarters: Some((position as f64 / 22_050.0 * 1920.0).floor() / 1920.0),
        position_samples: Some(position),
        bar: None,
    };
    host.play_block(16, &block(0), &[]);
    let mut output = [vec![], vec![]];
    for start in (0..88_200).step_by(100) {
        append(&mut output, &host.play_block(100, &block(start), &[]));
    }
    for (ours, clip) in output.iter().zip(&clip.channels) {
        let mut both = ours.iter().zip(clip).skip(400);
        assert!(both.all(|(ours, clip)| *ours == clip * 0.25));
    }
}

/// A song of bars of so many beats, again and again, in a host that says them.
fn song_of(host: &mut Host, beats_of_bars: &[u32], samples: usize, block: usize) -> [Vec<f32>; 2] {
    let mut output = [vec![], vec![]];
    while output[0].len() < samples {
        let (mut start_quarters, mut bars) = (0.0, beats_of_bars.iter().cycle());
        let quarters = loop {
            let quarters = f64::from(*bars.next().unwrap());
            // A sum of blocks is a little beside the beat.
            if host.quarters + 1e-9 < start_quarters + quarters {
                break quarters;
            }
            start_quarters += quarters;
        };
        let bar = Some(plugin::playback::Bar {
            start_quarters,
            quarters,
        });
        let said = Block {
            bar,
            ..host.block()
        };
        append(&mut output, &host.play_block(block, &said, &[]));
    }
    output
}

#[test]
fn after_a_change_of_metre_the_loop_begins_on_the_bars() {
    // Quiet, so that crossfades do not wake the limiter.
    let gain = 0.25;
    let beat = 24_000;
    // Beats of the clip that are heard, in the order of the song's.
    let songs: [(f64, &[u32], &[usize]); 5] = [
        (4.0, &[4, 4, 4], &[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]),
        (4.0, &[4, 3, 4], &[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3]),
        (
            4.0,
            &[4, 2, 4, 2, 4],
            &[0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1, 0, 1, 2, 3],
        ),
        // Of a clip of two bars the next one begins.
        (
            8.0,
            &[4, 3, 4, 4],
            &[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 7],
        ),
        // In a metre that is not its own it goes on.
        (4.0, &[3, 3], &[0, 1, 2, 3, 0, 1]),
    ];
    for (quarters, song, heard) in songs {
        let clip = noise(RATE_HZ, 120.0, quarters);
        for block in [500, 1000, 1024] {
            let mut host = Host::with_clip(RATE_HZ, 120.0, &clip);
            host.settings.gain = gain;
            let output = song_of(&mut host, song, heard.len() * beat, block);
            for (at, from) in heard.iter().enumerate() {
                // The bar may begin within a block, and is known from the next one on.
                let skipped = if at == 0 { 1000 } else { block + 300 };
                let ours = &output[1][at * beat + skipped..(at + 1) * beat];
                let clip = &clip.channels[1][from * beat + skipped..(from + 1) * beat];
                let is_heard = ours
                    .iter()
                    .zip(clip)
                    .all(|(ours, clip)| *ours == clip * gain);
                assert!(is_heard, "beat {at} of {song:?} in blocks of {block}");
            }
        }
    }
    // At another tempo beat by beat; a start in the middle of the song is no different.
    let clip = noise(RATE_HZ, 120.0, 4.0);
    let mut host = Host::with_clip(RATE_HZ, 96.0, &clip);
    host.settings.gain = gain;
    host.quarters = 7.0;
    let output = song_of(&mut host, &[4, 3, 4], 4 * 30_000, 500);
    for beat in 0..4 {
        let ours = &output[0][beat * 30_000 + 2000..][..10_000];
        let clip = &clip.channels[0][beat * 24_000 + 2000..][..10_000];
        let is_heard = ours
            .iter()
            .zip(clip)
            .all(|(ours, clip)| *ours == clip * gain);
        assert!(is_heard, "beat {beat}");
    }
}
